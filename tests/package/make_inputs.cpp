// Writes what the package's example reads: a checkpoint of a small untrained detector and a
// picture.
//   package_inputs FOLDER
#include <filesystem>

#include "data/image.h"
#include "model/options.h"
#include "model/trainer.h"
#include "weights/checkpoint.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  const frcnn::Config config = frcnn::parse_config(
      "", "package_inputs",
      {"backbone.name=tiny", "backbone.frozen_until=", "backbone.tiny_channels=[8, 8, 16]",
       "backbone.tiny_strides=[2, 2, 2]", "preprocess.shorter_side=96",
       "preprocess.longer_side=128", "anchors.sizes=[16, 32]", "roi.hidden=[32]"});
  const frcnn::Trainer trainer(config, {"square", "circle"}, 1);
  frcnn::save_checkpoint(folder / "model.h5", trainer.checkpoint(0, 0));

  frcnn::Image picture(128, 96, 200);
  for (int y = 30; y < 60; ++y)
    for (int x = 40; x < 80; ++x) picture.pixel(x, y)[0] = 10;
  frcnn::write_image(picture, folder / "picture.png");
  return 0;
}
