#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

using test::mentions;
using test::refusal;
using test::weights_golden;

StoredType type_of(const WeightFile& file, const std::string& name) {
  const WeightEntry* entry = file.find(name);
  REQUIRE(entry != nullptr);
  return entry->type;
}

TEST_CASE("tensors of every type, views and nested dictionaries are read from files of torch.save",
          "[torch]") {
  for (const char* name : {"all_types.pth", "all_types_legacy.pth", "all_types_protocol5.pth"}) {
    const auto file = WeightFile::open(weights_golden(name));
    CHECK(file->entries().size() == 20);
    CHECK(file->order() == WeightOrder::torch);
    CHECK(type_of(*file, "bf16") == StoredType::bf16);
    CHECK(type_of(*file, "bool") == StoredType::boolean);
    CHECK(file->entries()[0].name == "f64");
    CHECK(file->find("block.conv.weight") != nullptr);
    CHECK(file->find("block.list.0") != nullptr);
    test::check_golden(*file, "torch_all_types");
  }
  CHECK(WeightFile::open(weights_golden("all_types.pth"))->format() == "PyTorch (zip)");
  CHECK(WeightFile::open(weights_golden("all_types_legacy.pth"))->format() ==
        "PyTorch (before 1.6)");
}

TEST_CASE("of a training run's checkpoint only the model's tensors are listed", "[torch]") {
  const auto file = WeightFile::open(weights_golden("checkpoint.pth"));
  CHECK(file->entries().size() == 9);
  test::check_golden(*file, "torch_checkpoint");
  const auto& metadata = file->metadata();
  CHECK(metadata.at("weights_from") == "model");
  CHECK(metadata.at("left_out") == "optimizer");
  CHECK(metadata.at("epoch") == "12");
  CHECK(metadata.at("arch") == "tiny");
  CHECK(metadata.at("best") == "0.5");
  CHECK(metadata.at("done") == "false");
}

TEST_CASE("big-endian storages and deflated entries are read", "[torch]") {
  test::check_golden(*WeightFile::open(weights_golden("big_endian.pth")), "torch_big_endian");
}

TEST_CASE("a tensor with NaN and infinity is read as it is", "[torch]") {
  test::check_golden(*WeightFile::open(weights_golden("nan.pth")), "torch_nan");
}

TEST_CASE("a pickle that asks for a function is refused by name and not run", "[torch]") {
  const std::filesystem::path trace = "/tmp/frcnn_was_here";
  std::filesystem::remove(trace);
  for (const char* name : {"evil_os_system.pth", "evil_legacy.pth"}) {
    const std::string said = refusal(weights_golden(name));
    CHECK_THAT(said, mentions("\"posix.system\"") && mentions("nothing was run") &&
                         mentions("torch.save(model.state_dict()"));
  }
  CHECK_THAT(refusal(weights_golden("evil_protocol4.pth")), mentions("builtins.eval"));
  CHECK_FALSE(std::filesystem::exists(trace));
}

TEST_CASE("tensors that do not lie in their storage are refused", "[torch]") {
  CHECK(refusal(weights_golden("tensor_good.pth")).empty());
  const auto said = [](const std::string& name) {
    return refusal(weights_golden("tensor_" + name + ".pth"));
  };
  CHECK_THAT(said("huge"), mentions("more elements than any memory holds"));
  CHECK_THAT(said("huge_product"), mentions("more elements than any memory holds"));
  CHECK_THAT(said("huge_offset"), mentions("begins at number 4611686018427387904"));
  CHECK_THAT(said("offset_past_end"), mentions("reaches beyond the 16 bytes"));
  CHECK_THAT(said("stride_past_end"), mentions("reaches beyond the 16 bytes"));
  CHECK_THAT(said("negative_stride"), mentions("stride -1 is negative"));
  CHECK_THAT(said("negative_size"), mentions("size -4"));
  CHECK_THAT(said("repeated"), mentions("there are only 16 bytes"));
  CHECK_THAT(said("wrong_count"), mentions("should hold 5 numbers of 4 bytes"));
  CHECK_THAT(said("wrong_dtype"), mentions("should hold 4 numbers of 8 bytes"));
  CHECK_THAT(said("complex"), mentions("ComplexFloatStorage"));
  CHECK_THAT(said("missing_storage"), mentions("no entry \"archive/data/1\""));
}

TEST_CASE("dictionaries that contain themselves or multiply are refused", "[torch]") {
  CHECK_THAT(refusal(weights_golden("cyclic.pth")), mentions("contains itself"));
  CHECK_THAT(refusal(weights_golden("bomb.pth")), mentions("items"));
}

TEST_CASE("damage of a zip checkpoint's numbers is found by their checksum", "[torch]") {
  const test::TempDir folder;
  std::string bytes = test::file_bytes(weights_golden("tensor_good.pth"));
  const std::string one("\0\0\x80\x3f", 4);
  const size_t at = bytes.find(one);
  REQUIRE(at != std::string::npos);
  bytes[at] ^= 1;
  test::write_bytes(folder.path() / "flipped.pth", bytes);
  CHECK_THAT(refusal(folder.path() / "flipped.pth"), mentions("CRC"));
}

}  // namespace
}  // namespace frcnn
