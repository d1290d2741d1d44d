#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace frcnn {

/// Random changes of training pictures; the fields mean what AugmentConfig's do (model/config.h).
/// The defaults change nothing.
struct AugmentSettings {
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
  double crop = 0;
  double crop_min_area = 0.3;
  std::vector<double> crop_min_iou = {0.1, 0.3, 0.5, 0.7, 0.9};
  double rotate = 0;
  double mosaic = 0;

  bool colours() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }
};

/// A picture with what is on it. Boxes are in its pixels.
struct LabelledPicture {
  Image image;
  std::vector<Object> objects;
};

/// Names the random numbers of one picture in one epoch: what is drawn depends on nothing else, so
/// that a resumed run repeats it.
struct AugmentKey {
  uint64_t seed = 1;
  int64_t epoch = 0;
  int64_t index = 0;  ///< of the picture; a second copy of it in one epoch has another
};

// The single changes.

/// Multiplies all values by `brightness`; moves them away from the picture's mean gray by
/// `contrast`, and from each pixel's own gray by `saturation` (factors, 1 changes nothing); then
/// turns the hue by `hue` turns. Values are rounded once, at the end.
Image change_colours(const Image& image, double brightness, double contrast, double saturation,
                     double hue);

/// Whole pixels [x, x + width) x [y, y + height).
struct Window {
  int x = 0, y = 0, width = 0, height = 0;
};
/// The part of a picture. Objects whose centres lie in the window stay, clipped to it and then
/// marked as truncated where something was cut off; the others are left out.
LabelledPicture crop(const LabelledPicture& picture, const Window& window);

/// Turns clockwise by 90, 180 or 270 degrees (`turns` 1 to 3).
LabelledPicture rotate(const LabelledPicture& picture, int turns);

/// Four pictures around the point (x, y) of a picture of the first one's size: each fills its
/// quadrant (top left, top right, bottom left, bottom right), scaled by the least factor that does,
/// its corner at the point; what does not fit is cropped.
LabelledPicture mosaic(const std::array<const LabelledPicture*, 4>& pictures, int x, int y);

// What is drawn for a picture.

/// Whether it becomes a mosaic.
bool draws_mosaic(const AugmentSettings& settings, const AugmentKey& key);
/// The three other pictures of its mosaic, among `images`.
std::array<int64_t, 3> mosaic_partners(const AugmentKey& key, int64_t images);
/// Where the four meet: 0.3 to 0.7 of width and height.
std::array<int, 2> mosaic_point(const AugmentKey& key, int width, int height);

/// The window of a random crop after Liu et al. (SSD, ECCV 2016, section 2.2): of random area (at
/// least crop_min_area of the picture) and shape (1:2 to 2:1), such that at least one object has
/// its centre inside and an IoU with the window of at least one drawn from crop_min_iou. The whole
/// picture where the picture is not cropped, or 50 tries found no such window; any window where
/// there are no objects.
Window draw_window(const AugmentSettings& settings, const AugmentKey& key,
                   const LabelledPicture& picture);

/// Rotation, crop and colours, in this order.
LabelledPicture augment(LabelledPicture picture, const AugmentSettings& settings,
                        const AugmentKey& key);

}  // namespace frcnn
