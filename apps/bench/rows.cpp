#include "apps/bench/rows.h"

#include <nlohmann/json.hpp>

#include "apps/terminal.h"
#include "data/files.h"

namespace frcnn::apps::bench {
namespace {

using Json = nlohmann::ordered_json;

bool same_work(const Row& a, const Row& b) {
  return a.op == b.op && a.label == b.label && a.pass == b.pass;
}

std::string number(double value, const char* format) {
  return value > 0 ? fmt::format(fmt::runtime(format), value) : "";
}

}  // namespace

void compare_with_libraries(std::vector<Row>& rows) {
  for (Row& row : rows) {
    if (row.is_library() || !row.refused.empty()) continue;
    double best = 0;
    for (const Row& other : rows)
      if (other.is_library() && other.refused.empty() && same_work(row, other) &&
          other.arithmetic == row.arithmetic && (best == 0 || other.time.median < best)) {
        best = other.time.median;
        row.library_name = other.version;
      }
    row.library = best / row.time.median;
  }
}

void compare_with_saved(std::vector<Row>& rows, const std::string& file) {
  const auto saved = nlohmann::json::parse(read_text(file), nullptr, false);
  check(saved.is_object() && saved.contains("rows") && saved["rows"].is_array(),
        "{}: is not what `frcnn bench kernels --save` writes", file);
  const auto is = [](const nlohmann::json& old, const char* key, const std::string& value) {
    return old.contains(key) && old[key] == value;
  };
  for (Row& row : rows)
    for (const auto& old : saved["rows"])
      if (old.is_object() && is(old, "op", row.op) && is(old, "case", row.label) &&
          is(old, "pass", row.pass) && is(old, "version", row.version) &&
          old.contains("median_ms") && old["median_ms"].is_number())
        row.saved = old["median_ms"].get<double>() / (row.time.median * 1e3);
}

std::string rows_json(const std::vector<Row>& rows, ops::Device device, const Ceilings& ceilings) {
  Json json = {{"device", ops::device_name(device)},
               {"name", device_text(device)},
               {"copy_gbs", ceilings.bytes_per_second / 1e9}};
  for (const auto& [arithmetic, flops] : ceilings.flops)
    json["peak_tflops"][arithmetic] = flops / 1e12;
  json["ceilings"] = ceilings.how;
  json["rows"] = Json::array();
  for (const Row& r : rows) {
    Json row = {{"op", r.op}, {"case", r.label}, {"pass", r.pass}, {"version", r.version}};
    if (!r.refused.empty()) {
      row["refused"] = r.refused;
    } else {
      row["arithmetic"] = r.arithmetic;
      row["median_ms"] = r.time.median * 1e3;
      row["quartiles_ms"] = {r.time.low * 1e3, r.time.high * 1e3};
      row["samples"] = r.time.samples;
      row["gbs"] = r.bytes / r.time.median / 1e9;
      if (r.flops > 0) row["tflops"] = r.flops / r.time.median / 1e12;
      if (r.share > 0) row["share"] = r.share;
      if (r.library > 0) row["vs_library"] = r.library;
      if (r.library > 0) row["library"] = r.library_name;
      if (r.saved > 0) row["vs_saved"] = r.saved;
    }
    json["rows"].push_back(row);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string table_head() {
  return fmt::format("  {:<18}{:<16}{:>11}{:>25}{:>9}{:>10}{:>8}{:>9}{:>9}\n", "pass", "version",
                     "median ms", "quartiles ms", "GB/s", "TFLOP/s", "limit", "library", "saved");
}

std::string table_line(const Row& r) {
  if (!r.refused.empty()) return fmt::format("  {:<18}{:<16} {}\n", r.pass, r.version, r.refused);
  const std::string spread = fmt::format("{:.4g} .. {:.4g}", r.time.low * 1e3, r.time.high * 1e3);
  return fmt::format("  {:<18}{:<16}{:>11.4g}{:>25}{:>9}{:>10}{:>8}{:>9}{:>9}\n", r.pass, r.version,
                     r.time.median * 1e3, spread, number(r.bytes / r.time.median / 1e9, "{:.4g}"),
                     number(r.flops / r.time.median / 1e12, "{:.3g}"),
                     number(100 * r.share, "{:.0f} %"), number(r.library, "{:.2f}x"),
                     number(r.saved, "{:.2f}x"));
}

}  // namespace frcnn::apps::bench
