#pragma once

// Catch2 2 (Debian 12) and Catch2 3 (Ubuntu 24.04) under one include.
#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
namespace frcnn::test {
/// Matches a text that contains `part`.
inline auto mentions(const std::string& part) {
  return Catch::Matchers::ContainsSubstring(part);
}
}  // namespace frcnn::test
#else
#include <catch2/catch.hpp>
namespace frcnn::test {
/// Matches a text that contains `part`.
inline auto mentions(const std::string& part) {
  return Catch::Matchers::Contains(part);
}
}  // namespace frcnn::test
#endif
