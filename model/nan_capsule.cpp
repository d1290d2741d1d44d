#include "model/nan_capsule.h"

#include <algorithm>

#include "model/options.h"
#include "weights/tensor_file_read.h"

namespace frcnn {
namespace {

const TensorFileKind kKind = {"frcnn nan capsule", "capsule", 1};

std::string pass_name(size_t i) {
  return fmt::format("pass {}", i);
}

/// Lists of boxes as (M, 4), and how many each list has.
void store_boxes(TensorGroup& group, const std::string& name,
                 const std::vector<std::vector<Box>>& lists) {
  std::vector<float> numbers;
  std::vector<int64_t> counts;
  for (const auto& boxes : lists) {
    for (const Box& b : boxes) numbers.insert(numbers.end(), {b.x1, b.y1, b.x2, b.y2});
    counts.push_back(static_cast<int64_t>(boxes.size()));
  }
  group.tensors[name] = Tensor::from({static_cast<int64_t>(numbers.size() / 4), 4}, numbers);
  group.tensors[name + "_per_image"] = Tensor::from({static_cast<int64_t>(counts.size())}, counts);
}

const Tensor& tensor_of(const TensorGroup& group, const std::string& name, DType dtype,
                        const std::string& file) {
  const auto found = group.tensors.find(name);
  check(found != group.tensors.end() && found->second.dtype() == dtype,
        "{}: a pass lacks '{}' of type {}", file, name, name_of(dtype));
  return found->second;
}

std::vector<std::vector<Box>> boxes_of(const TensorGroup& group, const std::string& name,
                                       size_t images, const std::string& file) {
  const Tensor& numbers = tensor_of(group, name, DType::f32, file);
  const Tensor& counts = tensor_of(group, name + "_per_image", DType::i64, file);
  check(numbers.rank() == 2 && numbers.dim(1) == 4 &&
            counts.shape() == Shape{static_cast<int64_t>(images)},
        "{}: '{}' of a pass has shape {}, expected (M, 4) in {} lists", file, name,
        numbers.shape().string(), images);
  std::vector<std::vector<Box>> lists(images);
  int64_t row = 0;
  for (size_t n = 0; n < images; ++n) {
    const int64_t count = counts.span<int64_t>()[n];
    check(count >= 0 && count <= numbers.dim(0) - row, "{}: '{}' of a pass has too few boxes", file,
          name);
    for (const int64_t end = row + count; row < end; ++row) {
      const float* b = numbers.data<float>() + 4 * row;
      lists[n].push_back({b[0], b[1], b[2], b[3]});
    }
  }
  check(row == numbers.dim(0), "{}: '{}' of a pass has too many boxes", file, name);
  return lists;
}

TensorGroup to_group(const CapsulePass& pass) {
  TensorGroup group;
  group.attributes["step"] = pass.step;
  group.attributes["ids"] = pass.ids;
  group.attributes["files"] = pass.files;
  group.tensors["pixels"] = pass.input.images;
  std::vector<double> sizes;
  for (const InputSize& s : pass.input.sizes)
    sizes.insert(sizes.end(), {double(s.height), double(s.width), s.scale_y, s.scale_x,
                               double(s.padded_height), double(s.padded_width)});
  group.tensors["sizes"] = Tensor::from({static_cast<int64_t>(pass.input.sizes.size()), 6}, sizes);
  std::vector<std::vector<Box>> boxes;
  std::vector<int64_t> labels;
  for (const GroundTruth& truth : pass.truth) {
    boxes.push_back(truth.boxes);
    labels.insert(labels.end(), truth.labels.begin(), truth.labels.end());
  }
  store_boxes(group, "objects", boxes);
  group.tensors["labels"] = Tensor::from({static_cast<int64_t>(labels.size())}, labels);
  if (!pass.input.regions.empty()) store_boxes(group, "regions", pass.input.regions);
  return group;
}

CapsulePass to_pass(const TensorGroup& group, const std::string& file) {
  CapsulePass pass;
  pass.step = attribute_of<int64_t>(group, "step", file);
  pass.ids = attribute_of<std::vector<std::string>>(group, "ids", file);
  pass.files = attribute_of<std::vector<std::string>>(group, "files", file);
  pass.input.images = tensor_of(group, "pixels", DType::f32, file);
  const Tensor& sizes = tensor_of(group, "sizes", DType::f64, file);
  const int64_t images = pass.input.images.rank() == 4 ? pass.input.images.dim(0) : -1;
  check(sizes.shape() == Shape{images, 6} && pass.ids.size() == static_cast<size_t>(images) &&
            pass.files.size() == pass.ids.size(),
        "{}: a pass has pixels {} and sizes {}, {} names", file, pass.input.images.shape().string(),
        sizes.shape().string(), pass.ids.size());
  for (int64_t n = 0; n < images; ++n) {
    const double* s = sizes.data<double>() + 6 * n;
    pass.input.sizes.push_back({static_cast<int64_t>(s[0]), static_cast<int64_t>(s[1]), s[2], s[3],
                                static_cast<int64_t>(s[4]), static_cast<int64_t>(s[5])});
  }
  const auto boxes = boxes_of(group, "objects", pass.ids.size(), file);
  const Tensor& labels = tensor_of(group, "labels", DType::i64, file);
  size_t row = 0;
  for (const auto& list : boxes) {
    GroundTruth& truth = pass.truth.emplace_back();
    truth.boxes = list;
    check(row + list.size() <= labels.span<int64_t>().size(), "{}: a pass has too few labels",
          file);
    for (size_t i = 0; i < list.size(); ++i)
      truth.labels.push_back(static_cast<int>(labels.span<int64_t>()[row++]));
  }
  if (group.tensors.contains("regions"))
    pass.input.regions = boxes_of(group, "regions", pass.ids.size(), file);
  return pass;
}

/// A trainer of the capsule's run, on the CPU, in the state of the capsule.
std::unique_ptr<Trainer> trainer_of(const NanCapsule& capsule) {
  Config config = parse_config(capsule.state.config, "capsule (config)", {});
  config.model.backbone.weights.clear();
  take_network(config.model, capsule.state, "capsule");
  const auto stages = training_stages(config.train, capsule.state.training_int("total_steps"));
  const int64_t stage = stage_of(capsule.state);
  check(stage >= 0 && stage < static_cast<int64_t>(stages.size()),
        "capsule: belongs to stage {} of a run of {}", stage + 1, stages.size());
  auto trainer =
      std::make_unique<Trainer>(config, capsule.state.classes, stages, static_cast<size_t>(stage),
                                Device{}, /*import_initial=*/false);
  trainer->restore(capsule.state);
  return trainer;
}

}  // namespace

void save_capsule(const std::filesystem::path& file, const NanCapsule& capsule) {
  TensorFile content = to_tensor_file(capsule.state);
  content.root.attributes["device"] = capsule.device;
  content.root.attributes["message"] = capsule.message;
  content.root.attributes["passes"] = static_cast<int64_t>(capsule.passes.size());
  for (size_t i = 0; i < capsule.passes.size(); ++i)
    content.groups[pass_name(i)] = to_group(capsule.passes[i]);
  save_tensor_file(file, kKind, content);
}

NanCapsule load_capsule(const std::filesystem::path& file) {
  const std::string name = file.string();
  TensorFile content = load_tensor_file(file, kKind);
  NanCapsule capsule;
  capsule.device = attribute_of<std::string>(content.root, "device", name);
  capsule.message = attribute_of<std::string>(content.root, "message", name);
  const auto passes = attribute_of<int64_t>(content.root, "passes", name);
  for (int64_t i = 0; i < passes; ++i) {
    const auto group = content.groups.find(pass_name(static_cast<size_t>(i)));
    check(group != content.groups.end(), "{}: pass {} is missing", name, i);
    capsule.passes.push_back(to_pass(group->second, name));
  }
  capsule.state = to_checkpoint(std::move(content), name);
  return capsule;
}

std::optional<ReplayResult> replay(const NanCapsule& given,
                                   const std::function<void(const std::string&)>& progress) {
  const auto tell = [&](const std::string& text) {
    if (progress) progress(text);
  };
  NanCapsule capsule = given;
  std::unique_ptr<Trainer> trainer = trainer_of(capsule);
  NonFiniteSearch search(trainer->model());
  trainer->watch_tapes([&](Tape& tape) { search.attach(tape); });
  tell("weights before the step");
  if (auto found = search.check_weights("weights before the step")) return ReplayResult{*found, 0};
  for (size_t i = 0; i < capsule.passes.size(); ++i) {
    const CapsulePass& pass = capsule.passes[i];
    std::string images;
    for (const std::string& id : pass.ids) images += (images.empty() ? "" : ", ") + id;
    tell(fmt::format("step {}: {}", pass.step, images));
    if (pass.step != trainer->steps() + 1) {  // of a GPU: all from the state that was found
      capsule.state.training["step"] = pass.step - 1;
      trainer->restore(capsule.state);
    }
    if (auto found = search.check_input(pass.input, pass.truth)) return ReplayResult{*found, i};
    try {
      trainer->accumulate(pass.input, pass.truth);
    } catch (const NonFiniteSearch::Found& found) {
      return ReplayResult{found.what, i};
    }
    if (auto found = search.check_gradients()) return ReplayResult{*found, i};
  }
  if (capsule.passes.empty()) return std::nullopt;
  tell("the update");
  trainer->update();
  if (auto found = search.check_weights("update")) {
    found->op = "optimizer";
    return ReplayResult{*found, capsule.passes.size() - 1};
  }
  return std::nullopt;
}

std::string describe(const NanCapsule& capsule, const ReplayResult& result) {
  std::string text = result.what.string();
  if (capsule.passes.empty()) return text;
  const CapsulePass& pass = capsule.passes[result.pass];
  std::vector<size_t> images = result.what.images;
  if (images.empty())
    for (size_t n = 0; n < pass.ids.size(); ++n) images.push_back(n);
  std::string names;
  for (const size_t n : images)
    if (n < pass.ids.size())
      names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", pass.ids[n], pass.files[n]);
  return text +
         fmt::format("; {} {}; step {}", images.size() == 1 ? "image" : "images", names, pass.step);
}

}  // namespace frcnn
