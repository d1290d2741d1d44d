#include "apps/weights_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/terminal.h"
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/import_setup.h"
#include "weights/md5.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

std::vector<int64_t> sizes(const Shape& shape) {
  return {shape.dims().begin(), shape.dims().end()};
}

/// JSON has no infinite numbers.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

struct Guess {
  ImportSetup setup;
  ImportPlan plan;
};

/// The built-in model that the file fits and what would go where.
Guess guess_import(const WeightFile& file) {
  Guess guess{setup_for(file, "", {}), {}};
  const auto classes = std::max<int64_t>(1, static_cast<int64_t>(guess.setup.classes.size()));
  const FasterRcnn model(guess.setup.config.model, classes, 1, DType::f32, /*fill=*/false);
  ImportOptions options;
  options.scope =
      guess.setup.detector ? ImportOptions::Scope::detector : ImportOptions::Scope::backbone;
  guess.plan = plan_import(file, import_target(model), options);
  return guess;
}

}  // namespace

ArrayStatistics statistics_of(const WeightFile& file, const WeightEntry& entry) {
  constexpr int64_t kPart = int64_t{1} << 20;
  ArrayStatistics s;
  const int64_t total = entry.shape.numel();
  if (total == 0) return s;
  const int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0], row = total / rows;
  const int64_t step = std::clamp<int64_t>(kPart / row, 1, rows);
  std::vector<float> values(static_cast<size_t>(step * row));
  s.least = HUGE_VAL;
  s.most = -HUGE_VAL;
  double sum = 0, squares = 0, origin = 0;
  int64_t finite = 0;
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first) * row;
    file.read_rows(entry, first, count / row, values.data());
    for (int64_t i = 0; i < count; ++i) {
      const double value = values[static_cast<size_t>(i)];
      if (!std::isfinite(value)) continue;
      if (finite++ == 0) origin = value;  // sums of differences keep their digits
      s.least = std::min(s.least, value);
      s.most = std::max(s.most, value);
      sum += value - origin;
      squares += (value - origin) * (value - origin);
    }
  }
  s.not_finite = total - finite;
  if (finite == 0) return {0, 0, 0, 0, s.not_finite};
  const auto n = static_cast<double>(finite);
  s.mean = origin + sum / n;
  s.stddev = std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)));
  return s;
}

Json import_json(const ImportPlan& plan) {
  Json rows = Json::array(), counts;
  for (const ImportRow& row : plan.rows)
    rows.push_back({{"state", name_of(row.state)},
                    {"array", row.entry},
                    {"array_shape", sizes(row.entry_shape)},
                    {"parameter", row.parameter},
                    {"parameter_shape", sizes(row.parameter_shape)},
                    {"note", row.note}});
  for (const auto state :
       {ImportRow::State::matched, ImportRow::State::left_out, ImportRow::State::mismatched,
        ImportRow::State::unexpected, ImportRow::State::missing})
    counts[name_of(state)] = plan.count(state);
  return {{"names", name_of(plan.scheme)}, {"counts", counts}, {"rows", rows}};
}

WeightsReport inspect_weights(const std::filesystem::path& path) {
  const std::unique_ptr<WeightFile> file = WeightFile::open(path);
  const std::string md5 = md5_of(path), known = published_name(md5);
  int64_t numbers = 0;
  size_t width = 4;
  for (const WeightEntry& entry : file->entries()) {
    numbers += entry.shape.numel();
    width = std::max(width, entry.name.size());
  }
  width = std::min<size_t>(width, 60);
  std::string text = fmt::format("{}: {}, {} arrays, {} numbers\nmd5         {}{}\n", path.string(),
                                 file->format(), file->entries().size(), numbers, md5,
                                 known.empty() ? "" : ": " + known);
  Json metadata = Json::object();
  for (const auto& [key, value] : file->metadata()) {
    metadata[key] = value;
    if (value.size() <= 80 && value.find('\n') == std::string::npos)
      text += fmt::format("{} {}\n", padded(key, 11), value);
  }
  text += fmt::format("{:<{}}  {:<4}  {:<20} {:>11} {:>11} {:>11} {:>11}  {}\n", "array", width,
                      "type", "shape", "min", "max", "mean", "std", "not finite");
  Json arrays = Json::array();
  std::string warnings;
  for (const WeightEntry& entry : file->entries()) {
    const ArrayStatistics s = statistics_of(*file, entry);
    text += fmt::format("{:<{}}  {:<4}  {:<20} {:>11.4g} {:>11.4g} {:>11.4g} {:>11.4g}  {}\n",
                        entry.name, width, name_of(entry.type), entry.shape.string(), s.least,
                        s.most, s.mean, s.stddev, s.not_finite);
    if (s.not_finite > 0)
      warnings += fmt::format("warning: {} of the {} numbers of \"{}\" are NaN or infinite\n",
                              s.not_finite, entry.shape.numel(), entry.name);
    arrays.push_back({{"name", entry.name},
                      {"path", entry.path.empty() ? entry.name : entry.path},
                      {"type", name_of(entry.type)},
                      {"shape", sizes(entry.shape)},
                      {"min", number(s.least)},
                      {"max", number(s.most)},
                      {"mean", number(s.mean)},
                      {"std", number(s.stddev)},
                      {"not_finite", s.not_finite}});
  }
  text += warnings;
  Json json = {{"kind", "weights"},
               {"file", path.string()},
               {"format", file->format()},
               {"order", file->order() == WeightOrder::keras ? "keras" : "torch"},
               {"md5", md5},
               {"published_as", known},
               {"metadata", metadata},
               {"arrays", arrays}};
  try {
    const Guess guess = guess_import(*file);
    text += fmt::format("network     {}{}\n", guess.setup.config.model.backbone.name,
                        guess.setup.detector
                            ? fmt::format(", a detector of {} classes", guess.setup.classes.size())
                            : "");
    text += fmt::format("pictures    {}\n", guess.plan.preprocess
                                                ? pictures_text(*guess.plan.preprocess)
                                                : std::string("not known"));
    text += guess.plan.text();
    json["network"] = guess.setup.config.model.backbone.name;
    json["detector"] = guess.setup.detector;
    if (guess.plan.preprocess) {
      const PreprocessConfig& p = *guess.plan.preprocess;
      json["preprocess"] = {
          {"channels", p.channels}, {"scale", p.scale}, {"mean", p.mean}, {"stddev", p.stddev}};
    }
    json["import"] = import_json(guess.plan);
  } catch (const Error& error) {  // a file of weights for something else is none the less readable
    text += fmt::format("import      {}\n", error.what());
    json["import_refused"] = error.what();
  }
  return {text, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace frcnn::apps
