#include "weights/keras_names.h"

#include <algorithm>
#include <utility>

namespace frcnn {
namespace {

bool all_digits(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether `text` is `name` or `name` with a running number, "name_1".
bool is_numbered(const std::string& text, const std::string& name) {
  if (text == name) return true;
  return text.starts_with(name + "_") && all_digits(text.substr(name.size() + 1));
}

/// "kernel:0" without the number of the output that TensorFlow adds.
std::string without_output(const std::string& name) {
  const size_t colon = name.rfind(':');
  return colon != std::string::npos && all_digits(name.substr(colon + 1)) ? name.substr(0, colon)
                                                                          : name;
}

}  // namespace

std::string keras_entry_name(const std::string& layer, const std::string& array) {
  std::string rest = without_output(array);
  const size_t slash = rest.find('/');
  if (slash != std::string::npos && is_numbered(rest.substr(0, slash), layer))
    return layer + "/" + rest.substr(slash + 1);
  // Keras 1: layer, letter of the array, running number, all joined by '_'.
  constexpr std::pair<const char*, const char*> kOld[] = {{"W", "kernel"},
                                                          {"b", "bias"},
                                                          {"gamma", "gamma"},
                                                          {"beta", "beta"},
                                                          {"running_mean", "moving_mean"},
                                                          {"running_std", "moving_variance"}};
  if (rest.starts_with(layer + "_")) {
    const std::string tail = rest.substr(layer.size() + 1);
    for (const auto& [theirs, ours] : kOld)
      if (is_numbered(tail, theirs)) return layer + "/" + ours;
  }
  return layer + "/" + rest;
}

std::vector<std::string> keras3_array_names(const std::vector<Shape>& shapes) {
  const size_t count = shapes.size();
  const auto vectors = [&](size_t from) {
    return std::all_of(shapes.begin() + static_cast<std::ptrdiff_t>(from), shapes.end(),
                       [](const Shape& s) { return s.rank() == 1; });
  };
  if (count == 1 && shapes[0].rank() >= 2) return {"kernel"};
  if (count == 2 && shapes[0].rank() >= 2 && vectors(1)) return {"kernel", "bias"};
  if (count == 4 && vectors(0) &&
      std::all_of(shapes.begin(), shapes.end(), [&](const Shape& s) { return s == shapes[0]; }))
    return {"gamma", "beta", "moving_mean", "moving_variance"};
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace frcnn
