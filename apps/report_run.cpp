#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/chart.h"
#include "apps/report_sections.h"
#include "apps/sweep_plan.h"
#include "apps/terminal.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

/// The sessions of a run; empty where it has no file of them.
Json sessions_of(const RunFolder& folder) {
  if (!std::filesystem::exists(folder.sessions())) return Json::array();
  return Json::parse(read_text(folder.sessions())).at("sessions");
}

/// Calls `make` with the sessions, and names the file in what it throws.
template <typename Make>
std::string with_sessions(const RunFolder& folder, const Make& make) {
  try {
    return make(sessions_of(folder));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.sessions().string(), error.what());
  }
}

constexpr const char* kUnknown =
    "<p class='note'>The run does not tell (sessions.json is missing).</p>\n";

std::string fact(const std::string& value, const std::string& label) {
  return fmt::format("<div class='fact'><b>{}</b><span>{}</span></div>", escape_html(value),
                     escape_html(label));
}

/// "0.35 s", "45 s", "3 min 20 s".
std::string time_text(double seconds) {
  return seconds < 10 ? fmt::format("{:.2f} s", seconds) : duration_text(seconds);
}

struct TimePart {
  const char *key, *name, *help;
  bool per_picture;
};
constexpr TimePart kParts[] = {
    {"data", "waiting for data", "the loader has no batch ready", true},
    {"input", "batches", "pictures copied into tensors", true},
    {"forward", "forward passes", "network, proposals, samples, losses", true},
    {"backward", "backward passes", "gradients", true},
    {"update", "updates", "optimiser, waiting for the device", true},
    {"save", "checkpoints and logs", "", false},
    {"validation", "validations", "detections, losses, metrics", false},
    {"stage", "between stages", "weights and proposals of the next stage", false}};

/// Sums over the sessions.
struct Times {
  double seconds = 0, images = 0, training = 0, others = 0;
  bool gpu = false;
  std::vector<double> parts = std::vector<double>(std::size(kParts), 0.0);
};

Times times_of(const Json& sessions) {
  Times t;
  for (const Json& session : sessions) {
    t.seconds += session.at("seconds").get<double>();
    t.images += session.at("images").get<double>();
    t.gpu = t.gpu || session.at("gpu").get<bool>();
    for (size_t i = 0; i < std::size(kParts); ++i)
      t.parts[i] += session.at("parts").value(kParts[i].key, 0.0);
  }
  t.others = t.seconds;
  for (size_t i = 0; i < std::size(kParts); ++i) {
    t.others -= t.parts[i];
    if (kParts[i].per_picture) t.training += t.parts[i];
  }
  t.others = std::max(t.others, 0.0);
  return t;
}

std::string time_row(const std::string& name, const std::string& help, double seconds,
                     const Times& t, double per_picture) {
  const double share = t.seconds > 0 ? seconds / t.seconds : 0;
  return fmt::format(
      "<tr><td>{}</td><td class='left'>{}</td><td>{}</td><td><span class='bar'><i "
      "style='width:{:.1f}%'></i></span><span class='n'>{:.1f} %</span></td><td>{}</td></tr>",
      name, help, time_text(seconds), 100 * share, 100 * share,
      per_picture >= 0 ? fmt::format("{:.2f} ms", 1e3 * per_picture) : std::string("–"));
}

std::string time_table(const Times& t) {
  std::string html =
      "<div class='scroll'><table><thead><tr><th>part</th><th class='left'></th><th>time</th>"
      "<th>share</th><th>per picture</th></tr></thead><tbody>";
  for (size_t i = 0; i < std::size(kParts); ++i) {
    const TimePart& part = kParts[i];
    if (t.parts[i] < 5e-4) continue;
    const bool passes = t.gpu && std::string(part.key) == "forward";
    html += time_row(passes ? "passes" : part.name,
                     passes ? "forward and backward, as far as the host takes part" : part.help,
                     t.parts[i], t, part.per_picture && t.images > 0 ? t.parts[i] / t.images : -1);
  }
  html += time_row("others", "start, report", t.others, t, -1);
  return html + fmt::format(
                    "</tbody><tfoot><tr><td>all</td><td class='left'></td><td>{}</td><td></td>"
                    "<td></td></tr></tfoot></table></div>\n",
                    time_text(t.seconds));
}

std::string session_table(const Json& sessions) {
  if (sessions.size() < 2) return "";
  std::string html =
      "<details><summary>Sessions</summary><div class='scroll'><table><thead><tr><th>begin "
      "(UTC)</th><th>steps</th><th>time</th><th>threads</th><th>commit</th></tr></thead><tbody>";
  for (const Json& session : sessions) {
    const Json& environment = session.at("environment");
    html +=
        fmt::format("<tr><td>{}</td><td>{} to {}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape_html(session.at("begin").get<std::string>()),
                    session.at("first_step").get<int64_t>(), session.at("last_step").get<int64_t>(),
                    time_text(session.at("seconds").get<double>()),
                    escape_html(environment.value("threads", std::string("–"))),
                    escape_html(environment.value("commit", std::string("–"))));
  }
  return html + "</tbody></table></div></details>\n";
}

/// Speed over the run as the log has it.
std::string speed_charts(const LogTable& log) {
  const auto *steps = log.find("step"), *speed = log.find("images_per_second"),
             *wait = log.find("data_wait");
  if (!steps || !speed || !wait || steps->size() < 2) return "";
  std::vector<double> percent;
  for (const double share : *wait) percent.push_back(100 * share);
  Chart waiting{"step", {{"waiting", *steps, std::move(percent), false, true}}};
  if (*std::max_element(waiting.series[0].y.begin(), waiting.series[0].y.end()) < 5)
    waiting.y_max = 5;  // noise of a per mille is no curve
  return "<div class='columns'>" +
         chart_html({"step", {{"pictures per second", *steps, *speed, false, true}}},
                    "Pictures per second of training") +
         chart_html(waiting, "Time spent waiting for data, %") + "</div>\n";
}

struct MemoryRow {
  const char *key, *name;
};
constexpr MemoryRow kPredicted[] = {
    {"weights", "weights"},         {"gradients", "gradients"},
    {"optimizer", "optimiser"},     {"packed", "copies of weights for kernels"},
    {"activations", "activations"}, {"total", "all tensors of a training step"}};
constexpr MemoryRow kMeasured[] = {
    {"tensors_training", "tensors, while training"},
    {"tensors_validation", "tensors, while validating"},
    {"tensors_reserved", "tensors and blocks kept for reuse"},
    {"process", "process as a whole (with pictures, libraries, program)"}};

/// " --data A --data B" of a member of run.json, which is a text or a list.
std::string source_options(const Json& info, const char* key, const char* option) {
  std::string words;
  const auto add = [&](const Json& source) {
    words += fmt::format(" {} {}", option, shell_text({source.get<std::string>()}));
  };
  if (!info.contains(key)) return "";
  if (info[key].is_string())
    add(info[key]);
  else
    for (const Json& source : info[key]) add(source);
  return words;
}

}  // namespace

std::string time_section(const RunFolder& folder, const LogTable& log) {
  return with_sessions(folder, [&](const Json& sessions) {
    std::string html = "<h2>Time</h2>";
    if (sessions.empty()) return html + kUnknown + speed_charts(log);
    const Times t = times_of(sessions);
    const double rate = t.training > 0 ? t.images / t.training : 0;
    html += "<section class='facts'>" + fact(time_text(t.seconds), "whole time") +
            fact(fmt::format("{:.2f}", rate), "pictures per second of training") +
            fact(rate > 0 ? time_text(1 / rate) : "–", "per picture of training") +
            fact(fmt::format("{:.1f} %", t.training > 0 ? 100 * t.parts[0] / t.training : 0),
                 "of it waiting for data") +
            "</section>";
    return html + time_table(t) + session_table(sessions) + speed_charts(log);
  });
}

std::string memory_section(const RunFolder& folder) {
  return with_sessions(folder, [&](const Json& sessions) {
    std::string html = "<h2>Memory</h2>";
    if (sessions.empty()) return html + kUnknown;
    // The largest of all sessions.
    Json most = Json::object(), predicted;
    for (const Json& session : sessions) {
      const Json& memory = session.at("memory");
      for (const MemoryRow& row : kMeasured)
        most[row.key] = std::max(most.value(row.key, 0.0), memory.value(row.key, 0.0));
      if (memory.contains("predicted")) predicted = memory["predicted"];
    }
    double largest = 1;
    for (const Json& bytes : most) largest = std::max(largest, bytes.get<double>());
    if (predicted.is_object()) largest = std::max(largest, predicted.at("total").get<double>());
    std::string rows;
    const auto row = [&](const char* name, double bytes, const char* colour) {
      rows += fmt::format(
          "<tr><td>{}</td><td><span class='bar'><i "
          "style='width:{:.1f}%;background:var({})'></i></span><span "
          "class='n'>{}</span></td></tr>",
          name, 100 * bytes / largest, colour, bytes_text(bytes));
    };
    const auto title = [&](const std::string& name) {
      rows += "<tr><th>" + name + "</th><th></th></tr>";
    };
    if (predicted.is_object()) {
      title(fmt::format("predicted, for {} x {} pixels", predicted.at("height").get<int64_t>(),
                        predicted.at("width").get<int64_t>()));
      for (const MemoryRow& part : kPredicted)
        row(part.name, predicted.at(part.key).get<double>(), "--c2");
    }
    title("measured, at most");
    for (const MemoryRow& part : kMeasured)
      if (const double bytes = most[part.key].get<double>(); bytes > 0)
        row(part.name, bytes, "--c1");
    return html + "<div class='scroll'><table><tbody>" + rows + "</tbody></table></div>\n";
  });
}

std::string environment_section(const RunFolder& folder) {
  return with_sessions(folder, [&](const Json& sessions) {
    std::string html = "<h2>Environment</h2>";
    if (sessions.empty()) return html + kUnknown;
    const Json& last = sessions.back().at("environment");
    html += "<div class='scroll'><table class='words'><tbody>";
    for (const auto& [key, value] : last.items()) {
      std::vector<std::string> known = {value.get<std::string>()};
      std::string values = known[0];
      // What was otherwise earlier on the way.
      for (const Json& session : sessions) {
        const auto other = session.at("environment").value(key, std::string());
        if (other.empty() || std::find(known.begin(), known.end(), other) != known.end()) continue;
        known.push_back(other);
        values += "; earlier " + other;
      }
      html += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escape_html(key), escape_html(values));
    }
    return html + "</tbody></table></div>\n";
  });
}

std::string command_section(const RunFolder& folder, const Config& config) {
  Json info = Json::object();
  try {
    if (std::filesystem::exists(folder.info())) info = Json::parse(read_text(folder.info()));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.info().string(), error.what());
  }
  const std::string run = shell_text({folder.root().lexically_normal().string()});
  const std::string data =
      info.contains("data") ? source_options(info, "data", "--data") : std::string(" --data DATA");
  const std::string own = source_options(info, "val_data", "--val-data");
  const std::string judged = own.empty() ? data : source_options(info, "val_data", "--data");
  std::string threads;
  with_sessions(folder, [&](const Json& sessions) {
    if (!sessions.empty())
      threads =
          " --threads " + sessions.back().at("environment").value("threads", std::string("1"));
    return std::string();
  });
  const std::string split =
      config.data.val_split.empty() ? "" : " --split " + shell_text({config.data.val_split});
  std::string lines;
  const auto command = [&](const char* what, std::string line) {
    constexpr size_t kLongest = 64;  // longer ones are hard to read on a phone
    if (line.size() > kLongest)
      for (size_t at = line.find(" --"); at != std::string::npos; at = line.find(" --", at + 8))
        line.replace(at, 1, " \\\n    ");
    lines += fmt::format("# {}\n{}\n\n", what, line);
  };
  command(
      "the same run again: with this build, on such a machine, the same bits",
      fmt::format("frcnn train {}{}{} --out NEW{}",
                  shell_text({folder.config().lexically_normal().string()}), data, own, threads));
  command("go on with a run that was stopped",
          fmt::format("frcnn train --resume --out {}{}", run, threads));
  command("every metric of the validation split",
          fmt::format("frcnn eval {}{}{} --metrics all", run, judged, split));
  command("detect in pictures", fmt::format("frcnn detect {} PICTURES --out FOUND", run));
  command("why objects are missed or found wrongly",
          fmt::format("frcnn why {}{}{} --out WHY", run, judged, split));
  command("this page anew", fmt::format("frcnn report {}", run));
  lines.pop_back();
  return "<h2>Commands</h2><pre class='commands'>" + escape_html(lines) + "</pre>\n";
}

}  // namespace frcnn::apps
