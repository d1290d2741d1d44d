// Files of Keras in every layout, made by real Keras (tests/golden/make_keras.py), and hostile
// ones.
#include <hdf5.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/formats.h"
#include "weights/hdf5_handle.h"
#include "weights/keras_names.h"
#include "weights/md5.h"
#include "weights/weight_file.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) {
  return test::source_dir() / "tests/golden" / name;
}

/// What opening a file and reading all of it says.
std::string refusal(const fs::path& file) {
  try {
    const auto weights = WeightFile::open(file);
    for (const WeightEntry& entry : weights->entries()) weights->read(entry);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    CHECK_THAT(error.what(), test::mentions(file.string()));
    return error.what();
  }
  return "accepted";
}

/// An HDF5 file made by a test.
struct Maker {
  explicit Maker(const fs::path& path)
      : file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose) {
    silence_hdf5();
  }
  Hdf5Handle group(const std::string& name) const {
    return {H5Gcreate2(file.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose};
  }
  void names(hid_t object, const std::string& attribute,
             const std::vector<std::string>& values) const {
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), 64);
    const hsize_t count = values.size();
    const Hdf5Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
    const Hdf5Handle made(
        H5Acreate2(object, attribute.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    std::vector<char> text(64 * values.size());
    for (size_t i = 0; i < values.size(); ++i)
      std::memcpy(text.data() + 64 * i, values[i].data(), values[i].size());
    H5Awrite(made.get(), type.get(), text.data());
  }
  Hdf5Handle dataset(hid_t place, const std::string& name, hid_t type,
                     const std::vector<hsize_t>& dims, hid_t properties = H5P_DEFAULT) const {
    const Hdf5Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
                           H5Sclose);
    return {
        H5Dcreate2(place, name.c_str(), type, space.get(), H5P_DEFAULT, properties, H5P_DEFAULT),
        H5Dclose};
  }
  Hdf5Handle file;
};

/// A Keras 2 file with the layer "a" that has the array "a/kernel:0", made by `fill(maker, group)`.
template <typename Fill>
fs::path one_layer(const fs::path& path, const Fill& fill) {
  const Maker maker(path);
  maker.names(maker.file.get(), "layer_names", {"a"});
  const Hdf5Handle layer = maker.group("a");
  maker.names(layer.get(), "weight_names", {"kernel:0"});
  fill(maker, layer.get());
  return path;
}

void write(const Hdf5Handle& dataset, const std::vector<float>& values) {
  H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
}

TEST_CASE("keras: names of all versions become one") {
  CHECK(keras_entry_name("block1_conv1", "block1_conv1_W_1:0") == "block1_conv1/kernel");
  CHECK(keras_entry_name("block1_conv1", "block1_conv1_b:0") == "block1_conv1/bias");
  CHECK(keras_entry_name("block1_conv1", "block1_conv1/kernel:0") == "block1_conv1/kernel");
  CHECK(keras_entry_name("block1_conv1", "block1_conv1_3/bias:0") == "block1_conv1/bias");
  CHECK(keras_entry_name("bn", "bn_running_std_1:0") == "bn/moving_variance");
  CHECK(keras_entry_name("lstm", "lstm/cell/kernel:0") == "lstm/cell/kernel");
  CHECK(keras_entry_name("a", "other/kernel:0") == "a/other/kernel");
  CHECK(keras_entry_name("a", "x:y") == "a/x:y");
  CHECK(keras3_array_names({Shape{3, 3, 2, 4}, Shape{4}}) ==
        std::vector<std::string>{"kernel", "bias"});
  CHECK(keras3_array_names({Shape{4}, Shape{4}, Shape{4}, Shape{4}})[3] == "moving_variance");
  CHECK(keras3_array_names({Shape{4}, Shape{5}}) == std::vector<std::string>{"0", "1"});
}

TEST_CASE("keras: every layout gives the same arrays") {
  const auto first = WeightFile::open(golden("keras2_weights.h5"));
  CHECK(first->format() == "Keras HDF5");
  CHECK(first->order() == WeightOrder::keras);
  CHECK(first->metadata().at("keras_version") == "2.15.0");
  REQUIRE(first->entries().size() == 32);
  CHECK(first->entries()[0].name == "block1_conv1/kernel");
  CHECK(first->entries()[0].path == "block1_conv1/block1_conv1/kernel:0");
  CHECK(first->entries()[31].name == "predictions/bias");
  for (const char* name :
       {"keras1_weights.h5", "keras2_model.h5", "keras2_chunked.h5", "keras3.weights.h5",
        "keras3_model.h5", "keras3_model.keras", "keras2_model.keras"}) {
    INFO(name);
    const auto file = WeightFile::open(golden(name));
    REQUIRE(file->entries().size() == first->entries().size());
    for (const WeightEntry& entry : first->entries()) {
      INFO(entry.name);
      const WeightEntry* other = file->find(entry.name);
      REQUIRE(other != nullptr);
      CHECK(other->type == StoredType::f32);
      CHECK(other->shape == entry.shape);
      const Tensor a = first->read(entry), b = file->read(*other);
      CHECK(std::memcmp(a.raw(), b.raw(), a.stored_bytes()) == 0);
    }
  }
}

TEST_CASE("keras: rows in any portion are those of the whole array") {
  for (const char* name : {"keras2_weights.h5", "keras2_chunked.h5", "keras3_model.keras"}) {
    const auto file = WeightFile::open(golden(name));
    const WeightEntry& entry = *file->find("fc1/kernel");
    CHECK(file->random_access(entry) == (std::string(name) != "keras2_chunked.h5"));
    const std::vector<float> whole = file->read(entry).to_vector<float>();
    const int64_t row = entry.shape[1];
    for (int64_t first = 0; first < entry.shape[0]; first += 5) {
      const int64_t count = std::min<int64_t>(5, entry.shape[0] - first);
      std::vector<float> part(static_cast<size_t>(count * row));
      file->read_rows(entry, first, count, part.data());
      CHECK(std::equal(part.begin(), part.end(), whole.begin() + first * row));
    }
    std::vector<float> part(100);
    CHECK_THROWS_AS(file->read_rows(entry, entry.shape[0], 1, part.data()), Error);
    CHECK_THROWS_AS(file->read_rows(entry, -1, 1, part.data()), Error);
  }
}

TEST_CASE("keras: the genuine file of Keras 2.0.4 has 135 arrays and 218,544 parameters") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const auto file = WeightFile::open(data / "keras_h5/mobilenet_2_5_224_tf_no_top.h5");
  CHECK(file->metadata().at("keras_version") == "2.0.4");
  CHECK(file->entries().size() == 135);
  int64_t numbers = 0;
  for (const WeightEntry& entry : file->entries()) {
    numbers += entry.shape.numel();
    const std::vector<float> values = file->read(entry).to_vector<float>();
    CHECK(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
  }
  CHECK(numbers == 218544);
  CHECK(file->find("conv1/kernel")->shape == Shape{3, 3, 3, 8});
  CHECK(file->find("conv_dw_1/depthwise_kernel")->shape == Shape{3, 3, 8, 1});
  CHECK(file->find("conv1_bn/moving_variance")->shape == Shape{8});
}

TEST_CASE("keras: numbers of other types are converted") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "types.h5";
  {
    const Hdf5Handle half(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    H5Tset_fields(half.get(), 15, 10, 5, 0, 10);
    H5Tset_size(half.get(), 2);
    H5Tset_ebias(half.get(), 15);
    const Maker maker(file);
    maker.names(maker.file.get(), "layer_names", {"a"});
    const Hdf5Handle layer = maker.group("a");
    maker.names(layer.get(), "weight_names", {"d", "h", "b", "i", "u", "s"});
    write(maker.dataset(layer.get(), "d", H5T_IEEE_F64LE, {3}), {1, -2, 0.5f});
    write(maker.dataset(layer.get(), "h", half.get(), {3}), {1, -2, 0.5f});
    write(maker.dataset(layer.get(), "b", H5T_IEEE_F32BE, {3}), {1, -2, 0.5f});
    write(maker.dataset(layer.get(), "i", H5T_STD_I64LE, {3}), {1, -2, 7});
    write(maker.dataset(layer.get(), "u", H5T_STD_U8LE, {3}), {1, 2, 255});
    const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    write({H5Dcreate2(layer.get(), "s", H5T_IEEE_F32LE, space.get(), H5P_DEFAULT, H5P_DEFAULT,
                      H5P_DEFAULT),
           H5Dclose},
          {5});
  }
  const auto weights = WeightFile::open(file);
  const auto values = [&](const char* name) {
    return weights->read(*weights->find(name)).to_vector<float>();
  };
  CHECK(weights->find("a/h")->type == StoredType::f16);
  for (const char* name : {"a/d", "a/h", "a/b"})
    CHECK(values(name) == std::vector<float>{1, -2, 0.5f});
  CHECK(values("a/i") == std::vector<float>{1, -2, 7});
  CHECK(values("a/u") == std::vector<float>{1, 2, 255});
  CHECK(weights->find("a/s")->shape.rank() == 0);
  CHECK(values("a/s") == std::vector<float>{5});
}

TEST_CASE("keras: links, foreign data, false types and false sizes are refused by name") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "x.h5";
  const auto says = [&](const std::string& part) {
    CHECK_THAT(refusal(file), test::mentions(part));
  };

  one_layer(file, [](const Maker&, hid_t layer) {
    H5Lcreate_soft("/b", layer, "kernel:0", H5P_DEFAULT, H5P_DEFAULT);
  });
  says("\"a/kernel:0\" is a soft link");
  one_layer(file, [](const Maker&, hid_t layer) {
    H5Lcreate_external("/etc/passwd", "/b", layer, "kernel:0", H5P_DEFAULT, H5P_DEFAULT);
  });
  says("\"a/kernel:0\" is an external or unknown link");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_external(properties.get(), "/etc/passwd", 0, 16);
    maker.dataset(layer, "kernel:0", H5T_IEEE_F32LE, {4}, properties.get());
  });
  says("lie in another file, which is not read");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t four = 4;
    const Hdf5Handle space(H5Screate_simple(1, &four, nullptr), H5Sclose);
    H5Pset_virtual(properties.get(), space.get(), "/etc/passwd", "x", space.get());
    maker.dataset(layer, "kernel:0", H5T_IEEE_F32LE, {4}, properties.get());
  });
  says("virtual array");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[] = {64, 64};
    H5Pset_chunk(properties.get(), 2, chunk);
    maker.dataset(layer, "kernel:0", H5T_IEEE_F32LE, {hsize_t{1} << 31, hsize_t{1} << 31},
                  properties.get());
  });
  says("more elements than any file holds");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[] = {1024, 1024};
    H5Pset_chunk(properties.get(), 2, chunk);
    H5Pset_deflate(properties.get(), 4);
    maker.dataset(layer, "kernel:0", H5T_IEEE_F32LE, {1 << 20, 1 << 15}, properties.get());
  });
  says("but 0 bytes of it are stored");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[] = {4};
    H5Pset_chunk(properties.get(), 1, chunk);
    H5Pset_scaleoffset(properties.get(), H5Z_SO_FLOAT_DSCALE, 2);
    write(maker.dataset(layer, "kernel:0", H5T_IEEE_F32LE, {4}, properties.get()), {1, 2, 3, 4});
  });
  says("packed with filter 6");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    maker.dataset(layer, "kernel:0", H5T_STD_REF_OBJ, {4});
  });
  says("no numbers this program reads");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    maker.dataset(layer, "kernel:0", H5T_STD_U64LE, {4});
  });
  says("no numbers this program reads");
  one_layer(file, [](const Maker& maker, hid_t layer) {
    write(maker.dataset(layer, "other", H5T_IEEE_F32LE, {1}), {1});
  });
  says("\"a/kernel:0\" is missing");
  one_layer(file, [](const Maker& maker, hid_t) { maker.group("a/kernel:0"); });
  says("\"a/kernel:0\" is not an array");
  {
    const Maker maker(file);
    const hsize_t one = 1;
    const Hdf5Handle space(H5Screate_simple(1, &one, nullptr), H5Sclose);
    const Hdf5Handle made(H5Acreate2(maker.file.get(), "layer_names", H5T_STD_I32LE, space.get(),
                                     H5P_DEFAULT, H5P_DEFAULT),
                          H5Aclose);
    const int value = 7;
    H5Awrite(made.get(), H5T_NATIVE_INT, &value);
  }
  says("attribute \"layer_names\" of \"/\" is not text");
  {
    const Maker maker(file);
    maker.names(maker.file.get(), "layer_names", {"gone"});
  }
  says("the layer \"gone\" is in the list of names, but not in the file");
  { const Maker maker(file); }
  says("an HDF5 file, but neither of Keras");
}

TEST_CASE("keras: layers that are linked into themselves are refused") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "cycle.weights.h5";
  {
    const Maker maker(file);
    const Hdf5Handle layers = maker.group("layers"), inner = maker.group("layers/a"),
                     vars = maker.group("layers/a/vars");
    write(maker.dataset(vars.get(), "0", H5T_IEEE_F32LE, {1}), {1});
    H5Lcreate_hard(maker.file.get(), "layers", inner.get(), "layers", H5P_DEFAULT, H5P_DEFAULT);
  }
  CHECK_THAT(refusal(file), test::mentions("is linked into itself"));
}

TEST_CASE("md5: the sums of RFC 1321, in any portions") {
  const auto md5 = [](const std::string& text, size_t portion) {
    Md5 sum;
    for (size_t at = 0; at < text.size(); at += portion)
      sum.add(text.data() + at, std::min(portion, text.size() - at));
    return sum.finish();
  };
  CHECK(md5("", 1) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(md5("message digest", 3) == "f96b697d7cb7938d525a2f31aaf161d0");
  const std::string digits =
      "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
  for (const size_t portion : {1, 7, 63, 64, 65, 80})
    CHECK(md5(digits, portion) == "57edf4a22be3c955ac49da2e2107b67a");
  CHECK_THAT(published_name("64373286793e3c8b2b4e3219cbf3544b"), test::mentions("with top"));
  CHECK_THAT(published_name("6d6bbae143d832006294945121d1f1fc"), test::mentions("without top"));
  CHECK(published_name("00") == "");
}

}  // namespace
}  // namespace frcnn
