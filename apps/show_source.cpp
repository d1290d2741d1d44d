#include "apps/show_source.h"

#include <algorithm>
#include <numeric>

#include "apps/batches.h"
#include "apps/dataset_io.h"
#include "apps/model_file.h"
#include "apps/presets.h"
#include "data/show.h"
#include "kernels/launch/check.h"
#include "model/options.h"
#include "model/weight_import.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

Config settings_of(const ShowArguments& a) {
  const Config base = a.preset.empty() ? Config() : preset_config(a.preset);
  if (!a.config.empty()) return load_config(a.config, a.settings, base);
  return parse_config("", a.preset.empty() ? "defaults" : "preset " + a.preset, a.settings, base);
}

bool names_settings(const ShowArguments& a) {
  return !a.config.empty() || !a.preset.empty();
}

}  // namespace

ShownModel::ShownModel(const ShowArguments& a, const std::vector<std::string>& classes) {
  if (!a.model.empty()) {
    if (names_settings(a))
      throw UsageError("expected a MODEL or settings (--config, --preset), got both");
    const fs::path file = model_file(a.model);
    detector_ = Detector::load(file, a.settings);
    config_ = detector_->config();
    classes_ = detector_->class_names();
    name_ = file.filename().string();
    return;
  }
  if (!names_settings(a))
    throw UsageError("this picture needs a MODEL, --config FILE or --preset NAME");
  config_ = settings_of(a);
  classes_ = classes;
  own_ = std::make_unique<FasterRcnn>(config_.model,
                                      std::max<int64_t>(1, static_cast<int64_t>(classes.size())),
                                      config_.train.seed);
  const BackboneConfig& backbone = config_.model.backbone;
  if (!backbone.weights.empty()) {
    ImportOptions options;
    options.any_preprocess = backbone.weights_preprocess == "any";
    import_weights(*WeightFile::open(backbone.weights), import_target(*own_), options);
  }
  own_->parameters().set_trainable("", false);
  name_ = "untrained";
}

Config shown_config(const ShowArguments& a) {
  return a.model.empty() ? settings_of(a)
                         : Detector::load(model_file(a.model), a.settings).config();
}

ShownSet shown_pictures(const ShowArguments& a, const DataConfig& config,
                        const std::vector<std::string>& classes) {
  if (a.data.empty() == a.picture.empty())
    throw UsageError("expected a data set (--data DIR) or a picture (--picture FILE)");
  ShownSet out;
  Dataset& set = out.dataset;
  if (!a.picture.empty()) {
    set.name = a.picture;
    set.class_names = classes;
    const ImageInfo info = read_image_info(a.picture);
    ImageRecord record;
    record.id = fs::path(a.picture).stem().string();
    record.path = a.picture;
    record.width = info.width;
    record.height = info.height;
    set.images.push_back(record);
    out.chosen = {0};
    return out;
  }
  DataConfig own = config;
  if (!classes.empty()) own.classes = classes;
  own.format = "auto";  // the training set's layout says nothing about this one's
  set = open_dataset(a.data, split_or_usual(a.data, "", a.split), own);
  require_not_empty(set, false);
  if (a.images.empty()) {
    out.chosen.resize(std::min(set.images.size(), static_cast<size_t>(a.count)));
    std::iota(out.chosen.begin(), out.chosen.end(), size_t{0});
  }
  for (const std::string& id : a.images) {
    const auto found = std::ranges::find(set.images, id, &ImageRecord::id);
    check(found != set.images.end(),
          "{}: expected the id of one of {} pictures (such as {}), got {}", set.name,
          set.images.size(), set.images.front().id, id);
    out.chosen.push_back(static_cast<size_t>(found - set.images.begin()));
  }
  return out;
}

ShownPicture shown_picture(const Dataset& dataset, size_t index, const PreprocessConfig& preprocess,
                           bool use_difficult) {
  const ImageRecord& record = dataset.images.at(index);
  const InputSettings settings = input_settings(preprocess);
  ShownPicture out;
  out.id = record.id;
  out.sample = make_sample(decode_image(record.path), record, settings);
  out.sample.index = static_cast<int64_t>(index);
  out.seen = picture_of(out.sample, settings);
  out.input = to_model_input({out.sample});
  out.truth = to_ground_truth({out.sample}, use_difficult)[0];
  return out;
}

}  // namespace frcnn::apps
