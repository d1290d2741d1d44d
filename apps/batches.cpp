#include "apps/batches.h"

#include <algorithm>
#include <chrono>

#include "apps/dataset_io.h"
#include "apps/proposals.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"

namespace frcnn::apps {

ModelInput to_model_input(const std::vector<Sample>& samples) {
  int64_t height = 0, width = 0;
  for (const Sample& s : samples) {
    height = std::max<int64_t>(height, s.padded_height);
    width = std::max<int64_t>(width, s.padded_width);
  }
  ModelInput input;
  input.images = Tensor::empty(Shape{static_cast<int64_t>(samples.size()), 3, height, width});
  float* out = input.images.data<float>();
  for (const Sample& s : samples) {
    copy_padded(s, height, width, out);
    out += 3 * height * width;
    input.sizes.push_back(
        {s.height, s.width, s.scale_y, s.scale_x, s.padded_height, s.padded_width});
    input.names.push_back(s.id);
  }
  return input;
}

std::vector<GroundTruth> to_ground_truth(const std::vector<Sample>& samples, bool use_difficult) {
  std::vector<GroundTruth> truth(samples.size());
  for (size_t n = 0; n < samples.size(); ++n)
    for (size_t i = 0; i < samples[n].boxes.size(); ++i)
      if (use_difficult || !samples[n].difficult[i]) {
        truth[n].boxes.push_back(samples[n].boxes[i]);
        truth[n].labels.push_back(samples[n].labels[i]);
      }
  return truth;
}

std::vector<Detection> to_detections(const std::vector<ScoredBox>& boxes, const Sample& sample) {
  std::vector<Detection> detections;
  for (const ScoredBox& found : boxes)
    detections.push_back({sample.index, found.label, found.score, to_picture(found.box, sample)});
  return detections;
}

LoaderSettings training_settings(const Config& config) {
  LoaderSettings settings;
  settings.input = input_settings(config.model.preprocess);
  settings.batch = config.train.batch;
  settings.seed = config.train.seed;
  settings.flip = config.data.flip;
  settings.shorter_sides = config.model.preprocess.train_shorter_sides;
  const AugmentConfig& a = config.data.augment;
  settings.augment = {a.brightness,    a.contrast,     a.saturation, a.hue,   a.crop,
                      a.crop_min_area, a.crop_min_iou, a.rotate,     a.mosaic};
  settings.group_shapes = config.data.group_shapes;
  settings.balance = config.data.balance;
  settings.workers = config.data.workers;
  settings.prefetch = config.data.prefetch;
  return settings;
}

LoaderSettings inference_settings(const PreprocessConfig& preprocess, const DataConfig& config) {
  LoaderSettings settings;
  settings.input = input_settings(preprocess);
  settings.shuffle = settings.flip = settings.endless = false;
  settings.workers = config.workers;
  settings.prefetch = config.prefetch;
  return settings;
}

std::vector<Detection> detect_all(const FasterRcnn& model, const Dataset& dataset,
                                  const PreprocessConfig& preprocess, const DataConfig& config,
                                  const ProposalSet* proposals, std::vector<double>* seconds) {
  using Clock = std::chrono::steady_clock;
  Loader loader(dataset, inference_settings(preprocess, config));
  Progress progress("detect", static_cast<int64_t>(dataset.images.size()));
  std::vector<Detection> detections;
  int64_t done = 0;
  for (Batch batch = loader.next(); !batch.samples.empty() && !stop_requested();
       batch = loader.next()) {
    const Clock::time_point start = Clock::now();
    ModelInput input = to_model_input(batch.samples);
    if (proposals) input.regions = to_regions(batch.samples, *proposals);
    const auto found = model.detect(input);
    for (size_t n = 0; n < batch.samples.size(); ++n) {
      const auto mapped = to_detections(found[n], batch.samples[n]);
      detections.insert(detections.end(), mapped.begin(), mapped.end());
    }
    if (seconds) seconds->push_back(std::chrono::duration<double>(Clock::now() - start).count());
    done += static_cast<int64_t>(batch.samples.size());
    progress.update(done, fmt::format("{:.1f} images/s  waiting for data {:.0f} %",
                                      static_cast<double>(done) / progress.seconds(),
                                      100 * loader.wait_seconds() / progress.seconds()));
  }
  return detections;
}

}  // namespace frcnn::apps
