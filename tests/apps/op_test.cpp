// The registry of operations: complete, documented, and what `frcnn op` reads, runs and writes.
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "apps/ops/case_file.h"
#include "apps/ops/compare.h"
#include "apps/ops/desk.h"
#include "apps/ops/extents.h"
#include "apps/ops/listing.h"
#include "apps/ops/random_case.h"
#include "kernels/boxes/nms.h"
#include "kernels/pooling/roi_align.h"
#include "tests/support/support.h"

namespace frcnn::apps::ops {
namespace {

using test::mentions;

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string without_comments(const std::string& source) {
  return std::regex_replace(source, std::regex("//[^\n]*"), "");
}

/// Headers below kernels/ that hold operations: all but launch/.
std::vector<std::filesystem::path> contract_headers() {
  std::vector<std::filesystem::path> headers;
  const auto kernels = test::source_dir() / "kernels";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kernels))
    if (entry.path().extension() == ".h" &&
        entry.path().parent_path().lexically_relative(kernels).begin()->string() != "launch")
      headers.push_back(entry.path());
  REQUIRE(headers.size() > 30);
  return headers;
}

TEST_CASE("every function of a kernel's contract belongs to an operation of the registry") {
  // Questions, parts of other operations that mean nothing by themselves, and the 8-bit layers of
  // the CPU (kernels/quant), whose references are compared in tests/kernels/reduced_layer_test.cpp.
  const std::set<std::string> parts = {"check_reduced",
                                       "quantize_map",
                                       "quantize_weights",
                                       "dequantize_weights",
                                       "max_pool_numbers",
                                       "int8_conv2d_reference",
                                       "int8_linear_reference",
                                       "cublaslt_product",
                                       "preferred_channel_block",
                                       "check_conv2d",
                                       "roi_products",
                                       "roi_products_backward",
                                       "roi_products_backward_rois"};
  std::set<std::string> registered, declared;
  for (const Operation& op : operations())
    registered.insert(op.functions.begin(), op.functions.end());
  const std::regex function("\n(void|double|int64_t|SampleCounts) (\\w+)\\(");
  for (const auto& header : contract_headers()) {
    const std::string source = without_comments(text_of(header));
    for (std::sregex_iterator match(source.begin(), source.end(), function), end; match != end;
         ++match) {
      const std::string name = (*match)[2];
      declared.insert(name);
      INFO(header.string() << " declares " << name << "(): add it to apps/ops/");
      CHECK((registered.contains(name) || parts.contains(name)));
    }
  }
  for (const std::string& name : registered) {
    INFO("an operation names " << name << "(), which no contract declares");
    CHECK(declared.contains(name));
  }
}

TEST_CASE("every array of kernel versions is a ladder of an operation") {
  std::set<std::string> known, declared;
  for (const Operation& op : operations())
    for (const Ladder& rungs : op.ladders) known.insert(rungs.array);
  const std::regex array("KernelVersion (k\\w+Versions)\\[\\]");
  for (const auto& header : contract_headers()) {
    const std::string source = without_comments(text_of(header));
    for (std::sregex_iterator match(source.begin(), source.end(), array), end; match != end;
         ++match)
      declared.insert((*match)[1]);
  }
  CHECK(known == declared);
}

TEST_CASE("operations are documented in full") {
  std::set<std::string> names;
  for (const Operation& op : operations()) {
    INFO(op.name);
    CHECK(names.insert(op.name).second);
    CHECK(!op.text.empty());
    CHECK(std::filesystem::exists(test::source_dir() / op.header));
    CHECK(!op.outputs.empty());
    CHECK(op.prepare);
    CHECK(op.random_case);
    for (const auto* docs : {&op.inputs, &op.outputs})
      for (const ArrayDoc& doc : *docs) {
        INFO(doc.name);
        CHECK(!doc.text.empty());
        CHECK(doc.extent.front() == '(');
        CHECK(doc.extent.back() == ')');
      }
    for (const ParameterDoc& doc : op.params) CHECK(!doc.text.empty());
    for (const Ladder& rungs : op.ladders)
      for (const auto& [standard, versions] :
           {std::pair(rungs.gpu_standard, &rungs.gpu), {rungs.cpu_standard, &rungs.cpu}})
        if (!standard.empty())
          CHECK(std::count_if(versions->begin(), versions->end(),
                              [&, &s = standard](const Version& v) { return v.name == s; }) == 1);
  }
}

TEST_CASE("the list of operations is JSON, and the tables of the documentation are its Markdown") {
  const auto json = nlohmann::json::parse(listing_json());
  REQUIRE(json["operations"].size() == operations().size());
  for (const auto& op : json["operations"]) {
    CHECK(op["outputs"].size() > 0);
    CHECK(op["functions"].size() > 0);
    for (const auto& input : op["inputs"])
      for (const char* key : {"name", "type", "extent", "text", "optional"})
        CHECK(input.contains(key));
  }
  CHECK(json["devices"][0]["available"] == true);
  // Renew with: scripts/kernel_tables.sh
  const std::string page = text_of(test::source_dir() / "docs/kernels/README.md");
  const std::string begin = "<!-- begin: frcnn op --list --markdown -->\n";
  const size_t from = page.find(begin), to = page.find("<!-- end: frcnn op");
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  CHECK(page.substr(from + begin.size(), to - from - begin.size()) == listing_markdown());
}

TEST_CASE("the list of operations states how many there are, in every form") {
  const Counts counts = count_operations();
  const auto json = nlohmann::json::parse(listing_json());
  // Counted again from what the list says of each operation.
  int on_gpu = 0, versions = 0, emulated = 0;
  for (const auto& op : json["operations"]) {
    if (op["devices"].size() == 1) continue;
    ++on_gpu;
    if (op["ladders"].empty()) ++versions, ++emulated;
    for (const auto& ladder : op["ladders"])
      for (const auto& version : ladder["gpu"]) {
        ++versions;
        if (version["emulated"] == true) ++emulated;
      }
  }
  CHECK(counts.operations == static_cast<int>(operations().size()));
  CHECK(counts.on_gpu == on_gpu);
  CHECK(counts.versions == versions);
  CHECK(counts.emulated == emulated);
  CHECK(json["counts"] == nlohmann::json{{"operations", counts.operations},
                                         {"gpu_operations", on_gpu},
                                         {"gpu_versions", versions},
                                         {"emulated_versions", emulated}});
  const std::string sentence = fmt::format(
      "{} operations, {} of them on a GPU, there in {} versions, of which {} run under "
      "emulation.",
      counts.operations, on_gpu, versions, emulated);
  CHECK_THAT(listing_text(), Catch::Matchers::Contains(sentence));
  CHECK_THAT(listing_markdown(), Catch::Matchers::StartsWith(sentence));
  CHECK(emulated > 100);
}

TEST_CASE("extents are read, bound and computed") {
  Letters letters = {{"groups", 3}};
  match_extent("[op] x", "(R, 4*groups)", {5, 12}, letters);
  CHECK(letters["R"] == 5);
  CHECK(side_value("2*R+groups", letters) == 13);
  match_extent("[op] offsets", "(S + 1)", {4}, letters);
  CHECK(letters["S"] == 3);
  CHECK_NOTHROW(match_extent("[op] loss", "()", {}, letters));
  CHECK_THROWS_WITH(match_extent("[op] y", "(R, 4)", {5}, letters),
                    "[op] y must have the extent (R, 4), found (5)");
  CHECK_THROWS_WITH(match_extent("[op] y", "(R, 4)", {6, 4}, letters),
                    "[op] y must have the extent (R, 4), found (6, 4): R is 5 here");
}

Case random_case(const Operation& op, uint64_t seed) {
  Random random(seed);
  return op.random_case(random);
}

TEST_CASE("cases go through HDF5 unchanged, and the same case gives the same bytes") {
  const test::TempDir dir;
  for (const Operation& op : operations())
    for (const uint64_t seed : {1, 2, 3}) {
      INFO(op.name << ", seed " << seed);
      const Case made = random_case(op, seed);
      const auto file = dir.path() / "case.h5";
      write_case(file, op, made);
      const std::string bytes = text_of(file);
      const Case back = read_case(file, op);
      CHECK(back.arrays == made.arrays);
      for (const auto& [name, value] : made.params) {
        INFO(name);
        CHECK(value_text(back.params.at(name)) == value_text(value));
      }
      write_case(file, op, made);
      CHECK(text_of(file) == bytes);
      CHECK(!std::filesystem::exists(file.string() + ".tmp"));
    }
}

TEST_CASE("running a file gives what the kernel gives") {
  const test::TempDir dir;
  const auto in = dir.path() / "case.h5";
  const Operation& op = operation("roi_align");
  for (const uint64_t seed : {11, 12, 13, 14}) {
    const Case made = random_case(op, seed);
    write_case(in, op, made);
    const Arrays results = run_case(op, read_case(in, op), {});
    const Extent map = made.arrays.at("x").extent();
    const auto value = [&](const char* name) { return made.params.at(name); };
    kernels::RoiAlignParams p;
    p.pooled_h = std::get<int64_t>(value("pooled_h"));
    p.pooled_w = std::get<int64_t>(value("pooled_w"));
    p.scale_y = std::get<double>(value("scale_y"));
    p.scale_x = std::get<double>(value("scale_x"));
    p.sampling_ratio = std::get<int64_t>(value("sampling_ratio"));
    p.aligned = std::get<bool>(value("aligned"));
    const auto x = made.arrays.at("x").as<float>(), rois = made.arrays.at("rois").as<float>(),
               dy = made.arrays.at("d_y").as<float>();
    std::vector<float> y(dy.size()), dx(x.size());
    const kernels::MapLayout layout{map[0], map[1], map[2], map[3], 1};
    const auto count = static_cast<int64_t>(rois.size() / 5);
    kernels::cpu::roi_align_forward(layout, p, count, x.data(), rois.data(), y.data());
    kernels::cpu::roi_align_backward(layout, p, count, rois.data(), dy.data(), dx.data());
    // The file's layout may be another one: sums may round differently.
    FRCNN_CHECK_SAME(results.at("y").as<float>(), y, 1e-5, 1e-5);
    FRCNN_CHECK_SAME(results.at("d_x").as<float>(), dx, 1e-5, 1e-5);
  }
}

TEST_CASE("non-maximum suppression by segments is that of each segment") {
  Case c;
  Random random(5);
  c.arrays["boxes"] = random.boxes(90, 60, 100);
  c.arrays["offsets"] = Array::of({4}, std::vector<int64_t>{0, 40, 40, 90});
  c.params["threshold"] = 0.5;
  c.params["max_keep"] = int64_t{50};
  const Arrays results = run_case(operation("nms"), c, {});
  const auto boxes = c.arrays["boxes"].as<float>();
  const auto kept = results.at("kept").as<int64_t>(), counts = results.at("counts").as<int64_t>();
  CHECK(counts[1] == 0);
  for (const auto& [segment, first, size] : {std::array{0, 0, 40}, std::array{2, 40, 50}}) {
    std::vector<int64_t> alone(50);
    const int64_t left = kernels::cpu::nms_sorted<float>(size, 0.5, 50, boxes.data() + 4 * first,
                                                         nullptr, alone.data());
    REQUIRE(counts[static_cast<size_t>(segment)] == left);
    for (int64_t i = 0; i < 50; ++i)
      CHECK(kept[static_cast<size_t>(50 * segment + i)] ==
            (i < left ? first + alone[static_cast<size_t>(i)] : -1));
  }
}

TEST_CASE("wrong cases are refused in a sentence that names the array") {
  const Operation& op = operation("roi_align");
  Case good = random_case(op, 7);
  const auto refused = [&](const Case& c, const std::string& part, Choice choice = {}) {
    CHECK_THROWS_WITH(run_case(op, c, choice), mentions(part));
  };
  Case c = good;
  c.arrays.erase("rois");
  refused(c, "[roi_align] needs the array 'rois', (R, 5) float: image number");
  c = good;
  c.arrays["rois"] = Array(Type::f32, {3, 4});
  refused(c, "[roi_align] rois must have the extent (R, 5), found (3, 4)");
  c = good;
  c.arrays["rois"] = Array(Type::i32, {3, 5});
  refused(c, "[roi_align] rois must hold floating-point numbers, found int32");
  c = good;
  c.arrays["d_y"] = Array(Type::f32, {1, 1, 1, 1, 1});
  refused(c, "[roi_align] d_y must have the extent of y");
  c = good;
  c.arrays["xx"] = c.arrays["x"];
  refused(c, "[roi_align] has no array 'xx': did you mean 'x'?");
  c = good;
  c.params["sampling_ration"] = int64_t{2};
  refused(c, "has no parameter 'sampling_ration': did you mean 'sampling_ratio'?");
  c = good;
  c.params["sampling_ratio"] = 2.5;
  refused(c, "sampling_ratio must be an integer, found a number (2.5)");
  c = good;
  c.params["layout"] = std::string("hwcn");
  refused(c, "layout must be one of nchw, nhwc, blocked8, blocked16, found 'hwcn'");
  c = good;
  c.arrays["rois"] = Array::of({1, 5}, std::vector<float>{9, 0, 0, 8, 8});
  c.arrays.erase("d_y");
  refused(c, "[roi_align] rois: row 0 names image 9");
  refused(good, "[roi_align] has one version only on cpu, found 'tabel'", {Device::cpu, "tabel"});
  CHECK_THROWS_WITH(operation("roi_alin"), mentions("did you mean 'roi_align'?"));
  CHECK_THROWS_AS(device_of("gpu"), UsageError);
  CHECK_THROWS_WITH(parse_setting(op, "aligned=maybe"),
                    "--set aligned=maybe: aligned must be true or false, found 'maybe'");
  CHECK_THROWS_WITH(parse_setting(op, "alinged=true"), mentions("did you mean 'aligned'?"));
  CHECK(std::get<std::vector<double>>(
            parse_setting(operation("grid_anchors"), "sizes=8,16.5").second) ==
        std::vector<double>{8, 16.5});
}

TEST_CASE("files that hold no case are refused by name") {
  const test::TempDir dir;
  const Operation &op = operation("relu"), &other = operation("sigmoid");
  CHECK_THROWS_WITH(read_case(dir.path() / "none.h5", op), mentions("there is no such file"));
  std::ofstream(dir.path() / "text.h5") << "not HDF5";
  CHECK_THROWS_WITH(read_case(dir.path() / "text.h5", op), mentions("is not an HDF5 file"));
  write_case(dir.path() / "relu.h5", op, random_case(op, 1));
  CHECK_THROWS_WITH(read_case(dir.path() / "relu.h5", other),
                    mentions("is a case of the operation 'relu', not of 'sigmoid'"));
  CHECK_THROWS_WITH(write_case(dir.path() / "nowhere" / "x.h5", op, {}),
                    mentions("there is no folder"));
}

TEST_CASE("a comparison sees what differs") {
  const Operation& op = operation("roi_align");
  const Case made = random_case(op, 3);
  const Arrays right = run_case(op, made, {});
  const Arrays magnitudes = magnitudes_of(op, made, right);
  const auto worst = [&](const Arrays& wrong) {
    return compare_results(op, {}, "f32", wrong, right, magnitudes).worst;
  };
  CHECK(worst(right) == 0);
  Arrays wrong = right;
  std::vector<float> y = right.at("y").as<float>();
  REQUIRE(!y.empty());
  const float before = y[0];
  y[0] = std::nextafter(before, 100.0f);
  wrong["y"].set(y);
  CHECK(worst(wrong) < 1);
  y[0] = before + 1e-3f;
  wrong["y"].set(y);
  CHECK(worst(wrong) > 1);
  y[0] = NAN;
  wrong["y"].set(y);
  CHECK(std::isinf(worst(wrong)));
  wrong["y"] = Array(Type::f32, {1});
  CHECK_THROWS_WITH(worst(wrong), mentions("y of cpu is float32 (1), expected float32"));
  // Whole numbers are compared exactly.
  const Operation& pool = operation("max_pool");
  const Case pooled = random_case(pool, 4);
  const Arrays windows = run_case(pool, pooled, {});
  Arrays shifted = windows;
  std::vector<uint8_t> window = windows.at("window").as<uint8_t>();
  REQUIRE(!window.empty());
  window[0] ^= 1;
  shifted["window"].set(window);
  CHECK(compare_results(pool, {}, "f32", shifted, windows, windows).worst > 1);
}

}  // namespace
}  // namespace frcnn::apps::ops
