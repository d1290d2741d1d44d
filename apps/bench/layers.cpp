#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/bench/measure.h"
#include "apps/engine_choice.h"
#include "apps/op_device.h"
#include "kernels/pooling/max_pool.h"
#include "model/backbone.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

struct LayerArguments {
  std::string config, version, type = "f32", layout;
  std::vector<std::string> overrides;
  int height = 600, width = 1000, batch = 1;
  double seconds = 0.2;
  bool json = false;
};

/// A layer as an operation of the registry.
struct LayerCase {
  std::string name, op;
  ops::Case made;
  ops::Extent out;
};

ops::Array numbers(const ops::Extent& extent) {
  return ops::Array::repeating(
      extent, ops::Array::of({7}, std::vector<float>{0.5f, -0.25f, 1, 0.125f, -1, 0.75f, -0.5f}));
}

LayerCase conv_case(const LayerSpec& layer, const ops::Extent& x, const std::string& layout,
                    const std::string& type) {
  LayerCase made{layer.name, "conv2d", {}, {}};
  const int64_t k = layer.kernel, s = layer.stride, p = layer.padding;
  made.out = {x[0], layer.channels, (x[2] + 2 * p - k) / s + 1, (x[3] + 2 * p - k) / s + 1};
  made.made.arrays["x"] = numbers(x);
  made.made.arrays["w"] = numbers({layer.channels, x[1], k, k});
  if (!layer.batch_norm) made.made.arrays["b"] = numbers({layer.channels});
  made.made.arrays["d_y"] = numbers(made.out);
  // A picture of three channels comes as it is stored; padding it to a block would waste work.
  made.made.params = {{"stride_h", s},
                      {"stride_w", s},
                      {"pad_h", p},
                      {"pad_w", p},
                      {"layout", x[1] == 3 && layout != "nhwc" ? "nchw" : layout},
                      {"out_layout", layout},
                      {"relu", !layer.batch_norm && type != "bf16"},
                      {"type", type}};
  return made;
}

LayerCase norm_case(const LayerSpec& layer, const ops::Extent& x, const std::string& layout) {
  LayerCase made{layer.name + ".norm", "batch_norm_train", {}, x};
  made.made.arrays["x"] = numbers(x);
  made.made.arrays["d_y"] = numbers(x);
  made.made.arrays["gamma"] = numbers({x[1]});
  made.made.arrays["beta"] = numbers({x[1]});
  made.made.params = {{"layout", layout}, {"relu", true}};
  return made;
}

LayerCase lrn_case(const LayerSpec& layer, const ops::Extent& x, const std::string& layout) {
  LayerCase made{layer.name, "lrn", {}, x};
  made.made.arrays["x"] = numbers(x);
  made.made.arrays["d_y"] = numbers(x);
  made.made.params = {{"layout", layout},
                      {"size", layer.lrn.size},
                      {"alpha", layer.lrn.alpha},
                      {"beta", layer.lrn.beta},
                      {"k", layer.lrn.k}};
  return made;
}

LayerCase pool_case(const LayerSpec& layer, const ops::Extent& x, const std::string& layout,
                    bool ceil_mode) {
  LayerCase made{layer.name, "max_pool", {}, {}};
  const int64_t k = layer.kernel, s = layer.stride, p = layer.padding;
  const auto out = kernels::max_pool_layout({x[0], x[1], x[2], x[3], 1},
                                            kernels::MaxPoolParams::square(k, s, p, ceil_mode));
  made.out = {out.n, out.c, out.h, out.w};
  made.made.arrays["x"] = numbers(x);
  made.made.arrays["d_y"] = numbers(made.out);
  made.made.params = {{"kernel_h", k},          {"kernel_w", k},   {"stride_h", s},
                      {"stride_w", s},          {"pad_h", p},      {"pad_w", p},
                      {"ceil_mode", ceil_mode}, {"layout", layout}};
  return made;
}

/// Times of one layer in seconds; backward_data stands for the only backward pass where there is
/// one.
struct LayerTimes {
  double forward = 0, backward_data = 0, backward_weights = 0, flops = 0;
  std::string version;
  std::map<std::string, std::string> engine;  ///< by pass: the kernel that the engine would take
};

/// The first layer's input is the picture: nobody asks for its gradient.
LayerTimes measure_layer(const LayerCase& layer, ops::Device device, const LayerArguments& a,
                         bool first) {
  const ops::Operation& op = ops::operation(layer.op);
  const std::vector<std::string> names = op.versions(device);
  const bool known = std::find(names.begin(), names.end(), a.version) != names.end();
  ops::Desk desk(op, layer.made, {device, known ? a.version : ""});
  op.prepare(desk);
  LayerTimes times;
  for (const ops::Pass& pass : desk.passes()) {
    if (first && (pass.name == "backward_data" || pass.name == "pack_for_data")) continue;
    const bool timed = pass.name == "forward" || pass.name.starts_with("backward");
    if (!timed) {
      pass.run();
      continue;
    }
    const double seconds = bench::measure(desk.memory(), pass.run, a.seconds).median;
    (pass.name == "forward"            ? times.forward
     : pass.name == "backward_weights" ? times.backward_weights
                                       : times.backward_data) = seconds;
    if (std::string name = engine_choice(op, layer.made, pass.name); !name.empty())
      times.engine[pass.name] = name;
    if (pass.name == "forward") {
      times.flops = op.flops ? op.flops(layer.made, "forward") : 0;
      times.version = pass.version;
    }
  }
  return times;
}

std::string milliseconds(double seconds) {
  return seconds > 0 ? fmt::format("{:.3f}", seconds * 1e3) : "";
}

class Table {
 public:
  explicit Table(bool json) : json_(json) {}
  void head(const std::string& title) {
    if (json_) return;
    std::printf("%s\n%-14s %-18s %12s %12s %12s %10s  %-16s %s\n", title.c_str(), "layer", "output",
                "forward ms", "d_x ms", "d_w ms", "TFLOP/s", "version", "the engine takes");
  }
  void add(const LayerCase& layer, const LayerTimes& t) {
    sum_.forward += t.forward;
    sum_.backward_data += t.backward_data;
    sum_.backward_weights += t.backward_weights;
    sum_.flops += t.flops;
    line(layer.name, fmt::format("{}x{}x{}", layer.out[1], layer.out[2], layer.out[3]), t);
    rows_.push_back({{"layer", layer.name},
                     {"op", layer.op},
                     {"out", layer.out},
                     {"version", t.version},
                     {"engine", t.engine},
                     {"forward_ms", t.forward * 1e3},
                     {"backward_data_ms", t.backward_data * 1e3},
                     {"backward_weights_ms", t.backward_weights * 1e3},
                     {"flops", t.flops}});
  }
  void finish(const std::string& device, const LayerArguments& a) {
    if (!json_) return line("all layers", "", sum_);
    std::printf("%s\n", Json{{"device", device},
                             {"height", a.height},
                             {"width", a.width},
                             {"batch", a.batch},
                             {"type", a.type},
                             {"rows", rows_},
                             {"forward_ms", sum_.forward * 1e3},
                             {"backward_ms", (sum_.backward_data + sum_.backward_weights) * 1e3}}
                            .dump()
                            .c_str());
  }

 private:
  void line(const std::string& name, const std::string& out, const LayerTimes& t) const {
    if (json_) return;
    const auto engine = t.engine.find("forward");
    std::printf("%-14s %-18s %12s %12s %12s %10s  %-16s %s\n", name.c_str(), out.c_str(),
                milliseconds(t.forward).c_str(), milliseconds(t.backward_data).c_str(),
                milliseconds(t.backward_weights).c_str(),
                t.flops > 0 ? fmt::format("{:.3g}", t.flops / t.forward / 1e12).c_str() : "",
                t.version.c_str(), engine == t.engine.end() ? "" : engine->second.c_str());
    std::fflush(stdout);
  }
  bool json_;
  LayerTimes sum_;
  Json rows_ = Json::array();
};

int bench_layers(const LayerArguments& a) {
  const Config config = a.config.empty() ? parse_config("", "defaults", a.overrides)
                                         : load_config(a.config, a.overrides);
  const ops::Device device = op_device();
  const std::string layout = a.layout.empty() ? bench::natural_layout(device) : a.layout;
  const BackboneSpec spec = backbone_spec(config.model.backbone);
  if (spec.imported)
    throw UsageError(
        "bench layers measures vgg16, zf, alexnet and tiny, which are lists of layers");
  Table table(a.json);
  table.head(fmt::format("{}, {} x {} pixels, batch {}, {}, maps in {}, {}", spec.name, a.height,
                         a.width, a.batch, a.type, layout, bench::device_text(device)));
  ops::Extent x = {a.batch, 3, a.height, a.width};
  for (const LayerSpec& layer : spec.layers) {
    LayerCase made = layer.type == LayerSpec::Type::conv ? conv_case(layer, x, layout, a.type)
                     : layer.type == LayerSpec::Type::lrn
                         ? lrn_case(layer, x, layout)
                         : pool_case(layer, x, layout, spec.ceil_mode);
    table.add(made, measure_layer(made, device, a, &layer == spec.layers.data()));
    x = made.out;
    if (!layer.batch_norm) continue;
    const LayerCase norm = norm_case(layer, x, layout);
    table.add(norm, measure_layer(norm, device, a, false));
  }
  table.finish(bench::device_text(device), a);
  return kDone;
}

}  // namespace

void add_bench_layers(CLI::App& bench, Action& action) {
  auto a = std::make_shared<LayerArguments>();
  CLI::App* layers =
      bench.add_subcommand("layers", "each layer of a backbone, forward and both backward passes");
  layers->add_option("CONFIG", a->config, "settings as TOML; default: the paper's VGG16");
  layers->add_option("--set", a->overrides, "change one setting")->type_name("KEY=VALUE");
  layers->add_option("--height", a->height, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  layers->add_option("--width", a->width, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  layers->add_option("--batch", a->batch, "pictures")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  layers->add_option("--version", a->version, "of kernels that have it; default: the best");
  layers->add_option("--type", a->type, "of convolutions")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  layers->add_option("--layout", a->layout, "of maps; default: what suits the device")
      ->check(CLI::IsMember({"nchw", "nhwc", "blocked8", "blocked16"}));
  layers->add_option("--seconds", a->seconds, "measuring time of each number")
      ->check(CLI::Range(1e-4, 100.0))
      ->capture_default_str();
  layers->add_flag("--json", a->json, "print one line of JSON");
  layers->footer(
      "Example: frcnn bench layers --set backbone.name=zf --height 600 --width 800 --json");
  layers->callback([&action, a] { action = [a] { return bench_layers(*a); }; });
}

}  // namespace frcnn::apps
