#include "apps/run_session.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "apps/version.h"
#include "data/files.h"
#include "engine/host.h"
#include "engine/memory.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, kRunParts> kPartNames = {
    "data", "input", "forward", "backward", "update", "save", "validation", "stage"};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32] = "";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// Entries of earlier sessions. One that went further than `first_step` was killed after its last
/// checkpoint: what it did beyond is done again.
Json earlier_sessions(const std::filesystem::path& file, int64_t first_step,
                      const std::string& begin) {
  Json kept = Json::array();
  if (!std::filesystem::exists(file)) return kept;
  try {
    Json content = Json::parse(read_text(file));
    for (Json& entry : content.at("sessions")) {
      const bool own = entry.at("begin") == begin && entry.at("first_step") == first_step;
      if (own || entry.at("first_step").get<int64_t>() > first_step) continue;
      entry["last_step"] = std::min(entry.at("last_step").get<int64_t>(), first_step);
      kept.push_back(std::move(entry));
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", file.string(), error.what());
  }
  return kept;
}

}  // namespace

RunSession::RunSession(RunFolder folder, Device device, int64_t first_step)
    : folder_(std::move(folder)), device_(device), first_step_(first_step), date_(utc_now()) {}

RunSession::Stopwatch::~Stopwatch() {
  session.seconds_.at(static_cast<size_t>(part)) += seconds_since(begin);
}

void RunSession::move(double seconds, RunPart from, RunPart to) {
  seconds_.at(static_cast<size_t>(from)) -= seconds;
  seconds_.at(static_cast<size_t>(to)) += seconds;
}

void RunSession::predict(const Preflight& preflight) {
  const MemoryEstimate& m = preflight.memory;
  const Json json = {{"weights", m.weights},         {"gradients", m.gradients},
                     {"optimizer", m.optimizer},     {"packed", m.packed},
                     {"activations", m.activations}, {"total", m.total()},
                     {"height", preflight.height},   {"width", preflight.width}};
  predicted_ = json.dump();
}

void RunSession::end_peak(bool validation) {
  CachingAllocator& allocator = CachingAllocator::of(device_);
  const MemoryStats stats = allocator.stats();
  size_t& peak = validation ? validation_peak_ : training_peak_;
  peak = std::max(peak, stats.peak_in_use);
  reserved_peak_ = std::max(reserved_peak_, stats.peak_reserved);
  allocator.reset_peak();
}

size_t RunSession::peak() const {
  return std::max(reserved_peak_, CachingAllocator::of(device_).stats().peak_reserved);
}

void RunSession::write(int64_t step) {
  Json parts = Json::object(), surroundings = Json::object();
  for (size_t i = 0; i < kRunParts; ++i)
    if (seconds_[i] > 0) parts[kPartNames[i]] = seconds_[i];
  for (const auto& [key, text] : environment()) surroundings[key] = text;
  Json memory = {{"tensors_training", training_peak_},
                 {"tensors_validation", validation_peak_},
                 {"tensors_reserved", peak()},
                 {"process", process_peak()}};
  if (!predicted_.empty()) memory["predicted"] = Json::parse(predicted_);
  Json sessions = earlier_sessions(folder_.sessions(), first_step_, date_);
  sessions.push_back({{"begin", date_},
                      {"first_step", first_step_},
                      {"last_step", step},
                      {"images", images_},
                      {"seconds", seconds_since(begin_)},
                      {"gpu", device_.is_gpu()},
                      {"parts", std::move(parts)},
                      {"memory", std::move(memory)},
                      {"environment", std::move(surroundings)}});
  write_file(folder_.sessions(), std::string_view(Json{{"sessions", sessions}}.dump(1) + "\n"));
}

}  // namespace frcnn::apps
