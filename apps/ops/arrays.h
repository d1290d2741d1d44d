#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "kernels/launch/bfloat16.h"

namespace frcnn::apps::ops {

enum class Type : uint8_t { f32, f64, i32, i64, u8 };
const char* type_name(Type type);
size_t size_of(Type type);
constexpr bool is_float(Type type) {
  return type == Type::f32 || type == Type::f64;
}

/// Bfloat16 numbers are kept as f32 outside of device memory.
template <typename T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, kernels::Bfloat16>) return Type::f32;
  if constexpr (std::is_same_v<T, double>) return Type::f64;
  if constexpr (std::is_same_v<T, int32_t>) return Type::i32;
  if constexpr (std::is_same_v<T, int64_t>) return Type::i64;
  if constexpr (std::is_same_v<T, uint8_t>) return Type::u8;
}

using Extent = std::vector<int64_t>;
/// "(2, 3)"; "()" for a single number.
std::string extent_text(const Extent& extent);
int64_t count_of(const Extent& extent);

/// An array in host memory, in row-major order.
class Array {
 public:
  Array() = default;
  /// Zeros.
  Array(Type type, Extent extent)
      : type_(type),
        extent_(std::move(extent)),
        bytes_(static_cast<size_t>(count_of(extent_)) * size_of(type)) {}
  template <typename T>
  static Array of(Extent extent, const std::vector<T>& values) {
    Array array(type_of<T>(), std::move(extent));
    array.set(values);
    return array;
  }

  /// An array of any extent that repeats the numbers of `pattern`: the large inputs of benchmarks
  /// without their memory.
  static Array repeating(Extent extent, const Array& pattern) {
    Array array = pattern;
    array.extent_ = std::move(extent);
    return array;
  }

  Type type() const { return type_; }
  const Extent& extent() const { return extent_; }
  int64_t count() const { return count_of(extent_); }
  /// Numbers that are stored: fewer than count() when they repeat.
  int64_t stored() const { return static_cast<int64_t>(bytes_.size() / size_of(type_)); }
  unsigned char* raw() { return bytes_.data(); }
  const unsigned char* raw() const { return bytes_.data(); }
  size_t bytes() const { return bytes_.size(); }
  bool operator==(const Array&) const = default;  ///< bit by bit

  /// All numbers as T.
  template <typename T>
  std::vector<T> as() const;
  /// Replaces all numbers; as many as there are.
  template <typename T>
  void set(const std::vector<T>& values);

 private:
  Type type_ = Type::f32;
  Extent extent_;
  std::vector<unsigned char> bytes_;
};

/// Calls visit(S{}) with the type of stored numbers.
template <typename Visit>
void with_stored(Type type, const Visit& visit) {
  switch (type) {
    case Type::f32:
      return visit(float{});
    case Type::f64:
      return visit(double{});
    case Type::i32:
      return visit(int32_t{});
    case Type::i64:
      return visit(int64_t{});
    case Type::u8:
      return visit(uint8_t{});
  }
}

/// static_cast, through float where either side is Bfloat16.
template <typename To, typename From>
To cast_number(From value) {
  using kernels::Bfloat16;
  if constexpr (std::is_same_v<To, Bfloat16> && !std::is_same_v<From, Bfloat16>)
    return To(static_cast<float>(value));
  else if constexpr (std::is_same_v<From, Bfloat16> && !std::is_same_v<To, Bfloat16>)
    return static_cast<To>(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

template <typename T>
std::vector<T> Array::as() const {
  std::vector<T> values(static_cast<size_t>(count()));
  const auto own = std::min(values.size(), static_cast<size_t>(stored()));
  with_stored(type_, [&](auto zero) {
    using S = decltype(zero);
    for (size_t i = 0; i < own; ++i) {
      S number;
      std::memcpy(&number, bytes_.data() + i * sizeof(S), sizeof(S));
      values[i] = cast_number<T>(number);
    }
  });
  for (size_t i = own; i < values.size(); ++i) values[i] = values[i - own];
  return values;
}

template <typename T>
void Array::set(const std::vector<T>& values) {
  with_stored(type_, [&](auto zero) {
    using S = decltype(zero);
    bytes_.resize(values.size() * sizeof(S));
    for (size_t i = 0; i < values.size(); ++i) {
      const S number = cast_number<S>(values[i]);
      std::memcpy(bytes_.data() + i * sizeof(S), &number, sizeof(S));
    }
  });
}

using Arrays = std::map<std::string, Array>;

/// A parameter's value.
using Value = std::variant<int64_t, double, bool, std::string, std::vector<double>>;
using Values = std::map<std::string, Value>;
std::string value_text(const Value& value);

/// What an operation is applied to: inputs by name, gradients of outputs as "d_<output>", and the
/// parameters that are not at their defaults.
struct Case {
  Arrays arrays;
  Values params;
};

/// The candidate that is written most like `name`, or "" when none is close.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace frcnn::apps::ops
