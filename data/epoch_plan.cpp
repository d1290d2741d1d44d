#include "data/epoch_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "data/loader.h"
#include "kernels/launch/check.h"
#include "kernels/random/philox.h"

namespace frcnn {

std::vector<double> repeat_factors(const Dataset& dataset, double share) {
  std::vector<std::set<int>> classes(dataset.images.size());
  std::vector<int64_t> having(dataset.class_names.size(), 0);
  for (size_t i = 0; i < dataset.images.size(); ++i) {
    for (const Object& object : dataset.images[i].objects)
      if (!object.difficult && !object.crowd) classes[i].insert(object.label);
    for (const int label : classes[i]) ++having.at(static_cast<size_t>(label));
  }
  std::vector<double> factors(dataset.images.size(), 1);
  for (size_t i = 0; i < factors.size(); ++i)
    for (const int label : classes[i]) {
      const double f = static_cast<double>(having[static_cast<size_t>(label)]) /
                       static_cast<double>(factors.size());
      factors[i] = std::max(factors[i], std::sqrt(share / f));
    }
  return factors;
}

std::vector<int64_t> balanced_pictures(const std::vector<double>& factors, uint64_t seed,
                                       int64_t epoch) {
  double sum = 0;
  for (const double f : factors) sum += f;
  const kernels::RandomKey key{seed, kernels::kStreamShuffle + 2 * kernels::kStreamStride,
                               static_cast<uint64_t>(epoch)};
  // Points start, start + 1, ... on a line on which each picture has its share of the length.
  const double start = double{kernels::random_uniform(key, 0)};
  const auto count = static_cast<double>(factors.size());
  std::vector<int64_t> pictures;
  double end = 0;
  for (size_t i = 0; i < factors.size(); ++i) {
    end += factors[i] / sum * count;
    const bool last = i + 1 == factors.size();
    while (pictures.size() < factors.size() &&
           (last || start + static_cast<double>(pictures.size()) < end))
      pictures.push_back(static_cast<int64_t>(i));
  }
  return pictures;
}

std::vector<int64_t> group_by_shape(const std::vector<int64_t>& order,
                                    const std::vector<uint8_t>& tall, int64_t batch, int64_t begun,
                                    uint64_t seed, int64_t epoch) {
  const auto size = static_cast<int64_t>(order.size());
  check(batch >= 1 && begun >= 0, "[loader] expected a batch of at least 1, got {}", batch);
  begun = std::min(begun, size);
  std::vector<int64_t> out(order.begin(), order.begin() + begun);
  std::vector<std::vector<int64_t>> full;
  std::array<std::vector<int64_t>, 2> open;
  for (auto at = order.begin() + begun; at != order.end(); ++at) {
    std::vector<int64_t>& group = open[tall.at(static_cast<size_t>(*at)) ? 1 : 0];
    group.push_back(*at);
    if (static_cast<int64_t>(group.size()) < batch) continue;
    full.push_back(std::move(group));
    group.clear();
  }
  const kernels::RandomKey key{seed, kernels::kStreamShuffle + kernels::kStreamStride,
                               static_cast<uint64_t>(epoch)};
  for (size_t i = full.size(); i > 1; --i)
    std::swap(full[i - 1], full[kernels::random_below(key, i - 1, static_cast<uint32_t>(i))]);
  for (const auto& group : full) out.insert(out.end(), group.begin(), group.end());
  for (const auto& group : open) out.insert(out.end(), group.begin(), group.end());
  return out;
}

EpochPlan plan_epoch(int64_t images, const std::vector<double>& factors,
                     const std::vector<uint8_t>& tall, int64_t batch, uint64_t seed,
                     int64_t epoch) {
  EpochPlan plan;
  plan.pictures = epoch_order(images, seed, epoch);
  if (!factors.empty()) {
    const std::vector<int64_t> chosen = balanced_pictures(factors, seed, epoch);
    for (int64_t& picture : plan.pictures) picture = chosen[static_cast<size_t>(picture)];
  }
  if (!tall.empty()) {
    const int64_t over = images % batch * (epoch % batch) % batch;  // of images * epoch
    plan.pictures = group_by_shape(plan.pictures, tall, batch, (batch - over) % batch, seed, epoch);
  }
  std::vector<int64_t> seen(static_cast<size_t>(images), 0);
  for (const int64_t picture : plan.pictures)
    plan.copies.push_back(seen[static_cast<size_t>(picture)]++);
  return plan;
}

}  // namespace frcnn
