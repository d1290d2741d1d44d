#include "apps/dataset_io.h"

#include <algorithm>

#include "data/files.h"
#include "data/formats.h"
#include "data/image.h"
#include "data/jpeg_markers.h"
#include "data/splits.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

namespace {

std::vector<std::string> split_names(const std::string& text, size_t sources) {
  std::vector<std::string> names;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    names.emplace_back(trimmed(std::string_view(text).substr(at, end - at)));
    at = end + 1;
  }
  if (names.size() == 1) names.resize(sources, names.front());
  if (names.size() != sources)
    throw UsageError(fmt::format(
        "split '{}' names {} splits for {} data sets; give one for all of them, or one each", text,
        names.size(), sources));
  return names;
}

}  // namespace

Dataset open_dataset(const std::vector<std::string>& sources, const std::string& split,
                     const DataConfig& config, const OpenOptions& options) {
  SourceOptions source;
  source.read.classes = {config.classes, config.class_map};
  source.read.pictures = options.pictures;
  source.read.strict = options.strict, source.read.lenient = options.lenient;
  source.format = format_named(config.format);  // none of "auto"
  source.coordinates = static_cast<VocCoordinates>(config.coordinates);
  source.pictures = config.pictures;
  const std::vector<std::string> splits = split_names(split, sources.size());
  std::vector<Dataset> sets;
  std::string name;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (splits[i].empty()) continue;
    sets.push_back(read_dataset(sources[i], splits[i], source));
    name += (name.empty() ? "" : " + ") + sets.back().name;
  }
  if (sets.empty()) throw UsageError(fmt::format("split '{}' names no data set", split));
  return join_datasets(std::move(sets), name);
}

Dataset open_dataset(const std::filesystem::path& source, const std::string& split,
                     const DataConfig& config, bool strict) {
  OpenOptions options;
  options.strict = strict;
  return open_dataset(std::vector<std::string>{source.string()}, split, config, options);
}

Dataset open_for_detector(const std::vector<std::string>& sources, const std::string& split,
                          DataConfig own, const std::vector<std::string>& classes, bool strict) {
  own.classes = classes;
  own.format = "auto";  // the training set's layout says nothing about this one's
  OpenOptions options;
  options.strict = strict;
  return open_dataset(sources, split_or_usual(sources, split, own.val_split), own, options);
}

std::string split_or_usual(const std::vector<std::string>& sources, const std::string& given,
                           const std::string& usual) {
  if (!given.empty()) return given;
  if (std::none_of(sources.begin(), sources.end(),
                   [](const std::string& source) { return is_single_split(source); }))
    return usual;
  const std::vector<std::string> names = split_names(usual, sources.size());
  std::string text;
  for (size_t i = 0; i < sources.size(); ++i)
    text +=
        (i == 0 ? "" : ",") + (is_single_split(sources[i]) && !names[i].empty() ? "all" : names[i]);
  return text;
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
      // Marks that training looks at, told only where they are set.
      if (object.crowd) add("crowd", 5);
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
