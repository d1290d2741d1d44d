#include "apps/examples.h"

#include <algorithm>

#include "data/draw.h"
#include "data/image.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

void write_examples(const std::filesystem::path& folder, const Dataset& dataset,
                    const std::vector<Detection>& detections, int64_t most) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  std::filesystem::create_directories(folder, error);
  check(!error, "{}: cannot make the folder: {}", folder.string(), error.message());
  const auto images = static_cast<int64_t>(dataset.images.size());
  const int64_t count = std::min(most, images);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = i * images / count;
    const ImageRecord& record = dataset.images[static_cast<size_t>(index)];
    std::vector<Detection> found;
    for (const Detection& d : detections)
      if (d.image == index && d.score >= kExampleScore) found.push_back(d);
    Image image = decode_image(record.path);
    draw_detections(image, found, dataset.class_names);
    write_image(image, folder / fmt::format("{:02}-{}.jpg", i + 1, record.id), 85);
  }
}

}  // namespace frcnn::apps
