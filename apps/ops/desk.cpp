#include "apps/ops/desk.h"

#include <algorithm>

#include "apps/ops/extents.h"

namespace frcnn::apps::ops {
namespace {

constexpr size_t kNoVersion = ~size_t{0};

std::string type_of_run(const Operation& op, const Case& given) {
  if (const auto found = given.params.find("type"); found != given.params.end())
    return std::get<std::string>(found->second);
  for (const ArrayDoc& doc : op.inputs)
    if (is_float(doc.type) && given.arrays.contains(doc.name))
      return given.arrays.at(doc.name).type() == Type::f64 ? "f64" : "f32";
  return "f32";
}

template <typename T>
bool is_zero(T value) {
  return cast_number<double>(value) == 0;
}

}  // namespace

Desk::Desk(const Operation& op, const Case& given, const Choice& choice)
    : op_(op),
      given_(given),
      choice_(choice),
      letters_(check_case(op, given)),
      memory_(memory_of(choice.device)) {
  type_ = type_of_run(op, given);
  op.check_version(choice);
  check(op.on_gpu || choice.device == Device::cpu, "[{}] runs on the CPU only", op.name);
}

Desk::~Desk() {
  for (void* memory : owned_) memory_.release(memory);
}

const Value& Desk::value(const std::string& name) const {
  const ParameterDoc* doc = op_.parameter(name);
  FRCNN_INVARIANT(doc != nullptr);
  const auto found = given_.params.find(name);
  return found == given_.params.end() ? doc->standard : found->second;
}
int64_t Desk::integer(const std::string& name) const {
  return std::get<int64_t>(value(name));
}
double Desk::number(const std::string& name) const {
  const Value& v = value(name);
  return std::holds_alternative<int64_t>(v) ? static_cast<double>(std::get<int64_t>(v))
                                            : std::get<double>(v);
}
bool Desk::flag(const std::string& name) const {
  return std::get<bool>(value(name));
}
const std::string& Desk::text(const std::string& name) const {
  return std::get<std::string>(value(name));
}
const std::vector<double>& Desk::list(const std::string& name) const {
  return std::get<std::vector<double>>(value(name));
}
const Array& Desk::array(const std::string& name) const {
  const auto found = given_.arrays.find(name);
  check(found != given_.arrays.end(), "[{}] needs the array '{}'", op_.name, name);
  return found->second;
}
int64_t Desk::letter(const std::string& name) const {
  const auto found = letters_.find(name);
  check(found != letters_.end(), "[{}] no array gives {}", op_.name, name);
  return found->second;
}
int64_t Desk::block(int64_t channels, const std::string& parameter) const {
  const std::string& layout = text(parameter);
  if (layout == "same") return block(channels);
  if (layout == "nhwc") return std::max<int64_t>(channels, 1);
  if (layout == "blocked8") return 8;
  return layout == "blocked16" ? 16 : 1;
}
kernels::MapLayout Desk::map(const std::string& name) const {
  const Extent& e = extent(name);
  return {e.at(0), e.at(1), e.at(2), e.at(3), block(e.at(1))};
}

size_t Desk::version_index(size_t ladder) const {
  const Ladder& rungs = op_.ladders.at(ladder);
  const bool cpu = choice_.device == Device::cpu;
  const std::vector<Version>& versions = cpu ? rungs.cpu : rungs.gpu;
  const auto index_of = [&](const std::string& name) {
    for (const Version& version : versions)
      if (version.name == name) return version.value;
    return kNoVersion;
  };
  const size_t asked = index_of(choice_.version);
  return asked != kNoVersion ? asked : index_of(cpu ? rungs.cpu_standard : rungs.gpu_standard);
}
std::string Desk::version_name(size_t ladder) const {
  if (ladder >= op_.ladders.size()) return "";
  const Ladder& rungs = op_.ladders[ladder];
  const size_t value = version_index(ladder);
  for (const Version& v : choice_.device == Device::cpu ? rungs.cpu : rungs.gpu)
    if (v.value == value) return v.name;
  return "";
}

bool Desk::asked(size_t ladder) const {
  return !choice_.version.empty() && version_name(ladder) == choice_.version;
}
void Desk::round_to_bfloat16(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (has(name)) given_.arrays[name].set(array(name).as<kernels::Bfloat16>());
}

void* Desk::fresh(size_t bytes) {
  void* memory = memory_.allocate(bytes);
  owned_.push_back(memory);
  return memory;
}
void* Desk::upload(const void* host, size_t bytes) {
  void* device = fresh(bytes);
  memory_.upload(device, host, bytes);
  return device;
}
void* Desk::scratch(size_t bytes, bool zeroed) {
  void* device = fresh(bytes);
  memory_.fill(device, zeroed ? 0x00 : 0xFF, bytes);
  return device;
}

template <typename T>
std::vector<T> Desk::in_layout(const Array& plain, const kernels::MapLayout& layout) const {
  std::vector<T> values = plain.as<T>();
  if (layout.block == 1) return values;
  std::vector<T> stored(static_cast<size_t>(layout.size()), T(0));
  size_t i = 0;
  for (int64_t n = 0; n < layout.n; ++n)
    for (int64_t c = 0; c < layout.c; ++c)
      for (int64_t h = 0; h < layout.h; ++h)
        for (int64_t w = 0; w < layout.w; ++w)
          stored[static_cast<size_t>(layout.at(n, c, h, w))] = values[i++];
  return stored;
}

template <typename T>
T* Desk::upload_repeating(const Array& array, int64_t count) {
  const std::vector<T> own = Array::repeating({array.stored()}, array).as<T>();
  T* device = static_cast<T*>(fresh(static_cast<size_t>(count) * sizeof(T)));
  for (int64_t at = 0; at < count; at += array.stored())
    memory_.upload(device + at, own.data(),
                   static_cast<size_t>(std::min(array.stored(), count - at)) * sizeof(T));
  return device;
}

template <typename T>
T* Desk::input(const std::string& name) {
  if (!has(name)) return nullptr;
  const Array& given = array(name);
  bytes_[name] = static_cast<double>(given.count()) * sizeof(T);
  if (given.stored() < given.count()) return upload_repeating<T>(given, given.count());
  return constant(given.as<T>());
}
template <typename T>
T* Desk::input_map(const std::string& name, const kernels::MapLayout& layout) {
  if (!has(name)) return nullptr;
  const Array& given = array(name);
  bytes_[name] = static_cast<double>(layout.size()) * sizeof(T);
  const bool padded = layout.c % layout.block != 0;
  if (given.stored() < given.count() && !padded)  // which number lies where does not matter
    return upload_repeating<T>(given, layout.size());
  return constant(in_layout<T>(given, layout));
}

template <typename T>
T* Desk::gradient(const std::string& output) {
  const std::string name = "d_" + output;
  if (!has(name)) return nullptr;
  const auto result = std::find_if(results_.begin(), results_.end(),
                                   [&](const Result& r) { return r.name == output; });
  FRCNN_INVARIANT(result != results_.end());
  check(extent(name) == result->extent, "[{}] {} must have the extent of {}, {}, found {}",
        op_.name, name, output, extent_text(result->extent), extent_text(extent(name)));
  return result->is_map ? input_map<T>(name, result->layout) : input<T>(name);
}

/// Numbers of a result back in row-major order.
template <typename T>
Array Desk::to_array(const std::vector<unsigned char>& bytes, const Result& result) {
  std::vector<T> stored(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(stored.data(), bytes.data(), bytes.size());
  Array array(type_of<T>(), result.extent);
  if (!result.is_map || result.layout.block == 1) {
    array.set(stored);
    return array;
  }
  const kernels::MapLayout& map = result.layout;
  std::vector<T> plain(static_cast<size_t>(array.count()));
  size_t i = 0;
  for (int64_t n = 0; n < map.n; ++n)
    for (int64_t c = 0; c < map.c; ++c)
      for (int64_t h = 0; h < map.h; ++h)
        for (int64_t w = 0; w < map.w; ++w)
          plain[i++] = stored[static_cast<size_t>(map.at(n, c, h, w))];
  const int64_t used = map.c % map.block == 0 ? map.block : map.c % map.block;
  if (map.n > 0 && map.c > 0 && is_float(array.type()))  // positions mean nothing there
    for (int64_t n = 0; n < map.n; ++n)
      for (int64_t pixel = 0; pixel < map.h * map.w; ++pixel)
        for (int64_t lane = used; lane < map.block; ++lane) {
          const int64_t at = map.block_at(n, map.blocks() - 1) + pixel * map.block + lane;
          check(is_zero(stored[static_cast<size_t>(at)]),
                "padding channels of {} are not zero (image {}, pixel {})", result.name, n, pixel);
        }
  array.set(plain);
  return array;
}

template <typename T>
T* Desk::put(const std::string& name, Extent extent, const kernels::MapLayout* layout,
             const std::vector<T>* start) {
  Result result;
  result.name = name;
  result.extent = std::move(extent);
  if (layout != nullptr) result.layout = *layout;
  result.is_map = layout != nullptr;
  const int64_t count = layout != nullptr ? layout->size() : count_of(result.extent);
  result.bytes = static_cast<size_t>(count) * sizeof(T);
  result.device =
      start != nullptr ? upload(start->data(), result.bytes) : scratch(result.bytes, false);
  result.to_array = to_array<T>;
  bytes_[name] = static_cast<double>(result.bytes);
  results_.push_back(result);
  return static_cast<T*>(result.device);
}
template <typename T>
T* Desk::output(const std::string& name, Extent extent) {
  return put<T>(name, std::move(extent), nullptr, nullptr);
}
template <typename T>
T* Desk::output_map(const std::string& name, const kernels::MapLayout& layout) {
  return put<T>(name, {layout.n, layout.c, layout.h, layout.w}, &layout, nullptr);
}
template <typename T>
T* Desk::updated(const std::string& name, const std::string& input_name) {
  const std::vector<T> start = array(input_name).as<T>();
  bytes_[input_name] = static_cast<double>(start.size() * sizeof(T));
  return put<T>(name, extent(input_name), nullptr, &start);
}
template <typename T>
T* Desk::updated_map(const std::string& name, const std::string& input_name,
                     const kernels::MapLayout& layout) {
  const std::vector<T> start = in_layout<T>(array(input_name), layout);
  bytes_[input_name] = static_cast<double>(start.size() * sizeof(T));
  return put<T>(name, extent(input_name), &layout, &start);
}

void Desk::pass(const std::string& name, std::function<void()> run, size_t ladder) {
  passes_.push_back({name, version_name(ladder), std::move(run)});
}

Arrays Desk::results() const {
  Arrays arrays;
  for (const Result& result : results_) {
    std::vector<unsigned char> bytes(result.bytes);
    memory_.download(bytes.data(), result.device, result.bytes);
    try {
      arrays[result.name] = result.to_array(bytes, result);
    } catch (const Error& error) {
      fail("[{}] {}", op_.name, error.what());
    }
  }
  if (finish_) finish_(arrays);
  return arrays;
}

Arrays run_case(const Operation& op, const Case& given, const Choice& choice) {
  Desk desk(op, given, choice);
  op.prepare(desk);
  for (const Pass& pass : desk.passes()) pass.run();
  desk.memory().wait();
  return desk.results();
}

#define FRCNN_INSTANTIATE(T)                                                      \
  template T* Desk::input<T>(const std::string&);                                 \
  template T* Desk::input_map<T>(const std::string&, const kernels::MapLayout&);  \
  template T* Desk::gradient<T>(const std::string&);                              \
  template T* Desk::output<T>(const std::string&, Extent);                        \
  template T* Desk::output_map<T>(const std::string&, const kernels::MapLayout&); \
  template T* Desk::updated<T>(const std::string&, const std::string&);           \
  template T* Desk::updated_map<T>(const std::string&, const std::string&,        \
                                   const kernels::MapLayout&)
FRCNN_INSTANTIATE(float);
FRCNN_INSTANTIATE(double);
FRCNN_INSTANTIATE(kernels::Bfloat16);
FRCNN_INSTANTIATE(int32_t);
FRCNN_INSTANTIATE(int64_t);
FRCNN_INSTANTIATE(uint8_t);
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::apps::ops
