// The log of a run: CSV, JSON lines and TensorBoard's event files.
#include "apps/training_log.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/event_file.h"
#include "data/files.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;

namespace {

LogRow row_of(int64_t step, double loss, size_t stage = 1) {
  LogRow row;
  row.step = step;
  row.epoch = static_cast<double>(step);
  row.losses.total = loss;
  row.learning_rates = {{"all", 0.01}};
  row.stage = stage;
  return row;
}

template <typename T>
T take(const std::string& bytes, size_t& at) {
  REQUIRE(at + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}

uint32_t masked(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

/// The messages of a file of TFRecords, whose checksums are checked.
std::vector<std::string> records(const std::filesystem::path& file) {
  const std::string bytes = read_text(file);
  std::vector<std::string> list;
  for (size_t at = 0; at < bytes.size();) {
    const std::string length = bytes.substr(at, 8);
    const auto size = take<uint64_t>(bytes, at);
    CHECK(take<uint32_t>(bytes, at) == masked(length));
    list.push_back(bytes.substr(at, size));
    at += size;
    CHECK(take<uint32_t>(bytes, at) == masked(list.back()));
  }
  return list;
}

}  // namespace

TEST_CASE("a resumed log has no row twice and no torn row") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  {
    TrainingLog log(folder, 0, {"all"});
    for (int step = 2; step <= 8; step += 2) log.write(row_of(step, step));
  }
  std::ofstream(folder.log(), std::ios::app) << "10,1.5,0.3";  // killed while writing
  std::ofstream(folder.json_lines(), std::ios::app) << "{\"step\": 10, \"ep";
  {
    TrainingLog log(folder, 6, {"all"});
    log.write(row_of(8, 80, 2));
  }
  const LogTable table = read_log(folder.log());
  REQUIRE(table.find("step"));
  CHECK(*table.find("step") == std::vector<double>{2, 4, 6, 8});
  CHECK(*table.find("loss") == std::vector<double>{2, 4, 6, 80});
  CHECK(*table.find("lr_all") == std::vector<double>(4, 0.01));
  CHECK(*table.find("stage") == std::vector<double>{1, 1, 1, 2});
  // The JSON lines say the same under the same names.
  std::stringstream lines(read_text(folder.json_lines()));
  size_t rows = 0;
  for (std::string line; std::getline(lines, line); ++rows) {
    const auto json = nlohmann::json::parse(line);
    REQUIRE(json.size() == table.names.size());
    for (size_t i = 0; i < table.names.size(); ++i)
      CHECK(json.at(table.names[i]).get<double>() == table.columns[i].at(rows));
  }
  CHECK(rows == 4);
}

TEST_CASE("numbers that are not finite stay readable in the log") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  TrainingLog log(folder, 0, {"all"});
  log.write(row_of(1, std::numeric_limits<double>::quiet_NaN()));
  CHECK(std::isnan(read_log(folder.log()).find("loss")->at(0)));
  CHECK(nlohmann::json::parse(read_text(folder.json_lines())).at("loss").is_null());
}

TEST_CASE("CRC-32C has its check value") {
  CHECK(crc32c("123456789") == 0xe3069283U);
  CHECK(crc32c("") == 0U);
}

TEST_CASE("event files are framed TFRecords that begin with version and start") {
  const test::TempDir dir;
  std::filesystem::path path;
  {
    EventFile file(dir.path() / "tensorboard", 40);
    file.scalars(60, {{"loss/total", 1.5}});
    path = file.path();
  }
  const auto list = records(path);
  REQUIRE(list.size() == 3);
  // Event.file_version (field 3), then Event.session_log (7) with status START (1) at step 41.
  CHECK(list[0].find("\x1a\x0d"
                     "brain.Event:2") != std::string::npos);
  CHECK(list[1].find("\x10\x29\x3a\x02\x08\x01") != std::string::npos);
  // Event.step 60, summary (5) of one value (1): tag (1) and simple_value (2) 1.5f.
  const std::string value = std::string("\x0a\x0aloss/total\x15") + std::string("\0\0\xc0\x3f", 4);
  CHECK(list[2].find("\x10\x3c\x2a\x13\x0a\x11" + value) != std::string::npos);
}
