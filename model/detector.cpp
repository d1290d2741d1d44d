#include "model/detector.h"

#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/input.h"
#include "model/options.h"
#include "model/quantize.h"
#include "model/trainer.h"

namespace frcnn {

struct Detector::Impl {
  Config config;
  std::vector<std::string> classes;
  std::unique_ptr<FasterRcnn> model;
  std::string precision = "f32";
};

Detector::Detector(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Detector::~Detector() = default;
Detector::Detector(Detector&&) noexcept = default;
Detector& Detector::operator=(Detector&&) noexcept = default;

namespace {
/// Other settings are part of what the weights were trained for.
void check_settings(const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const std::string key = setting.substr(0, setting.find('='));
    const bool allowed = key.starts_with("test.") || key.starts_with("rpn.test.") ||
                         key == "rpn.test" || key == "preprocess.shorter_side" ||
                         key == "preprocess.longer_side";
    if (!allowed)
      throw UsageError(fmt::format(
          "--set {}: a trained detector's {} cannot be changed, only test.*, rpn.test.*, "
          "preprocess.shorter_side and preprocess.longer_side",
          setting, key));
  }
}
}  // namespace

Detector Detector::load(const std::filesystem::path& file, const std::vector<std::string>& settings,
                        Device device, bool as_float) {
  check_settings(settings);
  Checkpoint checkpoint = load_checkpoint_weights(file);
  auto impl = std::make_unique<Impl>();
  impl->config = parse_config(checkpoint.config, file.string() + " (config)", settings);
  take_network(impl->config.model, checkpoint, file.string());
  impl->classes = checkpoint.classes;
  impl->model =
      std::make_unique<FasterRcnn>(impl->config.model, static_cast<int64_t>(impl->classes.size()),
                                   1, DType::f32, /*fill=*/false, device);
  if (is_int8(checkpoint)) {
    impl->precision = int8_text(checkpoint);
    if (as_float || device.is_gpu()) impl->precision += ", computed in float32 here";
    take_int8(*impl->model, checkpoint, file.string(), as_float);
  }
  load_parameters(*impl->model, std::move(checkpoint), file.string(), CheckpointWeights::averaged);
  impl->model->parameters().set_trainable("", false);  // packed copies of weights stay right
  return Detector(std::move(impl));
}

const std::vector<std::string>& Detector::class_names() const {
  return impl_->classes;
}
const Config& Detector::config() const {
  return impl_->config;
}
const FasterRcnn& Detector::model() const {
  return *impl_->model;
}
void Detector::use_bf16() {
  check(!impl_->model->device().is_gpu(),
        "--cpu-math bf16: the detector runs on {}; --gpu-math bf16 is for GPUs",
        impl_->model->device().name());
  check(impl_->precision == "f32", "--cpu-math bf16: the model is {}", impl_->precision);
  frcnn::use_bf16(*impl_->model);
  impl_->precision = "bf16";
}
const std::string& Detector::precision() const {
  return impl_->precision;
}
void Detector::require_rpn(const std::string& file) const {
  check(
      impl_->config.train.scheme != "detector_only",
      "{}: was trained with train.scheme = \"detector_only\" and has no RPN of its own; measure it "
      "with `frcnn eval --proposals FILE`",
      file);
}
void Detector::require_head(const std::string& file) const {
  check(
      impl_->config.train.scheme != "rpn_only",
      "{}: was trained with train.scheme = \"rpn_only\" and has no detection head; `frcnn propose` "
      "writes and measures its proposals",
      file);
}
void Detector::set_score_threshold(double score) {
  impl_->config.model.test.score = score;
  impl_->model->set_test(impl_->config.model.test);
}

std::vector<ScoredBox> Detector::detect(const uint8_t* rgb, int width, int height) const {
  const PictureView picture{rgb, width, height};
  return std::move(detect(std::span(&picture, 1))[0]);
}

std::vector<std::vector<ScoredBox>> Detector::detect(std::span<const PictureView> pictures) const {
  if (pictures.empty()) return {};
  const ModelInput input = make_input(pictures, impl_->config.model.preprocess);
  std::vector<std::vector<ScoredBox>> found = impl_->model->detect(input);
  for (size_t n = 0; n < found.size(); ++n) {
    const InputSize& size = input.sizes[n];
    for (ScoredBox& d : found[n]) {
      d.box.x1 = static_cast<float>(d.box.x1 / size.scale_x);
      d.box.x2 = static_cast<float>(d.box.x2 / size.scale_x);
      d.box.y1 = static_cast<float>(d.box.y1 / size.scale_y);
      d.box.y2 = static_cast<float>(d.box.y2 / size.scale_y);
    }
  }
  return found;
}

}  // namespace frcnn
