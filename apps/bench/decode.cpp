#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/bench/commands.h"
#include "apps/bench/measure.h"
#include "apps/picture_list.h"
#include "data/files.h"
#include "data/image.h"
#include "kernels/launch/parallel.h"

namespace frcnn::apps {
namespace {

struct DecodeArguments {
  std::vector<std::string> pictures;
  double seconds = 2;
  bool json = false;
};

/// The files of pictures in memory: what is measured is decoding, not the disk.
struct Pictures {
  std::vector<std::string> names;
  std::vector<std::vector<uint8_t>> files;
  size_t bytes = 0, pixels = 0;
  nlohmann::json means = nlohmann::json::array();  ///< of the bytes of each decoded picture

  explicit Pictures(const DecodeArguments& arguments) {
    for (const auto& path : find_pictures(arguments.pictures, false, std::cin)) {
      if (has_video_extension(path)) continue;
      names.push_back(path.string());
      files.push_back(read_bytes(path));
      bytes += files.back().size();
      const Image image = decode(names.size() - 1);
      pixels += image.rgb.size() / 3;
      means.push_back(std::accumulate(image.rgb.begin(), image.rgb.end(), 0.0) /
                      static_cast<double>(image.rgb.size()));
    }
    check(!files.empty(), "bench decode: expected pictures, found none");
  }
  Image decode(size_t i) const { return decode_image(files[i], names[i]); }
};

/// Pictures per second; one thread takes whole pictures, as the loader's workers do.
bench::Timing pass_over(const Pictures& pictures, int threads, double seconds) {
  const auto count = static_cast<int64_t>(pictures.files.size());
  return bench::measure(
      ops::memory_of(ops::Device::cpu),
      [&] {
        // Parts of the list side by side.
        kernels::parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = count * begin / threads; i < count * end / threads; ++i)
            pictures.decode(static_cast<size_t>(i));
        });
      },
      seconds);
}

int bench_decode(const DecodeArguments& a) {
  const Pictures pictures(a);
  const auto count = static_cast<double>(pictures.files.size());
  nlohmann::json rows = nlohmann::json::array();
  std::vector<int> threads = {1};
  if (kernels::num_threads() > 1) threads.push_back(kernels::num_threads());
  if (!a.json)
    std::printf("%zu pictures, %.3g MB, %.3g million pixels\n%8s %14s %14s %26s\n",
                pictures.files.size(), static_cast<double>(pictures.bytes) / 1e6,
                static_cast<double>(pictures.pixels) / 1e6, "threads", "pictures/s", "Mpixels/s",
                "quartiles, pictures/s");
  for (const int n : threads) {
    const bench::Timing time = pass_over(pictures, n, a.seconds);
    rows.push_back({{"threads", n},
                    {"pictures_per_second", count / time.median},
                    {"quartiles", {count / time.high, count / time.low}}});
    if (!a.json)
      std::printf("%8d %14.4g %14.4g %13.4g .. %9.4g\n", n, count / time.median,
                  static_cast<double>(pictures.pixels) / 1e6 / time.median, count / time.high,
                  count / time.low);
  }
  if (a.json)
    std::printf("%s\n", nlohmann::json{{"pictures", pictures.files.size()},
                                       {"bytes", pictures.bytes},
                                       {"pixels", pictures.pixels},
                                       {"names", pictures.names},
                                       {"means", pictures.means},
                                       {"rows", rows}}
                            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                            .c_str());
  return kDone;
}

}  // namespace

void add_bench_decode(CLI::App& bench, Action& action) {
  auto a = std::make_shared<DecodeArguments>();
  CLI::App* decode = bench.add_subcommand(
      "decode", "decoding of pictures from memory, with one thread and with all");
  decode->add_option("PICTURES", a->pictures, "pictures, folders, or patterns in quotes")
      ->required();
  decode->add_option("--seconds", a->seconds, "measuring time of each line")
      ->check(CLI::Range(1e-4, 100.0))
      ->capture_default_str();
  decode->add_flag("--json", a->json, "print one line of JSON");
  decode->footer("Example: frcnn bench decode VOC2012/JPEGImages");
  decode->callback([&action, a] { action = [a] { return bench_decode(*a); }; });
}

}  // namespace frcnn::apps
