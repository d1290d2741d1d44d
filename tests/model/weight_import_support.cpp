#include "tests/model/weight_import_support.h"

#include <cstring>

#include "weights/hdf5_handle.h"

namespace frcnn::test {

void write_keras(const std::filesystem::path& path, const std::vector<KerasArray>& arrays) {
  const auto names = [](hid_t object, const char* attribute,
                        const std::vector<std::string>& texts) {
    constexpr size_t kLength = 64;
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), kLength);
    const hsize_t count = texts.size();
    const Hdf5Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
    const Hdf5Handle made(
        H5Acreate2(object, attribute, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    std::vector<char> bytes(kLength * texts.size());
    for (size_t i = 0; i < texts.size(); ++i)
      std::memcpy(bytes.data() + kLength * i, texts[i].data(), texts[i].size());
    H5Awrite(made.get(), type.get(), bytes.data());
  };
  const Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  const Hdf5Handle make_groups(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(make_groups.get(), 1);
  std::vector<std::string> layers;
  for (const KerasArray& a : arrays)
    if (layers.empty() || layers.back() != a.layer) layers.push_back(a.layer);
  names(file.get(), "layer_names", layers);
  for (const std::string& layer : layers) {
    const Hdf5Handle group(
        H5Gcreate2(file.get(), layer.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    std::vector<std::string> arrays_of_layer;
    for (const KerasArray& a : arrays) {
      if (a.layer != layer) continue;
      arrays_of_layer.push_back(layer + "/" + a.array + ":0");
      const std::vector<hsize_t> dims(a.shape.dims().begin(), a.shape.dims().end());
      const Hdf5Handle space(H5Screate_simple(a.shape.rank(), dims.data(), nullptr), H5Sclose);
      const Hdf5Handle data(H5Dcreate2(group.get(), arrays_of_layer.back().c_str(), H5T_IEEE_F32LE,
                                       space.get(), make_groups.get(), H5P_DEFAULT, H5P_DEFAULT),
                            H5Dclose);
      H5Dwrite(data.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, a.values.data());
    }
    names(group.get(), "weight_names", arrays_of_layer);
  }
}

}  // namespace frcnn::test
