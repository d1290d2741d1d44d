#include "weights/checkpoint.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/hdf5_handle.h"
#include "weights/weight_file.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;

Checkpoint example() {
  Checkpoint checkpoint;
  checkpoint.program_version = "0.1.0";
  checkpoint.config = "[rpn]\nbatch = 256\n# \u00fc\n";
  checkpoint.classes = {"cat", "traffic light", "\u00e9"};
  checkpoint.parameters["backbone.conv1.weight"] =
      Tensor::from(Shape{2, 3}, std::vector<float>{1, -2, 3.5f, 1e-30f, 0, -0.0f});
  // Longer than a chunk, and a last chunk that is not full.
  checkpoint.parameters["head.fc6.weight"] =
      Tensor::from(Shape{700, 1000}, test::random_vector<float>(700000, -1, 1, 3));
  checkpoint.parameters["scalar"] = Tensor::from(Shape{}, std::vector<double>{0.1});
  checkpoint.parameters["nothing"] = Tensor::empty(Shape{0, 4});
  checkpoint.buffers["backbone.bn.mean"] = Tensor::from(Shape{1}, std::vector<double>{1e300});
  checkpoint.buffers["counter"] =
      Tensor::from(Shape{2}, std::vector<int64_t>{-1, int64_t{1} << 60});
  checkpoint.optimizer["momentum.backbone.conv1.weight"] =
      Tensor::from(Shape{2, 3}, std::vector<float>{6, 5, 4, 3, 2, 1});
  checkpoint.training["step"] = int64_t{12345678901};
  checkpoint.training["loss"] = 0.1;
  checkpoint.training["note"] = std::string("made by a test");
  checkpoint.training["empty"] = std::string();
  return checkpoint;
}

std::vector<char> bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_bytes(const fs::path& file, const std::vector<char>& bytes) {
  std::ofstream(file, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// What load_checkpoint() says about a file.
std::string refusal(const fs::path& file) {
  try {
    load_checkpoint(file);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "accepted";
}

TEST_CASE("checkpoint: everything comes back") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "model.h5";
  const Checkpoint saved = example();
  save_checkpoint(file, saved);
  const Checkpoint loaded = load_checkpoint(file);
  CHECK(loaded.program_version == saved.program_version);
  CHECK(loaded.config == saved.config);
  CHECK(loaded.classes == saved.classes);
  CHECK(loaded.training == saved.training);
  CHECK(loaded.training_int("step") == 12345678901);
  CHECK(loaded.training_double("loss") == 0.1);
  CHECK(loaded.training_string("note") == "made by a test");
  CHECK_THROWS_WITH(loaded.training_int("epoch"), "the checkpoint holds no training state 'epoch'");
  CHECK_THROWS_WITH(loaded.training_int("note"),
                    "the checkpoint's training state 'note' is not a whole number");
  for (const auto& [a, b] : {std::pair(&saved.parameters, &loaded.parameters),
                             std::pair(&saved.buffers, &loaded.buffers),
                             std::pair(&saved.optimizer, &loaded.optimizer)}) {
    REQUIRE(a->size() == b->size());
    for (const auto& [name, tensor] : *a) {
      INFO(name);
      const Tensor& other = b->at(name);
      CHECK(tensor.shape() == other.shape());
      CHECK(tensor.dtype() == other.dtype());
      if (tensor.stored_bytes() > 0)
        CHECK(std::memcmp(tensor.raw(), other.raw(), tensor.stored_bytes()) == 0);
    }
  }
  CHECK(!fs::exists(dir.path() / "model.h5.tmp"));
}

TEST_CASE("checkpoint: averages come back, and are the weights that other programs import") {
  const test::TempDir dir;
  const fs::path with = dir.path() / "with.h5", without = dir.path() / "without.h5";
  Checkpoint saved = example();
  save_checkpoint(without, saved);
  const std::vector<float> averages = {9, 8, 7, 6, 5, 4};
  saved.averages["backbone.conv1.weight"] = Tensor::from(Shape{2, 3}, averages);
  save_checkpoint(with, saved);
  const Checkpoint loaded = load_checkpoint(with);
  REQUIRE(loaded.averages.size() == 1);
  CHECK(loaded.averages.at("backbone.conv1.weight").to_vector<float>() == averages);
  CHECK(loaded.parameters.at("backbone.conv1.weight").to_vector<float>()[1] == -2);
  CHECK(load_checkpoint(without).averages.empty());
  const auto imported = [](const fs::path& file, const std::string& name) {
    const auto weights = WeightFile::open(file);
    for (const WeightEntry& entry : weights->entries())
      if (entry.name == name) return weights->read(entry).to_vector<float>();
    return std::vector<float>();
  };
  CHECK(imported(with, "backbone.conv1.weight") == averages);
  CHECK(imported(without, "backbone.conv1.weight")[1] == -2);
  CHECK(imported(with, "head.fc6.weight") == imported(without, "head.fc6.weight"));
}

TEST_CASE("checkpoint: a blocked tensor is stored in logical order") {
  const test::TempDir dir;
  std::vector<float> values = test::random_vector<float>(2 * 5 * 3 * 3, -1, 1, 4);
  Checkpoint checkpoint;
  checkpoint.parameters["w"] = Tensor::from(Shape{2, 5, 3, 3}, values).to_block(8);
  save_checkpoint(dir.path() / "m.h5", checkpoint);
  const Tensor back = load_checkpoint(dir.path() / "m.h5").parameters.at("w");
  CHECK(back.channel_block() == 1);
  CHECK(back.to_vector<float>() == values);
}

TEST_CASE("checkpoint: no classes, no state") {
  const test::TempDir dir;
  Checkpoint checkpoint;
  checkpoint.parameters["w"] = Tensor::zeros(Shape{1});
  save_checkpoint(dir.path() / "m.h5", checkpoint);
  const Checkpoint loaded = load_checkpoint(dir.path() / "m.h5");
  CHECK(loaded.classes.empty());
  CHECK(loaded.config.empty());
  CHECK(loaded.training.empty());
}

TEST_CASE("checkpoint: the same content gives the same bytes") {
  const test::TempDir dir;
  save_checkpoint(dir.path() / "a.h5", example());
  // Dirties the memory that HDF5 will reuse, and lets the clock move on.
  { std::vector<std::vector<char>> dirt(100, std::vector<char>(100000, 'x')); }
  sleep(1);
  Checkpoint other = load_checkpoint(dir.path() / "a.h5");
  save_checkpoint(dir.path() / "b.h5", other);
  CHECK(bytes_of(dir.path() / "a.h5") == bytes_of(dir.path() / "b.h5"));
  other.training["step"] = int64_t{1};
  save_checkpoint(dir.path() / "b.h5", other);
  CHECK(bytes_of(dir.path() / "a.h5") != bytes_of(dir.path() / "b.h5"));
}

TEST_CASE("checkpoint: files that are none are refused in a sentence") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "x.h5";
  const std::string name = file.string();
  CHECK(refusal(file) == name + ": cannot read the checkpoint: No such file or directory");
  CHECK(refusal(dir.path()) == dir.path().string() + ": is a folder, expected a checkpoint");
  write_bytes(file, {});
  CHECK(refusal(file) == name + ": is empty, expected a checkpoint");
  write_bytes(file, std::vector<char>(3000, 'a'));
  CHECK(refusal(file) == name + ": is not an HDF5 file, so it cannot be a checkpoint");
  const Hdf5Handle other(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                         H5Fclose);
  H5Fflush(other.get(), H5F_SCOPE_GLOBAL);
  CHECK(refusal(file).find("not a checkpoint of frcnn") != std::string::npos);
}

/// Reopens a checkpoint with HDF5 to spoil something in it.
template <typename Change>
void change(const fs::path& file, const Change& body) {
  const Hdf5Handle handle(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
  REQUIRE(handle);
  body(handle.get());
}

TEST_CASE("checkpoint: another version is named with the one expected") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "m.h5";
  save_checkpoint(file, example());
  change(file, [](hid_t id) {
    const int64_t version = 7;
    const Hdf5Handle attribute(H5Aopen(id, "format_version", H5P_DEFAULT), H5Aclose);
    H5Awrite(attribute.get(), H5T_NATIVE_INT64, &version);
  });
  CHECK(refusal(file) ==
        file.string() + ": has checkpoint format version 7, this program reads version 1 to 2");
}

TEST_CASE("checkpoint: missing parts are named") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "m.h5";
  save_checkpoint(file, example());
  change(file, [](hid_t id) { H5Adelete(id, "classes"); });
  CHECK(refusal(file) == file.string() + ": attribute 'classes' is missing");
  save_checkpoint(file, example());
  change(file, [](hid_t id) { H5Ldelete(id, "parameters", H5P_DEFAULT); });
  CHECK(refusal(file) == file.string() + ": group 'parameters' is missing");
}

TEST_CASE("checkpoint: a file cut short anywhere is refused") {
  const test::TempDir dir;
  save_checkpoint(dir.path() / "m.h5", example());
  const std::vector<char> whole = bytes_of(dir.path() / "m.h5");
  for (const double share : {0.0001, 0.01, 0.3, 0.7, 0.99, 0.999999}) {
    const auto size = static_cast<size_t>(share * static_cast<double>(whole.size()));
    write_bytes(dir.path() / "cut.h5", {whole.begin(), whole.begin() + static_cast<long>(size)});
    const std::string said = refusal(dir.path() / "cut.h5");
    INFO(size << " of " << whole.size() << ": " << said);
    CHECK(said.find("cut.h5: ") != std::string::npos);
  }
}

TEST_CASE("checkpoint: one changed byte of a tensor is found by its checksum") {
  const test::TempDir dir;
  save_checkpoint(dir.path() / "m.h5", example());
  std::vector<char> bytes = bytes_of(dir.path() / "m.h5");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_bytes(dir.path() / "m.h5", bytes);
  CHECK(refusal(dir.path() / "m.h5") ==
        (dir.path() / "m.h5").string() +
            ": parameters/head.fc6.weight is damaged (its checksum is wrong or the file is cut "
            "short)");
}

TEST_CASE("checkpoint: what cannot be written leaves nothing behind") {
  const test::TempDir dir;
  const auto said = [](const fs::path& file, const Checkpoint& checkpoint) -> std::string {
    try {
      save_checkpoint(file, checkpoint);
    } catch (const Error& error) {
      return error.what();
    }
    return "written";
  };
  CHECK(said(dir.path() / "no" / "m.h5", example()).find("there is no folder") !=
        std::string::npos);
  save_checkpoint(dir.path() / "m.h5", example());
  const std::vector<char> before = bytes_of(dir.path() / "m.h5");
  Checkpoint broken = example();
  broken.parameters["a/b"] = Tensor::zeros(Shape{1});
  CHECK(said(dir.path() / "m.h5", broken).find("'a/b' cannot name a tensor") != std::string::npos);
  CHECK(bytes_of(dir.path() / "m.h5") == before);
  CHECK(!fs::exists(dir.path() / "m.h5.tmp"));
}

TEST_CASE("checkpoint: a disk that fills up while writing is an error and leaves nothing") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "m.h5";
  // In a child: the largest file size stands in for a full disk.
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{500000, 500000};
    setrlimit(RLIMIT_FSIZE, &limit);
    int status = 1;
    try {
      save_checkpoint(file, example());
    } catch (const Error& error) {
      const std::string text = error.what();
      status = text.find("cannot write the checkpoint") != std::string::npos ? 7 : 2;
    }
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(fs::is_empty(dir.path()));
}

}  // namespace
}  // namespace frcnn
