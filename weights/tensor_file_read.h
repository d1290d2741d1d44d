#pragma once

#include <string>
#include <type_traits>

#include "kernels/launch/check.h"
#include "weights/tensor_file.h"

namespace frcnn {

/// An attribute of one type. Throws Error naming `file` where it is missing or of another.
template <typename T>
const T& attribute_of(const TensorGroup& group, const std::string& name, const std::string& file) {
  const auto found = group.attributes.find(name);
  check(found != group.attributes.end(), "{}: attribute '{}' is missing", file, name);
  const T* value = std::get_if<T>(&found->second);
  const char* const expected = std::is_same_v<T, int64_t>       ? "a whole number"
                               : std::is_same_v<T, double>      ? "a number"
                               : std::is_same_v<T, std::string> ? "text"
                                                                : "a list of names";
  check(value != nullptr, "{}: attribute '{}' is not {}", file, name, expected);
  return *value;
}

}  // namespace frcnn
