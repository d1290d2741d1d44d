#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/evaluate.h"
#include "data/image.h"

namespace frcnn {

using Colour = std::array<uint8_t, 3>;  // R, G, B

/// A colour per class, distinct for neighbours and readable on photographs.
Colour class_colour(int label);

/// Line width that suits a picture: 2 px up to a longer side of 800, growing with it.
int line_width(const Image& image);

/// Outline of `box`, drawn inwards and clipped to the picture.
void draw_box(Image& image, const Box& box, Colour colour, int width);

/// Draws `text` with its top left corner at (x, y), each dot of the 5x7 font `scale` pixels wide.
/// Letters such as g reach two dots below the seven.
/// ASCII; other characters show as a hollow box.
void draw_text(Image& image, int x, int y, std::string_view text, Colour colour, int scale = 1);

/// Width and height in pixels that draw_text() covers.
std::array<int, 2> text_size(std::string_view text, int scale = 1);

/// Box with a label on a plate of its colour, above the box or inside it, always in the picture.
void draw_labelled_box(Image& image, const Box& box, std::string_view label, Colour colour);

/// Detections (of one picture) as "class 0.87", those with the highest score on top.
void draw_detections(Image& image, const std::vector<Detection>& detections,
                     const std::vector<std::string>& class_names);

/// Ground truth as "class", difficult ones marked with '?'.
void draw_objects(Image& image, const std::vector<Object>& objects,
                  const std::vector<std::string>& class_names);

}  // namespace frcnn
