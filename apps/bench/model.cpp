#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/bench/measure.h"
#include "apps/op_device.h"
#include "apps/program_device.h"
#include "engine/gpu_math.h"
#include "engine/host.h"
#include "engine/memory.h"
#include "kernels/launch/parallel.h"
#include "model/input.h"
#include "model/options.h"
#include "model/quantize.h"
#include "model/trainer.h"

namespace frcnn::apps {
namespace {

struct ModelArguments {
  std::string config, precision;
  std::vector<std::string> overrides;
  int height = 600, width = 800, classes = 20, repeat = 5, warmup = 2, together = 0;
  bool no_train = false, no_inference = false, memory = false, json = false;
};

/// Times of one run in milliseconds, ascending.
using Times = std::vector<double>;

/// A GPU is given several runs before it is waited for, as training and detection over many
/// pictures do; a sample is their share of the time.
int runs_per_sample(const ModelArguments& a) {
  if (a.together > 0) return a.together;
  return program_device().device.type == Device::Type::cuda ? 10 : 1;
}

template <typename Body>
Times measure(const ModelArguments& a, const Body& body) {
  const Device device = program_device().device;
  const int together = runs_per_sample(a);
  for (int i = 0; i < a.warmup * together; ++i) body();
  synchronize(device);
  Times times;
  for (int i = 0; i < a.repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int k = 0; k < together; ++k) body();
    synchronize(device);
    const std::chrono::duration<double, std::milli> passed =
        std::chrono::steady_clock::now() - begin;
    times.push_back(passed.count() / together);
  }
  std::sort(times.begin(), times.end());
  return times;
}

double median(const Times& times) {
  return times[times.size() / 2];
}

nlohmann::json row(const char* what, const Times& times) {
  const MemoryStats stats = CachingAllocator::of(program_device().device).stats();
  nlohmann::json parts;
  for (size_t i = 0; i < kMemoryPurposes.size(); ++i)
    parts[kMemoryPurposes[i]] = bench::in_mib(stats.peak_by_purpose[i]);
  return {{"what", what},
          {"median_ms", median(times)},
          {"min_ms", times.front()},
          {"max_ms", times.back()},
          {"peak_tensor_mb", bench::in_mib(stats.peak_reserved)},
          {"peak_in_use_mb", bench::in_mib(stats.peak_in_use)},
          {"peak_parts_mb", parts}};
}

/// What the tensors were for when most were in use, one column for each measured part.
void print_memory(const nlohmann::json& rows) {
  const auto line = [&](const std::string& what, const auto& value) {
    std::printf("%-30s", what.c_str());
    for (const auto& r : rows) std::printf(" %16.0f", value(r));
    std::printf("\n");
  };
  std::printf("\n%-30s", "MiB of tensors at the peak");
  for (const auto& r : rows) std::printf(" %16s", r["what"].get<std::string>().c_str());
  std::printf("\n");
  for (const char* part : kMemoryPurposes)
    line(std::string("  ") + part,
         [&](const auto& r) { return r["peak_parts_mb"][part].template get<double>(); });
  line("in use", [](const auto& r) { return r["peak_in_use_mb"].template get<double>(); });
  line("taken from the system",
       [](const auto& r) { return r["peak_tensor_mb"].template get<double>(); });
}

void forget_memory() {
  CachingAllocator& memory = CachingAllocator::of(program_device().device);
  memory.release_cached();
  memory.reset_peak();
}

/// What inference computes with on the CPU: --precision, or else what --cpu-math said.
const std::string& precision_of(const ModelArguments& a) {
  return a.precision.empty() ? requested_cpu_math() : a.precision;
}

nlohmann::json bench_inference(const ModelArguments& a, const Config& config) {
  forget_memory();
  const FasterRcnn model(config.model, a.classes, 1, DType::f32, true, program_device().device);
  const std::vector<uint8_t> rgb = bench::random_picture(a.height, a.width);
  const auto input = [&] {
    return make_input(rgb.data(), a.width, a.height, config.model.preprocess);
  };
  if (precision_of(a) == "bf16") use_bf16(model);
  if (precision_of(a) == "int8") {
    const Calibration calibration(model, int8_layers(model, {}));
    model.detect(input());
    use_int8(model, calibration, {RangeRule::Kind::max, 100});
  }
  size_t found = 0;
  const Times times = measure(a, [&] { found = model.detect(input())[0].size(); });
  nlohmann::json result = row("inference", times);
  result["detections"] = found;
  result["proposals"] = model.regions(input(), false)[0].size();
  return result;
}

nlohmann::json bench_training(const ModelArguments& a, Config config) {
  forget_memory();
  config.optimizer.lr =
      1e-9;  // random weights would diverge at a useful rate; the work is the same
  config.train.iter_size = 1;
  if (requested_gpu_math()) config.train.precision = name_of(*requested_gpu_math());
  std::vector<std::string> classes;
  for (int i = 0; i < a.classes; ++i) classes.push_back(fmt::format("class{}", i));
  Trainer trainer(config, classes, 1000, program_device().device);
  const std::vector<uint8_t> rgb = bench::random_picture(a.height, a.width);
  const float h = static_cast<float>(a.height), w = static_cast<float>(a.width);
  const GroundTruth truth{
      {{0.1f * w, 0.1f * h, 0.5f * w, 0.6f * h}, {0.4f * w, 0.3f * h, 0.95f * w, 0.9f * h}},
      {0, a.classes - 1}};
  const Times times = measure(a, [&] {
    trainer.accumulate(make_input(rgb.data(), a.width, a.height, config.model.preprocess), {truth});
    trainer.update();
  });
  return row("training step", times);
}

int bench_model(const ModelArguments& a) {
  Config config = a.config.empty() ? parse_config("", "defaults", a.overrides)
                                   : load_config(a.config, a.overrides);
  bench::use_small_pixels(config.model.preprocess);
  const std::string device = bench::device_text(op_device());
  if (precision_of(a) != "f32" && program_device().device.is_gpu())
    throw UsageError(
        fmt::format("--precision {}: is for the CPU; a GPU has --gpu-math", precision_of(a)));
  nlohmann::json rows = nlohmann::json::array();
  if (!a.no_inference) rows.push_back(bench_inference(a, config));
  if (!a.no_train) rows.push_back(bench_training(a, config));
  if (a.json) {
    nlohmann::json line = {{"backbone", config.model.backbone.name},
                           {"height", a.height},
                           {"width", a.width},
                           {"device", device},
                           {"gpu_math", name_of(gpu_math())},
                           {"precision", precision_of(a)},
                           {"threads", kernels::num_threads()},
                           {"peak_mb", bench::in_mib(process_peak())},
                           {"rows", rows}};
    for (const auto& r : rows)
      line[r["what"] == "inference" ? "inference_ms" : "train_step_ms"] = r["median_ms"];
    std::printf("%s\n", line.dump().c_str());
    return kDone;
  }
  std::printf(
      "%s, %d x %d pixels, batch 1, %s, inference in %s, random weights, %d samples of %d\n",
      config.model.backbone.name.c_str(), a.height, a.width, device.c_str(),
      precision_of(a).c_str(), a.repeat, runs_per_sample(a));
  std::printf("%-16s %10s %10s %10s %14s\n", "", "median ms", "min ms", "max ms", "tensors, MiB");
  for (const auto& r : rows)
    std::printf("%-16s %10.1f %10.1f %10.1f %14.0f\n", r["what"].get<std::string>().c_str(),
                r["median_ms"].get<double>(), r["min_ms"].get<double>(), r["max_ms"].get<double>(),
                r["peak_tensor_mb"].get<double>());
  if (a.memory) print_memory(rows);
  std::printf("peak memory of the process: %.0f MiB\n", bench::in_mib(process_peak()));
  return kDone;
}

}  // namespace

void add_bench_model(CLI::App& bench, Action& action) {
  auto a = std::make_shared<ModelArguments>();
  CLI::App* model = bench.add_subcommand(
      "model", "whole inference and whole training step of one image, random weights");
  model->add_option("CONFIG", a->config, "settings as TOML; default: the paper's VGG16");
  model->add_option("--set", a->overrides, "change one setting")->type_name("KEY=VALUE");
  model->add_option("--height", a->height, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  model->add_option("--width", a->width, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  model->add_option("--classes", a->classes, "number of classes")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  model->add_option("--repeat", a->repeat, "samples")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  model->add_option("--warmup", a->warmup, "samples before them, not counted")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  model
      ->add_option("--together", a->together,
                   "runs of a sample, which the device may overlap; default: 10 on a GPU, else 1")
      ->check(CLI::Range(1, 1000));
  model
      ->add_option("--precision", a->precision,
                   "of inference on the CPU: f32, bf16 or int8; default: what --cpu-math says")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->type_name("TYPE");
  model->add_flag("--no-train", a->no_train, "leave the training step out");
  model->add_flag("--no-inference", a->no_inference, "leave inference out");
  model->add_flag("--memory", a->memory,
                  "print what the tensors were for when most memory was in use");
  model->add_flag("--json", a->json, "print one line of JSON");
  model->footer(
      "Example: frcnn bench model configs/bccd-tiny.toml --height 480 --width 640 --json");
  model->callback([&action, a] { action = [a] { return bench_model(*a); }; });
}

}  // namespace frcnn::apps
