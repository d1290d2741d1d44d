#include "tests/support/support.h"

#include <fmt/core.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/random/philox.h"

namespace frcnn::test {
namespace {

template <typename T>
std::string compare(std::span<const T> actual, std::span<const T> expected, double relative,
                    double absolute, bool nan_equal) {
  if (actual.size() != expected.size())
    return fmt::format("{} values, expected {}", actual.size(), expected.size());
  double worst = 0;
  size_t worst_at = 0, bad = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (a == e || (nan_equal && std::isnan(a) && std::isnan(e))) continue;
    const double excess = std::abs(a - e) / (absolute + relative * std::abs(e));
    if (excess <= 1) continue;  // false for NaN
    ++bad;
    const double badness = std::isnan(excess) ? std::numeric_limits<double>::infinity() : excess;
    if (badness > worst) worst = badness, worst_at = i;
  }
  if (bad == 0) return "";
  return fmt::format("{} of {} differ; worst at [{}]: got {}, expected {} ({:.3g} x tolerance)",
                     bad, actual.size(), worst_at, actual[worst_at], expected[worst_at], worst);
}

template <typename T>
T poison() {
  if constexpr (std::numeric_limits<T>::has_quiet_NaN)
    return std::numeric_limits<T>::quiet_NaN();
  else
    return std::numeric_limits<T>::min() / 3;
}

hid_t native_type(float) {
  return H5T_NATIVE_FLOAT;
}
hid_t native_type(double) {
  return H5T_NATIVE_DOUBLE;
}
hid_t native_type(int64_t) {
  return H5T_NATIVE_INT64;
}

struct File {
  explicit File(const std::string& file) {
    const std::string path = (source_dir() / "tests/golden" / (file + ".h5")).string();
    id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    if (id < 0) throw std::runtime_error("cannot open golden file " + path);
  }
  ~File() { H5Fclose(id); }
  hid_t id;
};

template <typename T>
Golden<T> read_golden(const std::string& file, const std::string& dataset) {
  File f(file);
  const hid_t set = H5Dopen2(f.id, dataset.c_str(), H5P_DEFAULT);
  if (set < 0) throw std::runtime_error("no dataset " + dataset + " in golden file " + file);
  const hid_t space = H5Dget_space(set);
  std::vector<hsize_t> dims(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  Golden<T> golden;
  golden.shape.assign(dims.begin(), dims.end());
  golden.values.resize(static_cast<size_t>(H5Sget_simple_extent_npoints(space)));
  const herr_t status = golden.values.empty() ? 0
                                              : H5Dread(set, native_type(T{}), H5S_ALL, H5S_ALL,
                                                        H5P_DEFAULT, golden.values.data());
  H5Sclose(space);
  H5Dclose(set);
  if (status < 0) throw std::runtime_error("cannot read " + dataset + " of golden file " + file);
  return golden;
}

}  // namespace

std::string difference(std::span<const float> actual, std::span<const float> expected,
                       double relative, double absolute, bool nan_equal) {
  return compare(actual, expected, relative, absolute, nan_equal);
}
std::string difference(std::span<const double> actual, std::span<const double> expected,
                       double relative, double absolute, bool nan_equal) {
  return compare(actual, expected, relative, absolute, nan_equal);
}
std::string difference(std::span<const int64_t> actual, std::span<const int64_t> expected) {
  return compare(actual, expected, 0, 0, false);
}
std::string difference(std::span<const int32_t> actual, std::span<const int32_t> expected) {
  return compare(actual, expected, 0, 0, false);
}

double relative_l2(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::quiet_NaN();
  double error = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    error += d * d;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return norm == 0 ? std::sqrt(error) : std::sqrt(error / norm);
}

template <typename T>
GuardedBuffer<T>::GuardedBuffer(size_t size) : storage_(size + 2 * kGuard, poison<T>()) {}

template <typename T>
bool GuardedBuffer<T>::guards_intact() const {
  const auto untouched = [](T v) {
    return v == poison<T>() || (v != v && poison<T>() != poison<T>());
  };
  return std::all_of(storage_.begin(), storage_.begin() + kGuard, untouched) &&
         std::all_of(storage_.end() - kGuard, storage_.end(), untouched);
}

template class GuardedBuffer<float>;
template class GuardedBuffer<double>;
template class GuardedBuffer<int32_t>;
template class GuardedBuffer<int64_t>;

template <typename T>
std::vector<T> random_vector(size_t count, double low, double high, uint64_t seed) {
  std::vector<T> values(count);
  const kernels::RandomKey key{seed, kernels::kStreamTest, 0};
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(low + (high - low) * kernels::random_bits(key, i) * 0x1.0p-32);
  return values;
}
template std::vector<float> random_vector<float>(size_t, double, double, uint64_t);
template std::vector<double> random_vector<double>(size_t, double, double, uint64_t);

Golden<float> golden_f32(const std::string& file, const std::string& dataset) {
  return read_golden<float>(file, dataset);
}
Golden<double> golden_f64(const std::string& file, const std::string& dataset) {
  return read_golden<double>(file, dataset);
}
Golden<int64_t> golden_i64(const std::string& file, const std::string& dataset) {
  return read_golden<int64_t>(file, dataset);
}

double golden_attribute(const std::string& file, const std::string& object,
                        const std::string& attribute) {
  File f(file);
  const hid_t id =
      H5Aopen_by_name(f.id, object.c_str(), attribute.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  if (id < 0) throw std::runtime_error("no attribute " + attribute + " of " + object);
  double value = std::numeric_limits<double>::quiet_NaN();
  H5Aread(id, H5T_NATIVE_DOUBLE, &value);
  H5Aclose(id);
  return value;
}

std::vector<std::string> golden_members(const std::string& file, const std::string& group) {
  File f(file);
  const hid_t id = H5Gopen2(f.id, group.c_str(), H5P_DEFAULT);
  if (id < 0) throw std::runtime_error("no group " + group + " in golden file " + file);
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names);
  H5Gclose(id);
  return names;
}

std::filesystem::path source_dir() {
  // A test program may have been built on another machine (scripts/gpu_check.sh).
  if (const char* named = std::getenv("FRCNN_TEST_SOURCE")) return named;
  return FRCNN_SOURCE_DIR;  // not __FILE__: a compiler cache may make that relative
}

std::optional<std::filesystem::path> real_data() {
  const char* named = std::getenv("FRCNN_TEST_DATA");
  const std::filesystem::path path = named ? named : source_dir() / ".." / "shared" / "data";
  if (std::filesystem::is_directory(path)) return std::filesystem::canonical(path);
  const char* ci = std::getenv("CI");
  if (ci && std::string(ci) == "true")
    throw std::runtime_error("the real test data must be present in CI; not found: " +
                             path.string());
  return std::nullopt;
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "frcnn-test-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary folder");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace frcnn::test
