// Where the time of an inference goes, part by part, beside the least that the machine allows.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/bench/measure.h"
#include "apps/chart.h"
#include "data/files.h"
#include "engine/tape.h"
#include "kernels/launch/parallel.h"
#include "model/detections.h"
#include "model/faster_rcnn.h"
#include "model/input.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

struct ProfileArguments {
  std::string config, plot;
  std::vector<std::string> overrides;
  int height = 600, width = 800, classes = 20;
  double seconds = 3;
  bool json = false;
};

struct Part {
  std::string name;
  double seconds = 0;
  double flops = 0;  ///< of the direct form: Winograd's convolutions need fewer
  double bytes = 0;  ///< of weights, which must be read once
};

/// Multiplications and additions of a backbone's convolutions in the direct form.
double backbone_flops(const BackboneSpec& spec, int64_t height, int64_t width) {
  double flops = 0;
  int64_t channels = 3;
  const auto sided = [](int64_t in, const LayerSpec& layer) {
    return (in + 2 * layer.padding - layer.kernel) / layer.stride + 1;
  };
  for (const LayerSpec& layer : spec.layers) {
    if (layer.type == LayerSpec::Type::lrn) continue;
    height = sided(height, layer), width = sided(width, layer);
    if (layer.type != LayerSpec::Type::conv) continue;
    flops += 2.0 * static_cast<double>(layer.kernel * layer.kernel * channels * layer.channels) *
             static_cast<double>(height * width);
    channels = layer.channels;
  }
  return flops;
}

/// The chain of FasterRcnn::detect() with a clock between its parts.
std::vector<Part> measure_parts(const ProfileArguments& a, const Config& config) {
  const FasterRcnn model(config.model, a.classes, 1);
  const std::vector<uint8_t> rgb = bench::random_picture(a.height, a.width);
  const Tape::NoGrad inference;
  ops::Memory& memory = ops::memory_of(ops::Device::cpu);
  const auto timed = [&](const std::string& name, const std::function<void()>& run) {
    run();  // weights are packed by the first
    return Part{name, bench::measure(memory, run, a.seconds).median};
  };
  const auto weights = [&](const std::string& prefix) {
    return static_cast<double>(model.parameters().count(prefix));
  };

  std::vector<Part> parts;
  ModelInput input;
  parts.push_back(timed("resizing and normalising", [&] {
    input = make_input(rgb.data(), a.width, a.height, config.model.preprocess);
  }));
  const int64_t height = input.images.dim(2), width = input.images.dim(3);
  Tensor map;
  parts.push_back(timed("backbone", [&] { map = model.features(input.images, false); }));
  parts.back().flops = backbone_flops(model.backbone_spec(), height, width);
  parts.back().bytes = sizeof(float) * weights("backbone.");
  RpnOutput rpn;
  parts.push_back(timed("layers of the RPN", [&] { rpn = model.rpn(map); }));
  const auto cells = static_cast<double>(map.dim(2) * map.dim(3));
  parts.back().flops = 2 * cells * weights("rpn.");
  parts.back().bytes = sizeof(float) * weights("rpn.");
  Proposals proposals;
  parts.push_back(timed("proposals: decoding, selection, NMS", [&] {
    const Tensor anchors = model.anchors(rpn.map_h, rpn.map_w, height, width);
    proposals = model.propose(rpn, anchors, input.sizes, false);
  }));
  const Tensor rois = proposals.rois();
  const FasterRcnn::Stride stride = model.roi_stride(map.dim(2), map.dim(3), height, width);
  RoiOutput out;
  parts.push_back(timed(fmt::format("RoI layer and dense layers, {} RoIs", rois.dim(0)), [&] {
    out = model.head().forward(map, rois, stride.y, stride.x, nullptr);
  }));
  parts.back().flops = 2 * static_cast<double>(rois.dim(0)) * weights("head.");
  parts.back().bytes = sizeof(float) * weights("head.");
  parts.push_back(timed("detections: softmax, decoding, NMS per class", [&] {
    select_detections(out, rois, input.sizes, config.model.roi, config.model.test, a.classes);
  }));
  return parts;
}

/// A bar for each part, as long as its time; the dark end is what the ceilings allow at least.
std::string picture(const std::vector<Part>& parts, const bench::Ceilings& ceilings,
                    const std::string& title) {
  constexpr double kWidth = 860, kLeft = 330, kBar = 400, kRow = 30, kTop = 50;
  const double height = kTop + kRow * static_cast<double>(parts.size()) + 40;
  double most = 0;
  for (const Part& part : parts) most = std::max(most, part.seconds);
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' role='img' "
      "aria-label='{2}'><style>text{{font:13px system-ui,sans-serif;fill:#1b1f24}}</style>"
      "<rect width='{0}' height='{1}' fill='#fff'/><text x='16' y='26'>{2}</text>",
      kWidth, height, escape_html(title));
  double y = kTop;
  for (const Part& part : parts) {
    const double least = bench::least_seconds(ceilings, "f32", part.flops, part.bytes);
    svg += fmt::format(
        "<text x='{0}' y='{1:.1f}' text-anchor='end'>{2}</text>"
        "<rect x='{3}' y='{4:.1f}' width='{5:.1f}' height='20' fill='#93b4f5'/>"
        "<rect x='{3}' y='{4:.1f}' width='{6:.1f}' height='20' fill='#1d4ed8'/>"
        "<text x='{7:.1f}' y='{1:.1f}'>{8:.4g} ms</text>",
        kLeft - 8, y + 15, escape_html(part.name), kLeft, y, kBar * part.seconds / most,
        kBar * std::min(least, part.seconds) / most, kLeft + 8 + kBar * part.seconds / most,
        part.seconds * 1e3);
    y += kRow;
  }
  return svg + fmt::format(
                   "<text x='{}' y='{:.1f}'>light: measured; dark: the least that measured "
                   "ceilings allow (direct convolutions)</text></svg>\n",
                   16, y + 22);
}

int bench_profile(const ProfileArguments& a) {
  Config config = a.config.empty() ? parse_config("", "defaults", a.overrides)
                                   : load_config(a.config, a.overrides);
  bench::use_small_pixels(config.model.preprocess);
  const bench::Ceilings ceilings = bench::measure_ceilings(ops::Device::cpu);
  const std::vector<Part> parts = measure_parts(a, config);
  const std::string device = bench::device_text(ops::Device::cpu);
  double total = 0, total_least = 0;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (!a.json)
    std::printf(
        "%s, %d x %d pixels, %s\nceilings: f32 %.4g GFLOP/s, copy %.4g GB/s (%s)\n%-46s "
        "%10s %8s %10s %12s %8s\n",
        config.model.backbone.name.c_str(), a.height, a.width, device.c_str(),
        ceilings.flops.at("f32") / 1e9, ceilings.bytes_per_second / 1e9, ceilings.how.c_str(), "",
        "ms", "GFLOP", "weights MB", "least ms", "limit");
  const auto line = [&](const Part& part, double least) {
    if (!a.json)
      std::printf("%-46s %10.4g %8.4g %10.4g %12.4g %7.0f %%\n", part.name.c_str(),
                  part.seconds * 1e3, part.flops / 1e9, part.bytes / 1e6, least * 1e3,
                  100 * least / part.seconds);
    rows.push_back({{"part", part.name},
                    {"ms", part.seconds * 1e3},
                    {"gflop", part.flops / 1e9},
                    {"weights_mb", part.bytes / 1e6},
                    {"least_ms", least * 1e3},
                    {"share_of_limit", least / part.seconds}});
  };
  Part all{"all parts"};
  for (const Part& part : parts) {
    const double least = bench::least_seconds(ceilings, "f32", part.flops, part.bytes);
    line(part, least);
    total += part.seconds, total_least += least;
    all.flops += part.flops, all.bytes += part.bytes;
  }
  all.seconds = total;
  line(all, total_least);
  if (a.json)
    std::printf("%s\n", nlohmann::ordered_json{{"backbone", config.model.backbone.name},
                                               {"height", a.height},
                                               {"width", a.width},
                                               {"device", device},
                                               {"peak_gflops", ceilings.flops.at("f32") / 1e9},
                                               {"copy_gbs", ceilings.bytes_per_second / 1e9},
                                               {"parts", rows}}
                            .dump()
                            .c_str());
  if (!a.plot.empty())
    write_file(a.plot,
               std::string_view(picture(parts, ceilings,
                                        fmt::format("Inference, {}, {} x {} pixels, {}: {:.4g} ms",
                                                    config.model.backbone.name, a.height, a.width,
                                                    device, total * 1e3))));
  return kDone;
}

}  // namespace

void add_bench_profile(CLI::App& bench, Action& action) {
  auto a = std::make_shared<ProfileArguments>();
  CLI::App* profile = bench.add_subcommand(
      "profile", "parts of an inference beside what the machine's ceilings allow (CPU)");
  profile->add_option("CONFIG", a->config, "settings as TOML; default: the paper's VGG16");
  profile->add_option("--set", a->overrides, "change one setting")->type_name("KEY=VALUE");
  profile->add_option("--height", a->height, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  profile->add_option("--width", a->width, "of the picture, pixels")
      ->check(CLI::Range(32, 8192))
      ->capture_default_str();
  profile->add_option("--classes", a->classes, "number of classes")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  profile->add_option("--seconds", a->seconds, "measuring time of each part")
      ->check(CLI::Range(1e-4, 100.0))
      ->capture_default_str();
  profile->add_option("--plot", a->plot, "write the parts as bars, SVG")->type_name("FILE");
  profile->add_flag("--json", a->json, "print one line of JSON");
  profile->footer("Example: frcnn bench profile --plot profile.svg");
  profile->callback([&action, a] { action = [a] { return bench_profile(*a); }; });
}

}  // namespace frcnn::apps
