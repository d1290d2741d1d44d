// Loads a checkpoint, detects on a picture, prints one line per object.
#include <cstdio>
#include <exception>

#include "data/image.h"
#include "model/detector.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: detect_example CHECKPOINT.h5 PICTURE\n");
    return 2;
  }
  try {
    const frcnn::Detector detector = frcnn::Detector::load(argv[1]);
    const frcnn::Image picture = frcnn::decode_image(argv[2]);
    for (const frcnn::ScoredBox& found :
         detector.detect(picture.rgb.data(), picture.width, picture.height)) {
      std::printf("%-12s %.3f  x %.1f .. %.1f  y %.1f .. %.1f\n",
                  detector.class_names()[found.label].c_str(), found.score, found.box.x1,
                  found.box.x2, found.box.y1, found.box.y2);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
