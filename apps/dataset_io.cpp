#include "apps/dataset_io.h"

#include "data/files.h"
#include "data/image.h"
#include "data/jpeg_markers.h"
#include "data/voc.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

Dataset open_dataset(const std::filesystem::path& folder, const std::string& split,
                     const DataConfig& config, bool strict) {
  check(std::filesystem::exists(folder), "{}: there is no such data set folder", folder.string());
  VocOptions options;
  options.root = folder;
  options.split = split;
  options.classes = config.classes;
  options.coordinates = static_cast<VocCoordinates>(config.coordinates);
  options.strict = strict;
  return read_voc(options);
}

std::string findings_text(const Dataset& dataset, bool notes) {
  constexpr size_t kMost = 8;
  std::string text;
  for (const auto& [kind, name] :
       {std::pair(FindingKind::note, "notes"), std::pair(FindingKind::repaired, "repaired"),
        std::pair(FindingKind::left_out, "left out"), std::pair(FindingKind::error, "errors")}) {
    if (kind == FindingKind::note && !notes) continue;
    size_t count = 0;
    for (const Finding& finding : dataset.findings)
      if (finding.kind == kind && count++ < kMost) text += "  " + to_string(finding) + "\n";
    if (count > kMost) text += fmt::format("  ... {} {} in all\n", count, name);
  }
  return text;
}

void check_pictures(const Dataset& dataset) {
  for (const ImageRecord& image : dataset.images) {
    const auto bytes = read_bytes(image.path);
    if (!is_jpeg(bytes))
      decode_image(bytes, image.path.string());
    else
      check(has_end_of_image(bytes), "{}: is cut short: the JPEG has no end marker",
            image.path.string());
  }
}

std::string fingerprint(const Dataset& dataset) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  const auto add = [&](const void* data, size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  };
  for (const ImageRecord& image : dataset.images) {
    add(image.id.data(), image.id.size() + 1);
    for (const Object& object : image.objects) {
      add(&object.box, sizeof(object.box));
      add(&object.label, sizeof(object.label));
    }
  }
  return fmt::format("{:016x}", hash);
}

InputSettings input_settings(const PreprocessConfig& preprocess) {
  InputSettings settings;
  settings.bgr = preprocess.channels == "bgr";
  settings.scale = preprocess.scale;
  for (size_t c = 0; c < 3; ++c) {
    settings.mean[c] = preprocess.mean.at(c);
    settings.stddev[c] = preprocess.stddev.at(c);
  }
  settings.shorter_side = preprocess.shorter_side;
  settings.longer_side = preprocess.longer_side;
  settings.keep_aspect = preprocess.keep_aspect;
  settings.pad_multiple = preprocess.pad_multiple;
  settings.round_down = preprocess.rounding == "floor";
  return settings;
}

}  // namespace frcnn::apps
