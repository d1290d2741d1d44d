#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "apps/ops/desk.h"
#include "model/config.h"

namespace frcnn::apps::bench {

/// Seconds of one run: the median of several samples, their quartiles and the shortest.
struct Timing {
  double median = 0, low = 0, high = 0, least = 0;
  int samples = 0;
};

/// Warms up, then takes samples for about `budget` seconds, at least three. A sample is as many
/// runs as it takes to be long beside the clock; on a GPU they are queued without a wait in
/// between.
Timing measure(ops::Memory& memory, const std::function<void()>& run, double budget);

/// What a device can do at most, measured.
struct Ceilings {
  double bytes_per_second = 0;          ///< of a large copy, reading and writing counted
  std::map<std::string, double> flops;  ///< by arithmetic: "f32", "tf32", "bf16"
  std::string how;                      ///< what was measured
};
/// Copies, chains of multiply-adds in registers and large matrix products by the libraries that are
/// there; the best counts. Zeros under emulation, where no time means anything.
Ceilings measure_ceilings(ops::Device device);

/// "f32", "tf32" or "bf16": what a version multiplies, told from its name and the type of the run.
std::string arithmetic_of(const std::string& version, const std::string& type);

/// The shortest time that the ceilings allow; 0 where they are unknown.
double least_seconds(const Ceilings& ceilings, const std::string& arithmetic, double flops,
                     double bytes);

/// The memory layout of maps that convolutions like best on a device.
std::string natural_layout(ops::Device device);

/// Makes the network's input numbers of about -1 to 1. Random weights expect that: with pixels of
/// up to 255 the RPN's deltas are so large that nearly all proposals are the whole picture, and the
/// head gets a tenth of the RoIs that it gets in a trained detector.
void use_small_pixels(PreprocessConfig& preprocess);

/// R, G, B bytes of random grain: the work of a network does not depend on what the picture shows.
std::vector<uint8_t> random_picture(int height, int width);

double in_mib(size_t bytes);

/// Name of the processor or GPU, for the heads of tables.
std::string device_text(ops::Device device);

}  // namespace frcnn::apps::bench
