// ONNX files: what is read, and that damaged or hostile ones are refused.
#include <fstream>

#include "kernels/launch/check.h"
#include "tests/support/support.h"
#include "weights/formats.h"
#include "weights/onnx/onnx_graph.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

namespace fs = std::filesystem;

std::string golden_bytes(const std::string& name) {
  const std::vector<int64_t> bytes = golden_i64("onnx", name + "/model").values;
  return {bytes.begin(), bytes.end()};
}

fs::path written(const TempDir& dir, const std::string& name, const std::string& bytes) {
  const fs::path file = dir.path() / name;
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

// Protocol buffers by hand (protobuf.dev, "Encoding"), to make files that no exporter writes.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128u);
  return out + static_cast<char>(value);
}
std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string text(int field, const std::string& bytes) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}

/// TensorProto: dims 1, data_type 2, int32_data 5, name 8, raw_data 9, double_data 10,
/// external_data 13, data_location 14.
std::string array(const std::vector<int64_t>& dims, int type, const std::string& rest) {
  std::string out;
  for (const int64_t size : dims) out += number(1, static_cast<uint64_t>(size));
  return out + number(2, static_cast<uint64_t>(type)) + text(8, "w") + rest;
}
/// ModelProto: ir_version 1, opset_import 8 (version 2), graph 7 (initializer 5).
std::string model_of(const std::string& initialiser) {
  return number(1, 8) + text(8, number(2, 17)) + text(7, text(5, initialiser));
}
std::string external(const std::string& location, const std::string& rest = "") {
  return number(14, 1) + text(13, text(1, "location") + text(2, location)) + rest;
}
std::string entry(const std::string& key, const std::string& value) {
  return text(13, text(1, key) + text(2, value));
}

/// What reading says: of the graph, and of the same file as weights.
std::string refusal(const fs::path& file) {
  std::string said;
  try {
    read_onnx(file);
    said = "accepted";
  } catch (const Error& error) {
    said = error.what();
  }
  try {
    const auto weights = open_onnx_weights(file);
    for (const WeightEntry& e : weights->entries()) weights->read(e);
    CHECK(said == "accepted");
  } catch (const Error& error) {
    CHECK(said == error.what());
  }
  return said;
}

constexpr int kFloat = 1, kHalf = 10, kDouble = 11, kBrain = 16, kString = 8, kUint32 = 12;

}  // namespace

TEST_CASE("A2 onnx: a graph's nodes, attributes, inputs and opset") {
  const OnnxGraph graph = parse_onnx(golden_bytes("nodes/conv_same_upper"), "net.onnx");
  CHECK(graph.opset == 17);
  CHECK(graph.producer == "make_onnx");
  REQUIRE(graph.nodes.size() == 1);
  const OnnxNode& node = graph.nodes[0];
  CHECK(node.op_type == "Conv");
  CHECK(node.inputs == std::vector<std::string>{"x", "w", "b"});
  CHECK(node.text("auto_pad", "") == "SAME_UPPER");
  CHECK(node.integers("strides") == std::vector<int64_t>{2, 3});
  CHECK(node.integer("group", 7) == 7);
  CHECK_THROWS_WITH(node.integer("strides", 1), mentions("strides is of an unexpected type"));
  CHECK(graph.initialisers.at("w").shape() == Shape{6, 4, 3, 3});
  REQUIRE(graph.inputs.size() == 1);  // weights are no inputs
  CHECK(graph.inputs[0].dims == std::vector<int64_t>{-1, 4, -1, -1});
}

TEST_CASE("onnx: initialisers as a file of weights, rows in parts") {
  const TempDir dir;
  const fs::path file = written(dir, "net.onnx", golden_bytes("exported/residual_script_norm"));
  const auto weights = WeightFile::open(file);
  CHECK(weights->format() == "ONNX");
  CHECK(weights->metadata().at("producer") == "pytorch");
  const WeightEntry* kernel = weights->find("a.weight");
  REQUIRE(kernel != nullptr);
  CHECK(kernel->shape == Shape{8, 3, 3, 3});
  const std::vector<float> whole = weights->read(*kernel).to_vector<float>();
  std::vector<float> rows(2 * 27);
  weights->read_rows(*kernel, 5, 2, rows.data());
  CHECK(rows == std::vector<float>(whole.begin() + 5 * 27, whole.begin() + 7 * 27));
  CHECK_THROWS_WITH(weights->read_rows(*kernel, 7, 2, rows.data()), mentions("has 8 rows"));
}

TEST_CASE("onnx: every way to store numbers") {
  const TempDir dir;
  const auto values = [&](const std::string& initialiser) {
    const fs::path file = written(dir, "a.onnx", model_of(initialiser));
    const auto weights = open_onnx_weights(file);
    return weights->read(weights->entries().at(0)).to_vector<float>();
  };
  const std::vector<float> one_and_half = {1, -0.5f};
  CHECK(values(array({2}, kFloat, text(9, {"\0\0\x80\x3f\0\0\0\xbf", 8}))) == one_and_half);
  CHECK(values(array({2}, kHalf, text(9, {"\0\x3c\0\xb8", 4}))) == one_and_half);
  CHECK(values(array({2}, kBrain, text(9, {"\x80\x3f\0\xbf", 4}))) == one_and_half);
  // 16-bit floats also as a list of integers, packed: 0x3c00 and 0xb800.
  CHECK(values(array({2}, kHalf, text(5, varint(0x3c00) + varint(0xb800)))) == one_and_half);
  CHECK(values(array({1}, kHalf, text(9, {"\x01\0", 2}))) == std::vector<float>{0x1p-24f});
  CHECK(values(array({1}, kDouble, text(10, {"\0\0\0\0\0\0\xe0\xbf", 8}))) ==
        std::vector<float>{-0.5f});
  CHECK(values(array({2, 0}, kFloat, "")).empty());
}

TEST_CASE("onnx: sizes that do not fit, wrong types and sparse weights are refused") {
  const TempDir dir;
  const auto said = [&](const std::string& bytes) {
    return refusal(written(dir, "a.onnx", bytes));
  };
  const std::string four(4, '\0');
  CHECK_THAT(said(model_of(array({2}, kFloat, text(9, four)))),
             mentions("a.onnx: array \"w\" of shape (2) needs 8 bytes, the file has 4"));
  CHECK_THAT(said(model_of(array({2}, kDouble, text(10, std::string(8, '\0'))))),
             mentions("needs 2 numbers, the file has 1"));
  CHECK_THAT(said(model_of(array({int64_t{1} << 62}, kFloat, text(9, four)))),
             mentions("more elements than any memory holds"));
  CHECK_THAT(said(model_of(array({int64_t{1} << 32, int64_t{1} << 32}, kFloat, text(9, four)))),
             mentions("more elements than any memory holds"));
  CHECK_THAT(said(model_of(array({-1}, kFloat, text(9, four)))), mentions("has the size -1"));
  CHECK_THAT(said(model_of(array(std::vector<int64_t>(9, 1), kFloat, text(9, four)))),
             mentions("has 9 dimensions"));
  CHECK_THAT(said(model_of(array({1}, kString, text(9, four)))), mentions("type STRING"));
  CHECK_THAT(said(model_of(array({1}, kUint32, text(9, four)))), mentions("type UINT32"));
  CHECK_THAT(said(model_of(array({1}, 99, text(9, four)))), mentions("type number 99"));
  const std::string twice = text(5, array({1}, kFloat, text(9, four)));
  CHECK_THAT(said(number(1, 8) + text(8, number(2, 17)) + text(7, twice + twice)),
             mentions("is there twice"));
  const std::string sparse = text(15, text(1, array({1}, kFloat, text(9, four))));
  CHECK_THAT(said(number(1, 8) + text(8, number(2, 17)) + text(7, sparse)),
             mentions("sparse weights"));
}

TEST_CASE("onnx: weights beside the file are read; paths that lead elsewhere are refused") {
  const TempDir dir;
  const std::string data = {"\0\0\0\0\0\0\x80\x3f\0\0\0\xbf", 12};
  written(dir, "net.onnx.data", data);
  const auto said = [&](const std::string& rest) {
    return refusal(written(dir, "net.onnx", model_of(array({2}, kFloat, rest))));
  };
  CHECK(said(external("net.onnx.data", entry("offset", "4") + entry("length", "8"))) == "accepted");
  const OnnxGraph graph = read_onnx(dir.path() / "net.onnx");
  CHECK(graph.initialisers.at("w").to_vector<float>() == std::vector<float>{1, -0.5f});

  CHECK_THAT(said(external("net.onnx.data", entry("offset", "5"))), mentions("which has 12"));
  CHECK_THAT(said(external("net.onnx.data", entry("offset", "18446744073709551615"))),
             mentions("which has 12"));
  CHECK_THAT(said(external("net.onnx.data", entry("offset", "-1"))), mentions("expected a number"));
  CHECK_THAT(said(external("net.onnx.data", entry("length", "12"))), mentions("the file says 12"));
  CHECK_THAT(said(external("absent")), mentions("which is missing"));
  for (const char* path : {"../net.onnx.data", "/etc/passwd", "a/b", "..", ".", "", "a\\b"})
    CHECK_THAT(said(external(path)), mentions("only files in the folder of the ONNX file"));
  fs::create_symlink("/etc/passwd", dir.path() / "link");
  CHECK_THAT(said(external("link")), mentions("not a plain file"));
  fs::create_directory(dir.path() / "folder");
  CHECK_THAT(said(external("folder")), mentions("not a plain file"));
  CHECK_THROWS_WITH(parse_onnx(model_of(array({2}, kFloat, external("net.onnx.data"))), "memory"),
                    mentions("cannot be read here"));
}

TEST_CASE("onnx: files that are none, cut short or nested without end") {
  const TempDir dir;
  const auto said = [&](const std::string& bytes) {
    return refusal(written(dir, "a.onnx", bytes));
  };
  CHECK_THAT(said("GIF89a"), mentions("cut short, damaged or not an ONNX file"));
  CHECK_THAT(said(""), mentions("holds no graph"));
  CHECK_THAT(said(number(1, 8)), mentions("holds no graph"));
  CHECK_THROWS_WITH(read_onnx(dir.path() / "absent.onnx"), mentions("cannot be read"));
  CHECK_THROWS_WITH(parse_onnx(number(1, 8) + text(7, ""), "a"), mentions("opset_import"));
  // GraphProto: node 1; NodeProto: attribute 5; AttributeProto: g 6.
  std::string graph;
  for (int i = 0; i < 200; ++i) graph = text(1, text(5, text(6, graph)));
  CHECK_THAT(said(number(1, 8) + text(7, graph)), mentions("cut short, damaged"));
}

TEST_CASE("A22 onnx: no prefix and no flipped bit crashes the reader") {
  const std::string good = golden_bytes("nodes/squeeze_excite");
  REQUIRE_FALSE(parse_onnx(good, "good").nodes.empty());
  int accepted = 0;
  const auto try_out = [&](const std::string& bytes) {
    try {
      parse_onnx(bytes, "damaged");
      ++accepted;
    } catch (const Error&) {
    }
  };
  for (size_t length = 0; length < good.size(); ++length) try_out(good.substr(0, length));
  CHECK(accepted < 10);  // a prefix may end between two fields: the opset stands last
  for (size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      try_out(bytes);
    }
}
