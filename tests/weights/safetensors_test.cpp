#include "weights/safetensors.h"

#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

using test::mentions;

/// A safetensors file with that header and those bytes of data.
std::string refusal(const std::string& header, size_t data_bytes, int64_t claimed = -1) {
  const test::TempDir folder;
  const auto length =
      static_cast<uint64_t>(claimed < 0 ? static_cast<int64_t>(header.size()) : claimed);
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  bytes += header + std::string(data_bytes, '\0');
  const std::filesystem::path file = folder.path() / "a.safetensors";
  test::write_bytes(file, bytes);
  return test::refusal(file);
}

std::string array(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + type + R"(","shape":[)" + shape +
         R"(],"data_offsets":[)" + offsets + "]}";
}

TEST_CASE("arrays of every type that the safetensors library wrote are read", "[safetensors]") {
  const auto file = WeightFile::open(test::weights_golden("all_types.safetensors"));
  CHECK(file->format() == "safetensors");
  CHECK(file->entries().size() == 18);
  CHECK(file->metadata().at("a") == "b");
  test::check_golden(*file, "safetensors");
}

TEST_CASE("what is saved as safetensors is read bit-equal, and the same bytes come out again",
          "[safetensors]") {
  const test::TempDir folder;
  TensorMap tensors;
  tensors["b.weight"] =
      Tensor::from(Shape{3, 1, 2}, std::vector<float>{1, -0.0f, NAN, 1e-40f, 5, 6});
  tensors["a.weight"] = Tensor::from(Shape{2}, std::vector<double>{0.5, -7});
  tensors["c"] = Tensor::from(Shape{}, std::vector<int64_t>{123});
  tensors["d"] = Tensor::from(Shape{2}, std::vector<int32_t>{-1, 4});
  tensors["e \"\u00fc\""] = Tensor::from(Shape{3}, std::vector<uint8_t>{1, 0, 255});
  tensors["none"] = Tensor::empty(Shape{0, 4});
  tensors["map"] = Tensor::from(Shape{1, 3, 2, 2}, test::random_vector<float>(12, -1, 1, 1));
  const std::filesystem::path one = folder.path() / "one.safetensors",
                              two = folder.path() / "two.safetensors";
  save_safetensors(one, tensors, {{"config", "[rpn]\nbatch = 256\n"}, {"empty", ""}});
  const std::vector<float> values = tensors["map"].to_vector<float>();
  tensors["map"] = tensors["map"].to_block(3);  // another memory format is the same content
  save_safetensors(two, tensors, {{"empty", ""}, {"config", "[rpn]\nbatch = 256\n"}});
  CHECK(test::file_bytes(one) == test::file_bytes(two));

  const auto file = WeightFile::open(one);
  CHECK(file->entries().size() == tensors.size());
  CHECK(file->metadata().size() == 2);
  CHECK(file->metadata().at("config") == "[rpn]\nbatch = 256\n");
  for (const auto& [name, tensor] : tensors) {
    const WeightEntry* entry = file->find(name);
    REQUIRE(entry != nullptr);
    CHECK(entry->shape == tensor.shape());
    FRCNN_CHECK_SAME(file->read(*entry).to_vector<float>(),
                     tensor.to(DType::f32).to_vector<float>(), 0, 0, true);
  }
  FRCNN_CHECK_SAME(file->read(*file->find("map")).to_vector<float>(), values, 0, 0);
}

TEST_CASE("a safetensors file that cannot be written leaves nothing behind", "[safetensors]") {
  const test::TempDir folder;
  const Tensor one = Tensor::from(Shape{1}, std::vector<float>{1});
  CHECK_THROWS_WITH(save_safetensors(folder.path() / "no" / "a", TensorMap{{"a", one}}),
                    mentions("cannot be written"));
  const std::filesystem::path file = folder.path() / "a";
  const std::vector<std::pair<std::string, Tensor>> twice = {{"a", one}, {"a", one}};
  CHECK_THROWS_WITH(save_safetensors(file, twice), mentions("twice"));
  CHECK_THROWS_AS(save_safetensors(file, TensorMap{{"__metadata__", one}}), Error);
  CHECK_THROWS_WITH(save_safetensors(file, TensorMap{{"\xff", one}}), mentions("UTF-8"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("headers of safetensors files that do not describe their data are refused",
          "[safetensors]") {
  const std::string good = array("a", "F32", "2", "0,8");
  CHECK(refusal("{" + good + "}", 8).empty());
  CHECK(refusal("{" + good + "}     ", 8).empty());
  CHECK(refusal("{\"__metadata__\":{\"x\":\"y\"}," + good + "}", 8).empty());
  // Numbers need not be aligned: files of the first versions of the library are not.
  CHECK(refusal("{" + array("b", "U8", "3", "0,3") + "," + array("a", "F32", "1", "3,7") + "}", 7)
            .empty());
  CHECK_THAT(refusal("{" + good + "}", 7), mentions("cut short"));
  CHECK_THAT(refusal("{" + good + "}", 9), mentions("the file at 9"));
  CHECK_THAT(refusal("{" + array("a", "F32", "2", "1,9") + "}", 9), mentions("gap"));
  CHECK_THAT(refusal("{" + good + "," + array("b", "F32", "2", "4,12") + "}", 12),
             mentions("overlaps"));
  CHECK_THAT(refusal("{" + good + "," + array("b", "F32", "1", "9,13") + "}", 13), mentions("gap"));
  CHECK_THAT(refusal("{" + good + "," + good + "}", 8), mentions("twice"));
  CHECK_THAT(refusal("{" + array("a", "F32", "2", "8,0") + "}", 8), mentions("do not lie inside"));
  CHECK_THAT(refusal("{" + array("a", "F32", "3", "0,8") + "}", 8), mentions("8 bytes"));
  CHECK_THAT(refusal("{" + array("a", "F32", "1", "0,8") + "}", 8), mentions("4 bytes"));
  CHECK_THAT(refusal("{" + array("a", "F32", "4611686018427387904", "0,8") + "}", 8),
             mentions("more elements than any memory holds"));
  CHECK_THAT(refusal("{" + array("a", "F32", "-2", "0,8") + "}", 8), mentions("wrong kind"));
  CHECK_THAT(refusal("{" + array("a", "F32", "2", "0,18446744073709551615") + "}", 8),
             mentions("do not lie inside"));
  CHECK_THAT(refusal("{" + array("a", "F32", "2", "0,1e1") + "}", 8), mentions("wrong kind"));
  CHECK_THAT(refusal("{" + array("a", "F8_E4M3", "8", "0,8") + "}", 8), mentions("F8_E4M3"));
  CHECK_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2]}})", 8), mentions("missing"));
  CHECK_THAT(refusal(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
             mentions("twice"));
  CHECK_THAT(refusal(R"({"a":{"dtype":{"x":1}}})", 0), mentions("inside the description"));
  CHECK_THAT(refusal(R"({"a":[1]})", 0), mentions("wrong kind"));
  CHECK_THAT(refusal(R"({"__metadata__":{"x":1}})", 0), mentions("wrong kind"));
  CHECK_THAT(refusal("{\"a\":", 0), mentions("not JSON"));
  CHECK_THAT(refusal("{\"a\":" + std::string(100000, '['), 0), mentions("wrong kind"));
  CHECK_FALSE(refusal("{\"\xff\xfe\":{}}", 0).empty());
}

TEST_CASE("a safetensors header of more than 100 MB is refused before it is read",
          "[safetensors]") {
  const test::TempDir folder;
  const std::filesystem::path file = folder.path() / "a.safetensors";
  test::write_bytes(file, std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10));
  std::filesystem::resize_file(file, 100'000'100);  // a hole: takes no space on the disk
  CHECK_THAT(test::refusal(file), mentions("at most 100000000"));
}

}  // namespace
}  // namespace frcnn
