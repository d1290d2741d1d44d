#include "engine/autotune_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "frcnn tuning 1";
constexpr double kMicro = 1e-6;

/// A file on which processes wait for one another.
class FileLock {
 public:
  explicit FileLock(const fs::path& file)
      : descriptor_(open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    check(descriptor_ >= 0, "{}: {}", file.string(), std::strerror(errno));
    while (flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~FileLock() { close(descriptor_); }  // which gives the lock up
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

Json json_of(const TuningEntry& entry) {
  Json json = {{"version", entry.version}, {"amount", entry.amount}};
  if (!entry.like.empty()) json["like"] = entry.like;
  for (const auto& [name, seconds] : entry.seconds)
    json["microseconds"][name] =
        seconds < 0 ? Json() : Json(std::round(seconds / kMicro * 1000) / 1000);
  return json;
}

TuningEntry entry_of(const Json& json) {
  TuningEntry entry;
  entry.version = json.at("version").get<std::string>();
  entry.amount = json.at("amount").get<double>();
  entry.like = json.value("like", "");
  if (json.contains("microseconds"))
    for (const auto& [name, value] : json.at("microseconds").items())
      entry.seconds[name] = value.is_null() ? -1 : value.get<double>() * kMicro;
  return entry;
}

/// Whether everything that was measured for `other` was measured for `entry`, too.
bool knows_as_much(const TuningEntry& entry, const TuningEntry& other) {
  return std::all_of(other.seconds.begin(), other.seconds.end(),
                     [&](const auto& one) { return entry.seconds.contains(one.first); });
}

}  // namespace

TuningFile read_tuning(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  check(stream.good(), "{}: cannot be read: {}", file.string(), std::strerror(errno));
  try {
    const Json json = Json::parse(text.str());
    check(json.is_object() && json.value("format", "") == kFormat,
          "{}: is no file of choices among kernels (format \"{}\")", file.string(), kFormat);
    TuningFile content;
    content.device = json.at("device").get<std::string>();
    content.program = json.at("program").get<std::string>();
    content.measure = json.value("measure", true);
    for (const auto& [key, value] : json.at("choices").items())
      content.entries[key] = entry_of(value);
    return content;
  } catch (const nlohmann::json::exception& error) {
    fail("{}: is damaged: {}", file.string(), error.what());
  }
}

void write_tuning(const fs::path& file, const TuningFile& content) {
  Json json = {{"format", kFormat},
               {"device", content.device},
               {"program", content.program},
               {"measure", content.measure},
               {"choices", Json::object()}};
  for (const auto& [key, entry] : content.entries) json["choices"][key] = json_of(entry);
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  const fs::path temporary = file.string() + fmt::format(".tmp-{}", getpid());
  {
    std::ofstream stream(temporary, std::ios::binary);
    stream << json.dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
    stream.close();
    if (!stream.good()) {
      const int reason = errno;
      fs::remove(temporary, error);
      fail("{}: cannot be written: {}", file.string(), std::strerror(reason));
    }
  }
  fs::rename(temporary, file, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  fail("{}: cannot be written: {}", file.string(), error.message());
}

void add_to_tuning(const fs::path& file, const TuningFile& content) {
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  const FileLock lock(file.string() + ".lock");
  TuningFile merged = content;
  if (fs::exists(file, error)) {
    try {
      const TuningFile present = read_tuning(file);
      if (present.device == content.device && present.program == content.program)
        for (const auto& [key, entry] : present.entries) {
          const auto [place, fresh] = merged.entries.try_emplace(key, entry);
          if (!fresh && knows_as_much(entry, place->second)) place->second = entry;
        }
    } catch (const Error&) {  // damaged: written anew
    }
  }
  write_tuning(file, merged);
}

}  // namespace frcnn
