#include "weights/stored_array.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr size_t kChunk = 1 << 20;  // bytes converted at a time

/// IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction.
float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = half >> 10 & 0x1Fu;
  const uint32_t fraction = half & 0x3FFu;
  if (exponent == 0) {  // zero, or a denormal number: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  // Infinity and NaN keep the largest exponent; the others move from bias 15 to bias 127.
  const uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

template <typename T>
T value_at(const uint8_t* bytes, bool swapped) {
  std::array<uint8_t, sizeof(T)> raw;
  std::memcpy(raw.data(), bytes, sizeof(T));
  if (swapped) std::reverse(raw.begin(), raw.end());
  T value;
  std::memcpy(&value, raw.data(), sizeof(T));
  return value;
}

template <typename T, typename Convert>
void convert(const uint8_t* in, bool swapped, int64_t count, float* out, Convert&& to) {
  if (swapped)
    for (int64_t i = 0; i < count; ++i)
      out[i] = to(value_at<T>(in + static_cast<size_t>(i) * sizeof(T), true));
  else
    for (int64_t i = 0; i < count; ++i)
      out[i] = to(value_at<T>(in + static_cast<size_t>(i) * sizeof(T), false));
}

/// A chain of rows that lie one behind the other, in row-major order.
bool row_major(const StoredArray& array) {
  int64_t expected = 1;
  for (int i = array.shape.rank() - 1; i >= 0; --i) {
    if (array.shape[i] != 1 && array.strides[static_cast<size_t>(i)] != expected) return false;
    expected *= array.shape[i];
  }
  return true;
}

void read_in_order(const ByteSource& source, const StoredArray& array, uint64_t begin,
                   int64_t count, float* out) {
  if (array.type == StoredType::f32 && !array.swapped) {
    source.read(begin, out, static_cast<uint64_t>(count) * sizeof(float));
    return;
  }
  const auto size = static_cast<int64_t>(size_of(array.type));
  std::vector<uint8_t> chunk(std::min(kChunk, static_cast<size_t>(count * size)));
  for (int64_t done = 0; done < count;) {
    const int64_t part = std::min(count - done, static_cast<int64_t>(chunk.size()) / size);
    source.read(begin + static_cast<uint64_t>(done * size), chunk.data(),
                static_cast<uint64_t>(part * size));
    to_float(array.type, array.swapped, chunk.data(), part, out + done);
    done += part;
  }
}

/// Rows that are not in order: what lies between their first and last element is read, then picked.
void read_scattered(const ByteSource& source, const StoredArray& array, uint64_t begin,
                    int64_t count, float* out) {
  std::vector<int64_t> sizes(array.shape.dims().begin(), array.shape.dims().end());
  sizes[0] = count;
  int64_t span = 1, elements = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    span += (sizes[i] - 1) * array.strides[i];
    elements *= sizes[i];
  }
  const auto size = static_cast<int64_t>(size_of(array.type));
  std::vector<uint8_t> bytes(static_cast<size_t>(span * size));
  source.read(begin, bytes.data(), bytes.size());

  std::vector<int64_t> at(sizes.size(), 0);
  int64_t from = 0;
  for (int64_t i = 0; i < elements; ++i) {
    to_float(array.type, array.swapped, bytes.data() + from * size, 1, out + i);
    for (size_t d = sizes.size(); d-- > 0;) {  // the next index, last dimension fastest
      from += array.strides[d];
      if (++at[d] < sizes[d]) break;
      from -= array.strides[d] * sizes[d];
      at[d] = 0;
    }
  }
}

}  // namespace

std::vector<int64_t> row_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  uint64_t stride = 1;  // wraps around for the absurd shapes that check_inside() will refuse
  for (size_t i = strides.size(); i-- > 0;) {
    strides[i] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(shape.dims()[i]);
  }
  return strides;
}

std::vector<int64_t> column_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  uint64_t stride = 1;
  for (size_t i = 0; i < strides.size(); ++i) {
    strides[i] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(shape.dims()[i]);
  }
  return strides;
}

void check_inside(const StoredArray& array, uint64_t bytes, const std::string& where) {
  const uint64_t size = size_of(array.type);
  // More elements than the source has are repetitions; a small array may be one number, expanded.
  constexpr uint64_t kMostRepeated = 1 << 20;
  uint64_t elements = 1, last = 0;
  for (const int64_t dim : array.shape.dims()) {
    check(dim >= 0, "{}: size {} in the shape {}", where, dim, array.shape.string());
    if (dim == 0) return;
  }
  const uint64_t limit = std::max(bytes / size, kMostRepeated);
  for (int i = 0; i < array.shape.rank(); ++i) {
    const auto dim = static_cast<uint64_t>(array.shape[i]);
    const int64_t stride = array.strides[static_cast<size_t>(i)];
    check(stride >= 0, "{}: stride {} is negative", where, stride);
    check(dim <= limit / elements, "{}: shape {}, but there are only {} bytes of {} ({} each)",
          where, array.shape.string(), bytes, name_of(array.type), size);
    elements *= dim;
    const auto step = static_cast<uint64_t>(stride);
    check(dim == 1 || step <= (bytes - std::min(bytes, last)) / (dim - 1),
          "{}: strides reach beyond the {} bytes of the array's data", where, bytes);
    last += dim == 1 ? 0 : step * (dim - 1);
  }
  check(array.begin <= bytes && last < (bytes - array.begin) / size,
        "{}: shape {} of {} ({} bytes each) at byte {} reaches beyond the {} bytes of its data",
        where, array.shape.string(), name_of(array.type), size, array.begin, bytes);
}

void read_rows(const ByteSource& source, const StoredArray& array, int64_t first, int64_t count,
               float* out) {
  const bool scalar = array.shape.rank() == 0;
  const int64_t rows = scalar ? 1 : array.shape[0];
  check(first >= 0 && count >= 0 && first <= rows && count <= rows - first,
        "rows {} to {} of an array of {} rows are wanted", first, first + count, rows);
  const int64_t elements = array.shape.numel();
  if (elements > 0 && count > 0) {
    const uint64_t begin = scalar ? array.begin
                                  : array.begin + static_cast<uint64_t>(first * array.strides[0]) *
                                                      static_cast<uint64_t>(size_of(array.type));
    if (row_major(array))
      read_in_order(source, array, begin, elements / rows * count, out);
    else
      read_scattered(source, array, begin, count, out);
  }
  if (first + count == rows) source.verify();
}

void StoredArrayFile::add_array(const std::string& name, StoredArray array,
                                const ByteSource& source) {
  add({name, array.type, array.shape});
  check_inside(array, source.size(), fmt::format("{}: array \"{}\"", path().string(), name));
  places_.push_back({std::move(array), &source});
}

void StoredArrayFile::read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                                float* out) const {
  const WeightEntry* own = find(entry.name);
  check(own != nullptr, "{}: there is no array \"{}\"", path().string(), entry.name);
  const Place& place = places_[static_cast<size_t>(own - entries().data())];
  try {
    frcnn::read_rows(*place.source, place.array, first, count, out);
  } catch (const Error& error) {
    fail("{}: array \"{}\": {}", path().string(), entry.name, error.what());
  }
}

void to_float(StoredType type, bool swapped, const void* values, int64_t count, float* out) {
  const auto* in = static_cast<const uint8_t*>(values);
  const auto plain = [](auto value) { return static_cast<float>(value); };
  switch (type) {
    case StoredType::f64:
      return convert<double>(in, swapped, count, out, plain);
    case StoredType::f32:
      return convert<float>(in, swapped, count, out, plain);
    case StoredType::f16:
      return convert<uint16_t>(in, swapped, count, out, half_to_float);
    case StoredType::bf16:
      return convert<uint16_t>(in, swapped, count, out, [](uint16_t bits) {
        kernels::Bfloat16 value;
        value.bits = bits;
        return static_cast<float>(value);
      });
    case StoredType::i64:
      return convert<int64_t>(in, swapped, count, out, plain);
    case StoredType::i32:
      return convert<int32_t>(in, swapped, count, out, plain);
    case StoredType::i16:
      return convert<int16_t>(in, swapped, count, out, plain);
    case StoredType::i8:
      return convert<int8_t>(in, swapped, count, out, plain);
    case StoredType::u8:
      return convert<uint8_t>(in, swapped, count, out, plain);
    case StoredType::boolean:
      return convert<uint8_t>(in, swapped, count, out,
                              [](uint8_t value) { return value ? 1.0f : 0.0f; });
  }
}

}  // namespace frcnn
