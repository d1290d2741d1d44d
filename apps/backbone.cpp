#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/measure.h"
#include "apps/commands.h"
#include "apps/op_device.h"
#include "apps/program_device.h"
#include "apps/terminal.h"
#include "data/files.h"
#include "engine/tape.h"
#include "kernels/launch/check.h"
#include "model/graph/import_onnx.h"
#include "model/graph/network_layers.h"
#include "weights/weight_file.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct BackboneArguments {
  std::string file, cut, input, out;
  double seconds = 0;
  bool json = false, all = false;
};

int64_t weights_of(const ImportedNetwork& imported) {
  int64_t count = 0;
  for (const auto& [name, values] : imported.values) count += values.numel();
  return count;
}

std::string map_text(const NetworkValue& map) {
  if (!map.map) return "rows (N, F), no map";
  return fmt::format("stride {} x {}, {} channels, a cell sees {} x {} pixels", map.stride_y,
                     map.stride_x, map.channels, map.field_y, map.field_x);
}

Json map_json(const NetworkValue& map) {
  return {{"map", map.map},
          {"channels", map.channels},
          {"stride", {map.stride_y, map.stride_x}},
          {"field", {map.field_y, map.field_x}}};
}

/// The last candidate of each stride, or all of them.
std::vector<CutCandidate> shown(const std::vector<CutCandidate>& candidates, bool all) {
  std::vector<CutCandidate> out;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const bool last = i + 1 == candidates.size() ||
                      candidates[i + 1].value.stride_y != candidates[i].value.stride_y ||
                      candidates[i + 1].value.stride_x != candidates[i].value.stride_x;
    if (all || last) out.push_back(candidates[i]);
  }
  return out;
}

/// An array as NumPy keeps it (numpy.lib.format, version 1.0).
std::string npy_bytes(const Tensor& values) {
  std::string shape;
  for (const int64_t size : values.shape().dims()) shape += fmt::format("{}, ", size);
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape);
  constexpr size_t kFixed = 10;  // magic, version, length
  header.append(63 - (kFixed + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY\x01";
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 255u);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  const std::vector<float> numbers = values.to_vector<float>();
  bytes.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
  return bytes;
}

/// Writes the map of arguments.input; with --seconds, how long it takes.
bench::Timing run(const BackboneArguments& arguments, const ImportedNetwork& imported) {
  const auto file = WeightFile::open(arguments.input);
  check(file->entries().size() == 1, "{}: expected one array (N, C, H, W), found {}",
        arguments.input, file->entries().size());
  const Tensor images = file->read(file->entries()[0]);
  const Device device = program_device().device;
  Parameters parameters(1, DType::f32, /*fill=*/false, device);
  NetworkLayers layers(imported.network, "backbone.", Initializer{}, parameters);
  layers.load(imported.values);
  const Tape::NoGrad inference;
  const Tensor pictures = images.to(device);
  write_file(arguments.out, npy_bytes(layers.forward(pictures, false)));
  if (arguments.seconds <= 0) return {};
  return bench::measure(
      ops::memory_of(op_device()), [&] { layers.forward(pictures, false); }, arguments.seconds);
}

int backbone(const BackboneArguments& arguments) {
  if (arguments.input.empty() != arguments.out.empty())
    throw UsageError("--run and --out belong together");
  const OnnxGraph graph = read_onnx(arguments.file);
  const OnnxSurvey survey = survey_onnx(graph);
  std::string text = fmt::format("{}: ONNX of {}, operators of version {}, {} nodes\n",
                                 arguments.file, graph.producer, graph.opset, graph.nodes.size());
  Json json = {{"file", arguments.file},      {"producer", graph.producer},
               {"opset", graph.opset},        {"nodes", graph.nodes.size()},
               {"chosen", survey.chosen},     {"candidates", Json::array()},
               {"unsupported", Json::array()}};

  const auto candidates = shown(survey.candidates, arguments.all);
  if (!candidates.empty())
    text += arguments.all ? "maps that everything behind passes through:\n"
                          : "the last maps of each stride that everything behind passes through:\n";
  for (const CutCandidate& candidate : candidates) {
    text += fmt::format("  {} {}{}\n", padded(candidate.node, 40), map_text(candidate.value),
                        candidate.node == survey.chosen ? "  (default)" : "");
    json["candidates"].push_back(map_json(candidate.value));
    json["candidates"].back()["node"] = candidate.node;
  }
  if (!survey.unsupported.empty()) text += "nodes that cannot be used, so cut before them:\n";
  for (const UnsupportedNode& node : survey.unsupported) {
    text += "  " + node.string() + "\n";
    json["unsupported"].push_back(
        {{"index", node.index}, {"name", node.name}, {"op", node.op}, {"reason", node.reason}});
  }
  if (!arguments.cut.empty() || !survey.chosen.empty()) {
    const ImportedNetwork imported = import_onnx(graph, arguments.cut);
    const Network& network = imported.network;
    const NetworkValue map = network.check()[static_cast<size_t>(network.output)];
    text += fmt::format("cut at '{}': {} steps, {:.2f} M weights, {}\n", network.cut,
                        network.nodes.size(), static_cast<double>(weights_of(imported)) / 1e6,
                        map_text(map));
    json["cut"] = map_json(map);
    json["cut"]["node"] = network.cut;
    json["cut"]["steps"] = network.nodes.size();
    json["cut"]["weights"] = weights_of(imported);
    if (!arguments.input.empty()) {
      const bench::Timing time = run(arguments, imported);
      if (time.samples > 0) {
        text += fmt::format("forward: {:.4g} ms (median of {} runs, {:.4g} .. {:.4g})\n",
                            time.median * 1e3, time.samples, time.low * 1e3, time.high * 1e3);
        json["forward_ms"] = time.median * 1e3;
        json["quartiles_ms"] = {time.low * 1e3, time.high * 1e3};
      }
    }
  } else {
    check(arguments.input.empty(), "{}: no map of stride 16 or 32; --cut chooses another",
          arguments.file);
  }
  std::fputs(arguments.json ? (json.dump(2) + "\n").c_str() : text.c_str(), stdout);
  return kDone;
}

}  // namespace

void add_backbone(CLI::App& app, Action& action) {
  auto a = std::make_shared<BackboneArguments>();
  CLI::App* command = app.add_subcommand(
      "backbone", "say where a network in an ONNX file can be cut to be a backbone, and run it");
  command->add_option("FILE", a->file, "network (.onnx)")->required();
  command->add_option("--cut", a->cut, "node or output whose map is used; default: as in training")
      ->type_name("NODE");
  command->add_flag("--all", a->all, "list all maps to cut at, not only the last of each stride");
  command
      ->add_option(
          "--run", a->input,
          "run the network up to the cut on pictures (N, C, H, W), preprocessed: one array "
          "as .npy, .npz or .safetensors")
      ->type_name("ARRAY");
  command->add_option("--out", a->out, "where the map goes, as .npy")->type_name("FILE");
  command->add_option("--seconds", a->seconds, "with --run: also measure the time for so long")
      ->check(CLI::Range(1e-4, 100.0));
  command->add_flag("--json", a->json, "print as JSON");
  command->footer("Example: frcnn backbone resnet18.onnx");
  command->callback([&action, a] { action = [a] { return backbone(*a); }; });
}

}  // namespace frcnn::apps
