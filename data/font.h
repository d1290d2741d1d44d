#pragma once

#include <array>
#include <cstdint>

namespace frcnn {

inline constexpr int kGlyphWidth = 5, kGlyphHeight = 9;
inline constexpr int kGlyphBody =
    7;  ///< rows above the base line; those below are for g, j, p, q, y
inline constexpr int kGlyphAdvance = kGlyphWidth + 1;  ///< one empty column between characters

/// Rows of a character from the top, bit 4 is the leftmost dot. Characters outside printable ASCII
/// show as a hollow box.
const std::array<uint8_t, kGlyphHeight>& glyph(char character);

}  // namespace frcnn
