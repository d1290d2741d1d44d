#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/measure.h"
#include "apps/commands.h"
#include "apps/engine_choice.h"
#include "apps/op_device.h"
#include "apps/ops/case_file.h"
#include "apps/ops/compare.h"
#include "apps/ops/desk.h"
#include "apps/ops/listing.h"
#include "apps/ops/random_case.h"
#include "kernels/launch/parallel.h"

namespace frcnn::apps {
namespace {

struct OpArguments {
  std::string name, in, out, version, compare;
  std::vector<std::string> settings;
  int64_t random = -1, cases = 200, seed = 1;
  double seconds = 0;
  bool list = false, json = false, markdown = false;
};

int print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return kDone;
}

/// `--in case.h5 --out result.h5`
int run_file(const OpArguments& a, const ops::Operation& op) {
  const ops::Choice choice{op_device(), a.version};
  ops::Case given = ops::read_case(a.in, op);
  for (const std::string& setting : a.settings) {
    const auto [name, value] = ops::parse_setting(op, setting);
    given.params[name] = value;
  }
  ops::Desk desk(op, given, choice);
  op.prepare(desk);
  for (const ops::Pass& pass : desk.passes()) pass.run();
  ops::Case result;
  result.arrays = desk.results();
  ops::write_case(a.out, op, result);
  // Measured last: a pass that updates its arrays goes on from where it was.
  nlohmann::ordered_json times = nlohmann::ordered_json::array();
  if (a.seconds > 0)
    for (const ops::Pass& pass : desk.passes()) {
      const bench::Timing time = bench::measure(desk.memory(), pass.run, a.seconds);
      times.push_back({{"pass", pass.name},
                       {"version", pass.version},
                       {"median_ms", time.median * 1e3},
                       {"quartiles_ms", {time.low * 1e3, time.high * 1e3}},
                       {"least_ms", time.least * 1e3},
                       {"samples", time.samples}});
    }
  if (a.json && a.seconds > 0)
    std::printf("%s\n",
                nlohmann::ordered_json{
                    {"operation", op.name}, {"threads", kernels::num_threads()}, {"passes", times}}
                    .dump()
                    .c_str());
  if (a.json) return kDone;
  for (const auto& time : times)
    std::printf("%-20s %-8s %.4g ms (median of %d samples)\n",
                time["pass"].get<std::string>().c_str(), time["version"].get<std::string>().c_str(),
                time["median_ms"].get<double>(), time["samples"].get<int>());
  for (const auto& [name, array] : result.arrays)
    std::printf("%-20s %-8s %s\n", name.c_str(), ops::type_name(array.type()),
                ops::extent_text(array.extent()).c_str());
  if (const std::string taken = engine_choice(op, given, "forward"); !taken.empty())
    std::printf("a layer of this shape takes %s\n", taken.c_str());
  return kDone;
}

/// `--random SEED --out case.h5`
int write_random(const OpArguments& a, const ops::Operation& op) {
  ops::Random random(static_cast<uint64_t>(a.random));
  ops::Case made = op.random_case(random);
  for (const std::string& setting : a.settings) {
    const auto [name, value] = ops::parse_setting(op, setting);
    made.params[name] = value;
  }
  ops::write_case(a.out, op, made);
  return kDone;
}

/// `--compare cpu,emulated`
int compare(const OpArguments& a, const std::vector<const ops::Operation*>& list) {
  const size_t comma = a.compare.find(',');
  if (comma == std::string::npos)
    throw UsageError(fmt::format("--compare {}: expected two devices, as cpu,emulated", a.compare));
  const ops::Device expected = ops::device_of(a.compare.substr(0, comma));
  const ops::Device device = ops::device_of(a.compare.substr(comma + 1));
  for (const ops::Device d : {expected, device}) ops::memory_of(d);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  bool good = true;
  if (!a.json)
    std::printf("%-24s %-16s %6s %12s %12s  %s\n", "operation", "version", "cases", "x tolerance",
                "error", "tolerance");
  for (const ops::Operation* op : list) {
    if (!op->on_gpu && device != ops::Device::cpu) continue;
    for (const ops::Comparison& c : ops::compare_devices(*op, expected, device, a.version, a.cases,
                                                         static_cast<uint64_t>(a.seed))) {
      good &= c.failure.empty();
      rows.push_back({{"operation", op->name},
                      {"version", c.version},
                      {"cases", c.cases},
                      {"worst", c.worst},
                      {"error", c.error},
                      {"where", c.where},
                      {"reason", c.reason},
                      {"ok", c.failure.empty()}});
      if (a.json) continue;
      std::printf("%-24s %-16s %6lld %12.3g %12.3g  %s\n", op->name.c_str(), c.version.c_str(),
                  static_cast<long long>(c.cases), c.worst, c.error, c.reason.c_str());
      if (!c.failure.empty()) std::printf("  BEYOND TOLERANCE: %s\n", c.failure.c_str());
      std::fflush(stdout);
    }
  }
  if (a.json)
    std::printf("%s\n", nlohmann::ordered_json{{"compared", a.compare}, {"rows", rows}}
                            .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                            .c_str());
  return good ? kDone : kFailed;
}

void need(bool condition, const char* what) {
  if (!condition) throw UsageError(fmt::format("{} (see `frcnn op --help`)", what));
}

int run_op(const OpArguments& a) {
  if (a.markdown) return print(ops::listing_markdown());
  if (a.list && a.json) return print(ops::listing_json());
  if (a.list) return print(ops::listing_text());
  if (!a.compare.empty()) {
    std::vector<const ops::Operation*> list;
    if (a.name.empty())
      for (const ops::Operation& op : ops::operations()) list.push_back(&op);
    else
      list.push_back(&ops::operation(a.name));
    return compare(a, list);
  }
  need(!a.name.empty(), "name an operation, or give --list");
  const ops::Operation& op = ops::operation(a.name);
  if (a.random >= 0) {
    need(!a.out.empty(), "--random needs --out for the file to be written");
    return write_random(a, op);
  }
  if (a.in.empty() && a.out.empty()) return print(ops::description_text(op));
  need(!a.in.empty(), "--in is missing: the file of the inputs");
  need(!a.out.empty(), "--out is missing: the file for the results");
  return run_file(a, op);
}

}  // namespace

void add_op(CLI::App& app, Action& action) {
  CLI::App* op = app.add_subcommand("op", "run one kernel on arrays from an HDF5 file");
  op->footer(
      "A file holds a dataset per input, attributes for parameters, and d_<output> for the\n"
      "gradients of outputs, which make it write d_<input>.\n"
      "Example: frcnn op roi_align --random 7 --out case.h5\n"
      "         frcnn op roi_align --in case.h5 --out result.h5 --set sampling_ratio=2\n"
      "         frcnn op roi_align --compare cpu,emulated --cases 50");
  auto a = std::make_shared<OpArguments>();
  op->add_option("NAME", a->name, "the operation; alone, it is described");
  op->add_flag("--list", a->list, "all operations");
  op->add_option("--in", a->in, "inputs, HDF5")->type_name("FILE");
  op->add_option("--out", a->out, "results, or the random case, HDF5")->type_name("FILE");
  op->add_option("--version", a->version, "of the kernel; default: the best");
  op->add_option("--set", a->settings, "change one parameter")->type_name("NAME=VALUE");
  op->add_option("--random", a->random, "write the random case of this seed to --out")
      ->check(CLI::NonNegativeNumber)
      ->type_name("SEED");
  op->add_option("--compare", a->compare,
                 "two devices, as cpu,emulated: all versions of the second on random cases; exit "
                 "code 1 beyond tolerance. Without NAME: all operations")
      ->type_name("A,B");
  op->add_option("--cases", a->cases, "random cases for each version")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  op->add_option("--seed", a->seed, "of the first of them")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  op->add_option("--seconds", a->seconds, "with --in: also measure each pass for so long")
      ->check(CLI::Range(1e-4, 100.0));
  op->add_flag("--json", a->json, "print JSON");
  op->add_flag("--markdown", a->markdown, "print the tables of docs/kernels/README.md");
  op->callback([&action, a] { action = [a] { return run_op(*a); }; });
}

}  // namespace frcnn::apps
