#include "apps/ops/listing.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace frcnn::apps::ops {
namespace {

using Json = nlohmann::ordered_json;

const char* documented_type(const ArrayDoc& doc) {
  return is_float(doc.type) && doc.type == Type::f32 ? "float" : type_name(doc.type);
}

Json json_of(const Value& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

const char* kind_of(const Value& value) {
  constexpr const char* kKinds[] = {"integer", "number", "boolean", "string", "list of numbers"};
  return kKinds[value.index()];
}

Json json_of(const ArrayDoc& doc, bool output) {
  Json json = {{"name", doc.name},
               {"type", documented_type(doc)},
               {"extent", doc.extent},
               {"text", doc.text}};
  if (!output) json["optional"] = doc.optional;
  if (output) json["gradient"] = doc.gradient ? Json("d_" + doc.name) : Json();
  return json;
}

Json json_of(const Version& version) {
  return {{"name", version.name},
          {"idea", version.idea},
          {"capability", version.capability},
          {"emulated", version.emulated}};
}

Json json_of(const Ladder& rungs) {
  Json json = {{"passes", rungs.text.empty() ? "all" : rungs.text},
               {"array", rungs.array},
               {"cpu", Json::array()},
               {"gpu", Json::array()},
               {"default_cpu", rungs.cpu_standard},
               {"default_gpu", rungs.gpu_standard}};
  for (const Version& version : rungs.cpu)
    json["cpu"].push_back({{"name", version.name}, {"idea", version.idea}});
  for (const Version& version : rungs.gpu) json["gpu"].push_back(json_of(version));
  return json;
}

Json json_of(const Operation& op) {
  Json json = {{"name", op.name},
               {"family", op.family},
               {"text", op.text},
               {"header", op.header},
               {"functions", op.functions},
               {"devices", op.on_gpu ? Json{"cpu", "cuda", "emulated"} : Json{"cpu"}},
               {"types", op.types},
               {"differentiable", op.differentiable()},
               {"inputs", Json::array()},
               {"outputs", Json::array()},
               {"parameters", Json::array()},
               {"ladders", Json::array()}};
  for (const ArrayDoc& doc : op.inputs) json["inputs"].push_back(json_of(doc, false));
  for (const ArrayDoc& doc : op.outputs) json["outputs"].push_back(json_of(doc, true));
  for (const ParameterDoc& doc : op.params) {
    Json param = {{"name", doc.name},
                  {"kind", kind_of(doc.standard)},
                  {"default", json_of(doc.standard)},
                  {"text", doc.text}};
    if (!doc.choices.empty()) param["choices"] = doc.choices;
    json["parameters"].push_back(param);
  }
  for (const Ladder& rungs : op.ladders) json["ladders"].push_back(json_of(rungs));
  return json;
}

std::string arrays_text(const char* title, const std::vector<ArrayDoc>& docs) {
  std::string text = fmt::format("{}:\n", title);
  for (const ArrayDoc& doc : docs)
    text += fmt::format("  {:<16} {:<8} {:<28} {}{}{}\n", doc.name, documented_type(doc),
                        doc.extent, doc.text, doc.optional ? " (optional)" : "",
                        doc.gradient ? " (takes d_" + doc.name + ")" : "");
  return docs.empty() ? "" : text;
}

std::string version_names(const std::vector<Version>& versions, const char* mark) {
  std::vector<std::string> names;
  for (const Version& version : versions)
    names.push_back(fmt::format("{}{}{}", mark, version.name, mark));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// "naive, table; backward: naive, tile"
std::string gpu_versions(const Operation& op, const char* mark) {
  if (!op.on_gpu) return "";
  std::string text;
  for (const Ladder& rungs : op.ladders)
    text += (text.empty() ? "" : "; ") + (rungs.text.empty() ? "" : rungs.text + ": ") +
            version_names(rungs.gpu, mark);
  return text.empty() ? "one" : text;
}
std::string cpu_versions(const Operation& op, const char* mark) {
  std::string text;
  for (const Ladder& rungs : op.ladders) text += version_names(rungs.cpu, mark);
  return text.empty() ? "one" : text;
}

std::string counts_text(const Counts& counts) {
  return fmt::format(
      "{} operations, {} of them on a GPU, there in {} versions, of which {} run under "
      "emulation.\n",
      counts.operations, counts.on_gpu, counts.versions, counts.emulated);
}

}  // namespace

Counts count_operations() {
  Counts counts;
  for (const Operation& op : operations()) {
    ++counts.operations;
    if (!op.on_gpu) continue;
    ++counts.on_gpu;
    if (op.ladders.empty()) {
      ++counts.versions;
      ++counts.emulated;
    }
    for (const Ladder& rungs : op.ladders)
      for (const Version& version : rungs.gpu) {
        ++counts.versions;
        counts.emulated += version.emulated ? 1 : 0;
      }
  }
  return counts;
}

std::string listing_text() {
  std::string text, family;
  for (const Operation& op : operations()) {
    if (op.family != family) text += fmt::format("{}{}\n", text.empty() ? "" : "\n", op.family);
    family = op.family;
    text += fmt::format("  {:<24} {}{}\n", op.name, op.text, op.on_gpu ? "" : " [cpu only]");
  }
  return text + "\n" + counts_text(count_operations()) + "`frcnn op NAME` describes one of them.\n";
}

std::string description_text(const Operation& op) {
  std::string text = fmt::format("{}: {}\ncontract: {}\n\n", op.name, op.text, op.header);
  text += arrays_text("inputs", op.inputs) + arrays_text("outputs", op.outputs);
  if (!op.params.empty()) text += "parameters (--set name=value):\n";
  for (const ParameterDoc& doc : op.params)
    text +=
        fmt::format("  {:<16} {:<12} {}{}\n", doc.name, value_text(doc.standard), doc.text,
                    doc.choices.empty() ? "" : fmt::format(" ({})", fmt::join(doc.choices, ", ")));
  for (const Ladder& rungs : op.ladders) {
    const std::string what = rungs.text.empty() ? "" : " of the pass " + rungs.text;
    for (const auto& [device, versions] : {std::pair("CPU", &rungs.cpu), {"GPU", &rungs.gpu}}) {
      if (versions->empty()) continue;
      text += fmt::format("{} versions{}:\n", device, what);
      for (const Version& v : *versions)
        text += fmt::format("  {:<16} {}{}\n", v.name, v.idea,
                            v.emulated ? "" : " (not under emulation)");
    }
  }
  return text;
}

std::string listing_json() {
  Json json;
  json["devices"] = Json::array();
  for (const Device device : {Device::cpu, Device::cuda, Device::emulated}) {
    const std::string why = unavailable(device);
    json["devices"].push_back({{"name", device_name(device)},
                               {"available", why.empty()},
                               {"why_not", why.empty() ? Json() : Json(why)}});
  }
  const Counts counts = count_operations();
  json["counts"] = {{"operations", counts.operations},
                    {"gpu_operations", counts.on_gpu},
                    {"gpu_versions", counts.versions},
                    {"emulated_versions", counts.emulated}};
  json["operations"] = Json::array();
  for (const Operation& op : operations()) json["operations"].push_back(json_of(op));
  return json.dump() + "\n";
}

std::string listing_markdown() {
  std::string text = counts_text(count_operations()) + "\n", family;
  for (const Operation& op : operations()) {
    if (op.family != family)
      text += fmt::format(
          "{}### {}\n\n| operation | what it does | gradient | CPU versions | GPU versions |\n"
          "|---|---|---|---|---|\n",
          family.empty() ? "" : "\n", op.family);
    family = op.family;
    text += fmt::format("| [`{}`](../../{}) | {} | {} | {} | {} |\n", op.name, op.header, op.text,
                        op.differentiable() ? "yes" : "", cpu_versions(op, "`"),
                        op.on_gpu ? gpu_versions(op, "`") : "-");
  }
  text +=
      "\nThe ideas of the GPU versions:\n\n| ladder | version | idea | capability | emulated |\n";
  text += "|---|---|---|---|---|\n";
  std::vector<std::string> seen;
  for (const Operation& op : operations())
    for (const Ladder& rungs : op.ladders) {
      if (std::find(seen.begin(), seen.end(), rungs.array) != seen.end()) continue;
      seen.push_back(rungs.array);
      for (const Version& v : rungs.gpu)
        text += fmt::format("| `{}` | `{}` | {} | {}.{} | {} |\n", rungs.array, v.name, v.idea,
                            v.capability / 10, v.capability % 10, v.emulated ? "yes" : "no");
    }
  return text;
}

}  // namespace frcnn::apps::ops
