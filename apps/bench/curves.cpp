// Cost curves: how time and memory of the steps around the convolutions grow with their input.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <fstream>
#include <memory>

#include "apps/bench/commands.h"
#include "apps/bench/measure.h"
#include "apps/chart.h"
#include "apps/ops/random_case.h"
#include "data/files.h"
#include "engine/host.h"
#include "engine/memory.h"
#include "kernels/launch/parallel.h"
#include "model/faster_rcnn.h"
#include "model/input.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

struct CurveArguments {
  std::string out, config;
  std::vector<std::string> only;
  int64_t most_pixels = 4000;
  double seconds = 0.5;
};

/// process_peak() begins anew.
void forget_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

struct Point {
  double size = 0, milliseconds = 0, added_mib = 0;
};

struct Curve {
  std::string name, x_label;
  std::vector<Point> points;
};

/// Time of the passes of an operation on a case, and the memory that they add to their arrays.
Point run_case(const std::string& name, const ops::Case& made, double size, double seconds) {
  const ops::Operation& op = ops::operation(name);
  ops::Desk desk(op, made, {ops::Device::cpu, ""});
  op.prepare(desk);
  Point point{size, 0, 0};
  forget_peak();  // inputs and results have their pages already
  const size_t before = process_peak();
  for (const ops::Pass& pass : desk.passes()) pass.run();
  point.added_mib = bench::in_mib(process_peak() - before);
  for (const ops::Pass& pass : desk.passes())
    point.milliseconds += 1e3 * bench::measure(desk.memory(), pass.run, seconds).median;
  return point;
}

Curve nms_curve(const CurveArguments& a, bool stops) {
  Curve curve{stops ? "nms, stops at 2000" : "nms, to the end", "boxes", {}};
  for (const int64_t count : {1000, 5000, 10000, 20000, 50000, 100000, 150000, 200000}) {
    ops::Random random(1);
    ops::Case made;
    made.arrays["boxes"] = random.scattered_boxes(count, 600, 1000);
    made.params["max_keep"] = stops ? std::min<int64_t>(count, 2000) : count;
    curve.points.push_back(run_case("nms", made, static_cast<double>(count), a.seconds));
  }
  return curve;
}

Curve roi_curve(const CurveArguments& a, const std::string& op) {
  Curve curve{op + ", 128 channels", "RoIs", {}};
  for (const int64_t count : {100, 300, 1000, 2000, 5000, 10000, 20000}) {
    ops::Random random(1);
    ops::Case made;
    made.arrays["x"] = random.floats({1, 128, 38, 50}, -1, 1);
    made.arrays["rois"] = random.rois(count, 1, 600, 800);
    made.params["layout"] = bench::natural_layout(ops::Device::cpu);
    curve.points.push_back(run_case(op, made, static_cast<double>(count), a.seconds));
  }
  return curve;
}

Curve object_curve(const CurveArguments& a) {
  Curve curve{"matching with 20646 anchors", "objects of an image", {}};
  for (const int64_t count : {1, 20, 100, 500, 1000, 2000, 5000}) {
    ops::Random random(1);
    ops::Case made;
    made.arrays["boxes"] = random.scattered_boxes(20646, 600, 1000);
    made.arrays["truth"] = random.scattered_boxes(count, 600, 1000);
    curve.points.push_back(run_case("iou_match", made, static_cast<double>(count), a.seconds));
  }
  return curve;
}

/// Whole inference of square pictures by a network of the config.
Curve size_curve(const CurveArguments& a) {
  Curve curve{"inference", "megapixels of the picture", {}};
  for (const int side : {250, 500, 1000, 1500, 2000, 3000, 4000}) {
    if (side > a.most_pixels) break;
    std::vector<std::string> changes = {fmt::format("preprocess.longer_side={}", side),
                                        fmt::format("preprocess.shorter_side={}", side)};
    if (a.config.empty())
      changes.insert(changes.end(), {"backbone.name=tiny", "backbone.frozen_until="});
    const Config config =
        a.config.empty() ? parse_config("", "defaults", changes) : load_config(a.config, changes);
    const FasterRcnn model(config.model, 20, 1);
    const std::vector<uint8_t> rgb = bench::random_picture(side, side);
    const auto run = [&] {
      model.detect(make_input(rgb.data(), side, side, config.model.preprocess));
    };
    CachingAllocator::of(Device{}).release_cached();  // what the point before left
    forget_peak();
    const size_t before = process_peak();
    const bench::Timing time = bench::measure(ops::memory_of(ops::Device::cpu), run, a.seconds);
    curve.points.push_back(
        {side * side / 1e6, 1e3 * time.median, bench::in_mib(process_peak() - before)});
  }
  return curve;
}

void write_charts(const CurveArguments& a, const std::string& file,
                  const std::vector<Curve>& curves) {
  const auto chart = [&](const char* what, double Point::*value) {
    Chart drawing;
    drawing.x_label = curves[0].x_label;
    for (const Curve& curve : curves) {
      Series series{curve.name, {}, {}, true};
      for (const Point& point : curve.points) {
        series.x.push_back(point.size);
        series.y.push_back(point.*value);
      }
      drawing.series.push_back(series);
    }
    return chart_svg(drawing, fmt::format("{}, {}", what, bench::device_text(ops::Device::cpu)));
  };
  write_file(a.out + "/" + file + "-time.svg",
             std::string_view(chart("milliseconds", &Point::milliseconds)));
  write_file(a.out + "/" + file + "-memory.svg",
             std::string_view(chart("MiB beyond inputs and results", &Point::added_mib)));
}

int bench_curves(const CurveArguments& a) {
  std::filesystem::create_directories(a.out);
  const std::vector<std::pair<std::string, std::function<std::vector<Curve>()>>> kinds = {
      {"nms",
       [&] {
         return std::vector{nms_curve(a, false), nms_curve(a, true)};
       }},
      {"rois",
       [&] {
         return std::vector{roi_curve(a, "roi_align"), roi_curve(a, "roi_pool")};
       }},
      {"objects", [&] { return std::vector{object_curve(a)}; }},
      {"sizes", [&] { return std::vector{size_curve(a)}; }}};
  std::string csv = "curve,size,what,milliseconds,added_mib\n";
  std::printf("%-32s %12s %14s %12s\n", "curve", "size", "milliseconds", "added MiB");
  for (const auto& [file, make] : kinds) {
    if (!a.only.empty() && std::find(a.only.begin(), a.only.end(), file) == a.only.end()) continue;
    const std::vector<Curve> curves = make();
    for (const Curve& curve : curves)
      for (const Point& p : curve.points) {
        csv += fmt::format("\"{}\",{:g},{},{:.4g},{:.1f}\n", curve.name, p.size, curve.x_label,
                           p.milliseconds, p.added_mib);
        std::printf("%-32s %12g %14.4g %12.1f\n", curve.name.c_str(), p.size, p.milliseconds,
                    p.added_mib);
      }
    std::fflush(stdout);
    write_charts(a, file, curves);
  }
  write_file(a.out + "/curves.csv", std::string_view(csv));
  return kDone;
}

}  // namespace

void add_bench_curves(CLI::App& bench, Action& action) {
  auto a = std::make_shared<CurveArguments>();
  CLI::App* curves = bench.add_subcommand(
      "curves", "how time and memory grow: boxes of NMS, RoIs, objects, size of the picture (CPU)");
  curves->add_option("CONFIG", a->config,
                     "network of the curve over sizes; default: the tiny backbone");
  curves->add_option("--out", a->out, "folder for curves.csv and the charts")
      ->required()
      ->type_name("DIR");
  curves->add_option("--only", a->only, "nms, rois, objects, sizes")
      ->check(CLI::IsMember({"nms", "rois", "objects", "sizes"}));
  curves->add_option("--most", a->most_pixels, "largest side of a picture, pixels")
      ->check(CLI::Range(250, 4000))
      ->capture_default_str();
  curves->add_option("--seconds", a->seconds, "measuring time of each point")
      ->check(CLI::Range(1e-4, 100.0))
      ->capture_default_str();
  curves->footer("Example: frcnn bench curves --out curves");
  curves->callback([&action, a] { action = [a] { return bench_curves(*a); }; });
}

}  // namespace frcnn::apps
