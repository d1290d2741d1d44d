#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/bench/commands.h"
#include "apps/bench/rows.h"
#include "apps/op_device.h"
#include "data/files.h"

namespace frcnn::apps {
namespace {

struct KernelArguments {
  std::vector<std::string> ops, versions, skip;
  std::string shapes = "vgg16", filter, plot, against, save;
  double seconds = 0.1;
  bool json = false, forward = false;
};

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

/// Bytes that a pass moves at least.
double traffic_of(const ops::Desk& desk, const std::string& pass) {
  if (desk.op().traffic) {
    double bytes = 0;
    for (const std::string& name : desk.op().traffic(pass)) bytes += desk.bytes_of(name);
    return bytes;
  }
  double bytes = 0;
  const bool backward = pass.starts_with("backward");
  for (const auto& [name, size] : desk.bytes()) {
    const bool input = std::any_of(desk.op().inputs.begin(), desk.op().inputs.end(),
                                   [&n = name](const ops::ArrayDoc& doc) { return doc.name == n; });
    const bool gradient = name.starts_with("d_");
    if (backward ? input || gradient : !gradient) bytes += size;
  }
  return bytes;
}

/// Cases are laid out as GPUs like them. A picture of three channels is not padded to a block.
void use_natural_layout(ops::Case& c) {
  const std::string layout = bench::natural_layout(ops::Device::cpu);
  const bool picture = c.arrays.contains("x") && c.arrays.at("x").extent().at(1) == 3;
  c.params["layout"] = picture ? "nchw" : layout;
  if (picture) c.params["out_layout"] = layout;
}

class Run {
 public:
  explicit Run(const KernelArguments& arguments) : a_(arguments), device_(op_device()) {
    ceilings_ = bench::measure_ceilings(device_);
    if (a_.json) return;
    std::printf("%s\n", bench::device_text(device_).c_str());
    if (ceilings_.bytes_per_second > 0) {
      std::printf("ceilings: copy %.4g GB/s", ceilings_.bytes_per_second / 1e9);
      for (const auto& [name, flops] : ceilings_.flops)
        std::printf(", %s %.3g TFLOP/s", name.c_str(), flops / 1e12);
      std::printf(" (%s)\n", ceilings_.how.c_str());
    }
  }

  void operation(const ops::Operation& op) {
    if (!op.bench || (device_ != ops::Device::cpu && !op.on_gpu)) return;
    for (const ops::BenchCase& bench_case : op.bench(a_.shapes)) {
      if (bench_case.label.find(a_.filter) == std::string::npos) continue;
      const size_t first = rows_.size();
      ops::Case made = bench_case.make();
      if (device_ == ops::Device::cpu && made.params.contains("layout")) use_natural_layout(made);
      const auto type = made.params.find("type");
      if (device_ == ops::Device::cpu && type != made.params.end() &&
          std::get<std::string>(type->second) == "bf16")
        continue;  // only rounds there
      for (const std::string& version : op.versions(device_)) {
        if (contains(a_.skip, version)) continue;
        if (!a_.versions.empty() && !contains(a_.versions, version)) continue;
        // Plain loops on the CPU are there to be compared with; large shapes take them minutes.
        if (a_.versions.empty() && version == "reference") continue;
        one_version(op, bench_case, made, version);
      }
      finish_case(first);
    }
  }

  int report() {
    if (!a_.against.empty()) bench::compare_with_saved(rows_, a_.against);
    const std::string json = bench::rows_json(rows_, device_, ceilings_);
    if (a_.json) std::fputs(json.c_str(), stdout);
    if (!a_.save.empty()) write_file(a_.save, json);
    if (!a_.plot.empty())
      write_file(a_.plot, bench::roofline_svg(rows_, ceilings_,
                                              "Kernels on " + bench::device_text(device_)));
    return kDone;
  }

 private:
  void one_version(const ops::Operation& op, const ops::BenchCase& bench_case,
                   const ops::Case& made, const std::string& version) {
    bench::Row row;
    row.op = op.name;
    row.label = bench_case.label;
    row.version = version;
    try {
      ops::Desk desk(op, made, {device_, version});
      op.prepare(desk);
      // A pass that reads what an earlier one wrote needs that to have run.
      for (const ops::Pass& pass : desk.passes()) {
        row.pass = pass.name;
        const bool wanted = (pass.version == version || pass.version.empty()) &&
                            !(a_.forward && pass.name != "forward") &&
                            !(bench_case.backward_only && pass.name == "forward");
        if (!wanted) {
          pass.run();
          continue;
        }
        row.arithmetic = bench::arithmetic_of(version, desk.type());
        row.time = bench::measure(desk.memory(), pass.run, a_.seconds);
        row.flops = op.flops ? op.flops(made, pass.name) : 0;
        row.bytes = traffic_of(desk, pass.name);
        row.share =
            bench::least_seconds(ceilings_, row.arithmetic, row.flops, row.bytes) / row.time.median;
        rows_.push_back(row);
      }
      desk.memory().wait();
    } catch (const ops::Unsupported&) {  // not of this type or shape
    } catch (const Error& error) {
      row.refused = error.what();
      rows_.push_back(row);
    }
  }

  void finish_case(size_t first) {
    std::vector<bench::Row> rows(rows_.begin() + static_cast<long>(first), rows_.end());
    if (rows.empty()) return;
    bench::compare_with_libraries(rows);
    if (!a_.against.empty()) bench::compare_with_saved(rows, a_.against);
    std::copy(rows.begin(), rows.end(), rows_.begin() + static_cast<long>(first));
    if (a_.json) return;
    std::printf("\n%s, %s\n%s", rows[0].op.c_str(), rows[0].label.c_str(),
                bench::table_head().c_str());
    for (const bench::Row& row : rows) std::fputs(bench::table_line(row).c_str(), stdout);
    std::fflush(stdout);
  }

  const KernelArguments& a_;
  ops::Device device_;
  bench::Ceilings ceilings_;
  std::vector<bench::Row> rows_;
};

int bench_kernels(const KernelArguments& a) {
  std::vector<const ops::Operation*> list;
  for (const std::string& name : a.ops) list.push_back(&ops::operation(name));
  if (list.empty())
    for (const ops::Operation& op : ops::operations()) list.push_back(&op);
  Run run(a);
  for (const ops::Operation* op : list) run.operation(*op);
  return run.report();
}

}  // namespace

void add_bench_kernels(CLI::App& bench, Action& action) {
  auto a = std::make_shared<KernelArguments>();
  CLI::App* kernels = bench.add_subcommand(
      "kernels", "every version of every kernel: time, GB/s, TFLOP/s, share of the limit");
  kernels->add_option("--op", a->ops, "only this operation (several times: these)")
      ->type_name("NAME");
  kernels->add_option("--shapes", a->shapes, "vgg16 (at 600x1000 pixels) or small")
      ->check(CLI::IsMember({"vgg16", "small"}))
      ->capture_default_str();
  kernels->add_option("--case", a->filter, "only cases whose name contains this")
      ->type_name("TEXT");
  kernels->add_option("--version", a->versions, "only this version (several times: these)")
      ->type_name("NAME");
  kernels->add_option("--skip", a->skip, "not this version")->type_name("NAME");
  kernels->add_flag("--forward", a->forward, "not the backward passes");
  kernels->add_option("--seconds", a->seconds, "measuring time of each line")
      ->check(CLI::Range(1e-4, 100.0))
      ->capture_default_str();
  kernels->add_option("--plot", a->plot, "write a roofline as SVG")->type_name("FILE");
  kernels->add_option("--save", a->save, "write the rows as JSON")->type_name("FILE");
  kernels->add_option("--against", a->against, "compare with a file that --save wrote")
      ->type_name("FILE");
  kernels->add_flag("--json", a->json, "print one line of JSON");
  kernels->footer(
      "Example: frcnn bench kernels --op conv2d --skip naive --device cuda --plot roofline.svg");
  kernels->callback([&action, a] { action = [a] { return bench_kernels(*a); }; });
}

}  // namespace frcnn::apps
