#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "apps/bench/measure.h"
#include "apps/bench/rows.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn::apps::bench {
namespace {

Row row(const std::string& version, double seconds, const std::string& arithmetic = "f32") {
  Row r;
  r.op = "conv2d";
  r.label = "conv1_2";
  r.pass = "forward";
  r.version = version;
  r.arithmetic = arithmetic;
  r.time = {seconds, 0.9 * seconds, 1.2 * seconds, 0.8 * seconds, 7};
  r.flops = 4e9;
  r.bytes = 1e8;
  return r;
}

TEST_CASE("bench: own versions stand beside the fastest library of the same arithmetic") {
  std::vector<Row> rows = {row("tiled", 2e-3), row("mma_tf32", 1e-3, "tf32"),
                           row("cudnn_f32", 4e-3), row("cublas_f32", 3e-3),
                           row("cudnn_tf32", 5e-4, "tf32")};
  rows.push_back(row("wgmma_bf16", 1e-4, "bf16"));  // no library took bf16
  compare_with_libraries(rows);
  CHECK(rows[0].library == Approx(1.5));
  CHECK(rows[0].library_name == "cublas_f32");
  CHECK(rows[1].library == Approx(0.5));
  CHECK(rows[2].library == 0);
  CHECK(rows[5].library == 0);

  Row refused = row("cublas_f32", 0);
  refused.refused = "libcublas.so was not found";
  std::vector<Row> without = {row("tiled", 2e-3), refused};
  compare_with_libraries(without);
  CHECK(without[0].library == 0);
  CHECK(table_line(refused).find("was not found") != std::string::npos);
}

TEST_CASE("bench: rows go to JSON and a later run is compared with them") {
  const test::TempDir folder;
  const std::string file = (folder.path() / "saved.json").string();
  Ceilings ceilings;
  ceilings.bytes_per_second = 1e10;
  ceilings.flops = {{"f32", 1e12}};
  std::vector<Row> rows = {row("tiled", 2e-3), row("naive", 8e-3)};
  rows[0].share =
      least_seconds(ceilings, "f32", rows[0].flops, rows[0].bytes) / rows[0].time.median;
  CHECK(rows[0].share == Approx(5));  // 10 ms of moving bytes outweigh 4 ms of computing
  write_file(file, rows_json(rows, ops::Device::cpu, ceilings));
  const auto json = nlohmann::json::parse(read_text(file));
  CHECK(json["device"] == "cpu");
  CHECK(json["rows"][0]["median_ms"].get<double>() == Approx(2));
  CHECK(json["rows"][0]["tflops"].get<double>() == Approx(2));
  CHECK(json["rows"][0]["gbs"].get<double>() == Approx(50));

  std::vector<Row> later = {row("tiled", 1e-3), row("winograd", 1e-3)};
  compare_with_saved(later, file);
  CHECK(later[0].saved == Approx(2));
  CHECK(later[1].saved == 0);

  for (const char* other : {"[1]", "{\"rows\": 3}", "not JSON", ""}) {
    write_file(file, other);
    CHECK_THROWS_WITH(compare_with_saved(later, file), Catch::Contains("is not what"));
  }
  write_file(file, "{\"rows\": [1, null, {\"op\": 3}, {\"op\": \"conv2d\"}]}");
  CHECK_NOTHROW(compare_with_saved(later, file));
}

TEST_CASE("bench: the roofline is an SVG with a point for each version") {
  Ceilings ceilings;
  ceilings.bytes_per_second = 1e11;
  ceilings.flops = {{"f32", 1e12}, {"bf16", 8e12}};
  const std::vector<Row> rows = {row("tiled", 5e-3), row("mma_bf16", 1e-3, "bf16")};
  const std::string svg = roofline_svg(rows, ceilings, "a < b & c");
  pugi::xml_document document;
  REQUIRE(document.load_string(svg.c_str()));
  CHECK(std::string(document.document_element().name()) == "svg");
  for (const char* text : {"tiled", "mma_bf16", "a &lt; b &amp; c"})
    CHECK(svg.find(text) != std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  // Nothing measured: still a picture, and still without numbers that are none.
  const std::string empty = roofline_svg({}, {}, "nothing");
  REQUIRE(document.load_string(empty.c_str()));
  CHECK(empty.find("nan") == std::string::npos);
  CHECK(empty.find("inf") == std::string::npos);
}

TEST_CASE("bench: a measurement has ordered quartiles and at least three samples") {
  ops::Memory& memory = ops::memory_of(ops::Device::cpu);
  std::atomic<int64_t> runs = 0;
  const Timing t = measure(
      memory, [&] { runs += 1; }, 1e-3);
  CHECK(t.samples >= 3);
  CHECK(runs >= t.samples);
  CHECK(t.least <= t.low);
  CHECK(t.low <= t.median);
  CHECK(t.median <= t.high);
  CHECK(t.high < 1);
}

}  // namespace
}  // namespace frcnn::apps::bench
