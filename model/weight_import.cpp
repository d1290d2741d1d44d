#include "model/weight_import.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/import_setup.h"
#include "model/weight_transform.h"

namespace frcnn {
namespace {

using State = ImportRow::State;

/// Entries that --map names, with the parameter of each ("" leaves it out).
std::map<std::string, std::string> mapped_entries(const WeightFile& file,
                                                  const ImportTarget& target,
                                                  const ImportOptions& options) {
  std::map<std::string, std::string> places;
  for (const auto& [theirs, ours] : options.map) {
    const bool family = theirs.ends_with("*");
    if (family != ours.ends_with("*") && !ours.empty())
      throw UsageError(
          fmt::format("map {}={}: both names end in *, or neither does", theirs, ours));
    const std::string stem = family ? theirs.substr(0, theirs.size() - 1) : theirs;
    bool used = false;
    for (const WeightEntry& entry : file.entries()) {
      if (family ? !entry.name.starts_with(stem) : entry.name != stem && entry.path != stem)
        continue;
      used = true;
      std::string place = ours;
      if (family && !ours.empty()) {
        // The array's name is put into our words: conv_a/kernel becomes backbone.conv1.weight.
        const SplitName split = split_name("." + entry.name.substr(stem.size()));
        place = ours.substr(0, ours.size() - 1) +
                (split.layer.empty() ? split.array : entry.name.substr(stem.size()));
      }
      if (!place.empty() && !target.parameters->find(place))
        throw UsageError(fmt::format("map {}={}: the model has no parameter \"{}\" for \"{}\"",
                                     theirs, ours, place, entry.name));
      places[entry.name] = place;
    }
    if (!used)
      throw UsageError(
          fmt::format("map {}={}: {} has no such array", theirs, ours, file.path().string()));
  }
  return places;
}

/// In the scope `backbone` the dense layers of the head are welcome, the rest of a detector is not.
bool in_scope(const std::string& parameter, ImportOptions::Scope scope) {
  return scope == ImportOptions::Scope::detector || parameter.starts_with("backbone.") ||
         parameter.starts_with("head.fc");
}
bool required(const std::string& parameter, ImportOptions::Scope scope) {
  return scope == ImportOptions::Scope::detector || parameter.starts_with("backbone.");
}

class Planner {
 public:
  Planner(const WeightFile& file, const ImportTarget& target, const ImportOptions& options,
          NameScheme scheme)
      : file_(file),
        target_(target),
        options_(options),
        scheme_(scheme),
        table_(file, scheme, *target.backbone, static_cast<int>(target.config->roi.hidden.size())),
        mapped_(mapped_entries(file, target, options)) {}

  std::vector<ImportRow> rows() {
    for (const WeightEntry& entry : file_.entries()) rows_.push_back(row_of(entry));
    if (options_.scope == ImportOptions::Scope::backbone) cut_head();
    for (const Parameter& p : target_.parameters->all())
      if (required(p.name, options_.scope) && !taken_.contains(p.name))
        rows_.push_back({State::missing, "", {}, p.name, p.tensor.shape(), ""});
    return std::move(rows_);
  }

 private:
  /// A dense layer is of use only as a whole and behind those that it was trained with: takes back
  /// all from the first on that does not fit.
  void cut_head() {
    bool cut = false;
    for (size_t i = 0; i < target_.config->roi.hidden.size(); ++i) {
      const std::string layer = fmt::format("head.fc{}.", 6 + i);
      int64_t matched = 0;
      for (const ImportRow& row : rows_)
        matched += row.state == State::matched && row.parameter.starts_with(layer) ? 1 : 0;
      cut = cut || matched < 2;  // weight and bias
      if (!cut) continue;
      for (ImportRow& row : rows_) {
        if (row.state != State::matched || !row.parameter.starts_with(layer)) continue;
        row = {State::left_out,
               row.entry,
               row.entry_shape,
               "",
               {},
               "dense layers are taken from fc6 on, and whole"};
      }
    }
  }

  ImportRow row_of(const WeightEntry& entry) {
    ImportRow row{State::unexpected, entry.name, entry.shape, "", {}, ""};
    const auto mapped = mapped_.find(entry.name);
    std::optional<NameTable::Place> place;
    if (mapped != mapped_.end())
      place = NameTable::Place{mapped->second, "as --map says"};
    else
      place = table_.find(entry.name);
    if (!place) return row;
    const Parameter* parameter = target_.parameters->find(place->parameter);
    if (!place->parameter.empty() && !in_scope(place->parameter, options_.scope))
      return {State::left_out,
              entry.name,
              entry.shape,
              "",
              {},
              "only backbone and fc layers are taken"};
    if (place->parameter.empty())
      return {State::left_out, entry.name, entry.shape, "", {}, place->reason};
    if (!parameter) {
      // A head with fewer hidden layers, or none like the file's.
      if (!required(place->parameter, options_.scope)) {
        row.state = State::left_out;
        row.note = fmt::format("the model has no {}", place->parameter);
      }
      return row;
    }
    row.parameter = parameter->name;
    row.parameter_shape = parameter->tensor.shape();
    const auto transform = fit_array(entry, file_.order(), scheme_, *parameter, target_.config->roi,
                                     target_.backbone->out_channels());
    if (!transform) {
      if (required(parameter->name, options_.scope)) {
        row.state = State::mismatched;
      } else {
        row.state = State::left_out;
        row.note = fmt::format("does not fit {} {}", row.parameter, row.parameter_shape.string());
        row.parameter.clear();
      }
      taken_.insert(parameter->name);
      return row;
    }
    if (!taken_.insert(parameter->name).second) {
      row.note = fmt::format("{} has values already", row.parameter);
      row.parameter.clear();
      return row;
    }
    row.state = State::matched;
    row.note = transform->note();
    return row;
  }

  const WeightFile& file_;
  const ImportTarget& target_;
  const ImportOptions& options_;
  NameScheme scheme_;
  NameTable table_;
  std::map<std::string, std::string> mapped_;
  std::set<std::string> taken_;
  std::vector<ImportRow> rows_;
};

/// "a, b, c and 5 more" of the rows in a state.
std::string some_names(const ImportPlan& plan, State state) {
  constexpr int64_t kMost = 3;
  std::string text;
  int64_t seen = 0;
  for (const ImportRow& row : plan.rows) {
    if (row.state != state || ++seen > kMost) continue;
    text += seen > 1 ? ", " : "";
    if (state == State::missing)
      text += row.parameter;
    else if (state == State::unexpected)
      text += row.entry;
    else
      text += fmt::format("{} {} for {} {}", row.entry, row.entry_shape.string(), row.parameter,
                          row.parameter_shape.string());
  }
  return seen > kMost ? fmt::format("{} and {} more", text, seen - kMost) : text;
}

}  // namespace

ImportTarget import_target(const FasterRcnn& model) {
  return {&model.parameters(), &model.backbone_spec(), &model.config()};
}

const char* name_of(State state) {
  constexpr const char* kNames[] = {"matched", "left out", "shape mismatch", "unexpected",
                                    "missing"};
  return kNames[static_cast<size_t>(state)];
}

int64_t ImportPlan::count(State state) const {
  return std::count_if(rows.begin(), rows.end(),
                       [&](const ImportRow& row) { return row.state == state; });
}

std::string ImportPlan::text() const {
  size_t entry = 5, parameter = 9;
  for (const ImportRow& row : rows) {
    entry = std::max(entry, row.entry.size() + row.entry_shape.string().size() + 1);
    parameter = std::max(parameter, row.parameter.size() + row.parameter_shape.string().size() + 1);
  }
  entry = std::min<size_t>(entry, 60);
  parameter = std::min<size_t>(parameter, 60);
  const auto cell = [](const std::string& name, const Shape& shape) {
    return name.empty() ? std::string("-") : name + " " + shape.string();
  };
  std::string out = fmt::format("{:<14}  {:<{}}  {:<{}}  {}\n", "state", "array", entry,
                                "parameter", parameter, "note");
  for (const ImportRow& row : rows) {
    std::string line = fmt::format("{:<14}  {:<{}}  {:<{}}  {}", name_of(row.state),
                                   cell(row.entry, row.entry_shape), entry,
                                   cell(row.parameter, row.parameter_shape), parameter, row.note);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out + fmt::format(
                   "names of {}: {} matched, {} left out by design, {} shape mismatch, "
                   "{} unexpected, {} missing\n",
                   name_of(scheme), count(State::matched), count(State::left_out),
                   count(State::mismatched), count(State::unexpected), count(State::missing));
}

ImportPlan plan_import(const WeightFile& file, const ImportTarget& target,
                       const ImportOptions& options) {
  ImportPlan plan;
  plan.scheme = recognise_names(file);
  plan.preprocess = preprocess_of(file, plan.scheme, target.backbone->name);
  plan.rows = Planner(file, target, options, plan.scheme).rows();
  return plan;
}

bool same_pictures(const PreprocessConfig& a, const PreprocessConfig& b) {
  if (a.channels != b.channels) return false;
  // Both compute (v scale - mean) / stddev: what is multiplied and what is taken away must agree.
  const auto near = [](double x, double y) {
    return std::abs(x - y) <= 1e-4 * std::max({std::abs(x), std::abs(y), 1e-3});
  };
  for (size_t i = 0; i < 3; ++i)
    if (!near(a.scale / a.stddev[i], b.scale / b.stddev[i]) ||
        !near(a.mean[i] / a.stddev[i], b.mean[i] / b.stddev[i]))
      return false;
  return true;
}

std::string pictures_text(const PreprocessConfig& p) {
  return fmt::format("channels {}, scale {:.6g}, mean {:g} {:g} {:g}, stddev {:g} {:g} {:g}",
                     p.channels, p.scale, p.mean[0], p.mean[1], p.mean[2], p.stddev[0], p.stddev[1],
                     p.stddev[2]);
}

void check_plan(const WeightFile& file, const ImportPlan& plan, const ImportTarget& target,
                const ImportOptions& options) {
  const std::string name = file.path().string();
  check(
      plan.count(State::matched) > 0 || (plan.count(State::mismatched) > 0 && !options.partial),
      "{}: none of its {} arrays has a place in a model with a {} backbone, for example {} (names "
      "were taken for those of {}; --map gives them places)",
      name, file.entries().size(), target.backbone->name, file.entries().front().name,
      name_of(plan.scheme));
  if (!options.partial) {
    std::string what;
    for (const State state : {State::missing, State::mismatched, State::unexpected})
      if (plan.count(state) > 0)
        what += fmt::format("{}{} {}: {}", what.empty() ? "" : "; ", plan.count(state),
                            name_of(state), some_names(plan, state));
    check(what.empty(),
          "{}: does not fit the model ({} arrays matched): {}. `frcnn inspect` shows the whole "
          "table; `frcnn import --partial` takes what fits",
          name, plan.count(State::matched), what);
  }
  const PreprocessConfig& ours = target.config->preprocess;
  if (!plan.preprocess || options.any_preprocess || same_pictures(*plan.preprocess, ours)) return;
  const PreprocessConfig& theirs = *plan.preprocess;
  fail(
      "{}: these weights expect pictures as {}; the config makes {}. Set preprocess.channels = "
      "\"{}\", preprocess.scale = {}, preprocess.mean = [{}, {}, {}], preprocess.stddev = [{}, {}, "
      "{}], or say that the difference is meant: backbone.weights_preprocess = \"any\" (frcnn "
      "import: --any-preprocess)",
      name, pictures_text(theirs), pictures_text(ours), theirs.channels, theirs.scale,
      theirs.mean[0], theirs.mean[1], theirs.mean[2], theirs.stddev[0], theirs.stddev[1],
      theirs.stddev[2]);
}

std::vector<std::string> run_import(const WeightFile& file, const ImportPlan& plan,
                                    const ImportTarget& target) {
  std::vector<std::string> warnings;
  for (const ImportRow& row : plan.rows) {
    if (row.state != State::matched) continue;
    const WeightEntry& entry = *file.find(row.entry);
    const Parameter& parameter = *target.parameters->find(row.parameter);
    const auto transform = fit_array(entry, file.order(), plan.scheme, parameter,
                                     target.config->roi, target.backbone->out_channels());
    FRCNN_INVARIANT(transform.has_value());
    const int64_t bad = load_array(file, entry, *transform, parameter);
    if (bad > 0)
      warnings.push_back(fmt::format("{}: {} of the {} numbers of \"{}\" are NaN or infinite",
                                     file.path().string(), bad, entry.shape.numel(), entry.name));
  }
  return warnings;
}

std::vector<std::string> import_weights(const WeightFile& file, const ImportTarget& target,
                                        const ImportOptions& options) {
  const ImportPlan plan = plan_import(file, target, options);
  check_plan(file, plan, target, options);
  std::vector<std::string> lines = run_import(file, plan, target);
  int64_t backbone = 0, head = 0, rpn = 0;
  std::string hidden;
  for (const ImportRow& row : plan.rows) {
    if (row.state != State::matched) continue;
    backbone += row.parameter.starts_with("backbone.") ? 1 : 0;
    rpn += row.parameter.starts_with("rpn.") ? 1 : 0;
    head += row.parameter.starts_with("head.") ? 1 : 0;
    if (row.parameter.starts_with("head.fc") && row.parameter.ends_with(".weight"))
      hidden += " " + split_name(row.parameter).layer.substr(5);
  }
  std::string line = fmt::format("{} ({}): {} arrays of the backbone", file.path().string(),
                                 file.format(), backbone);
  if (rpn > 0) line += fmt::format(", {} of the RPN", rpn);
  if (head > 0) line += fmt::format(", {} of the head", head);
  if (!hidden.empty()) line += fmt::format(" ({})", hidden.substr(1));
  for (const State state : {State::left_out, State::missing, State::unexpected, State::mismatched})
    if (plan.count(state) > 0) line += fmt::format(", {} {}", plan.count(state), name_of(state));
  lines.insert(lines.begin(), line);
  return lines;
}

}  // namespace frcnn
