#include "model/graph/import_onnx.h"

#include <algorithm>
#include <set>

#include "kernels/launch/check.h"
#include "model/graph/translate.h"

namespace frcnn {
namespace {

using Kind = TranslatedValue::Kind;

std::string label(const OnnxNode& node) {
  return !node.name.empty() ? node.name : node.outputs.empty() ? "" : node.outputs[0];
}

/// Maps that everything behind them passes through: no value made before is used later.
std::vector<CutCandidate> candidates_of(const Translation& t) {
  std::vector<CutCandidate> found;
  const auto& made = t.made_by();
  const auto& last = t.last_use();
  int latest_use = last[0];  // of all earlier values
  for (size_t v = 1; v < made.size(); ++v) {
    // Of several steps that one node became, the last one is its result.
    const bool result = v + 1 == made.size() || made[v + 1] != made[v];
    const NetworkValue& value = t.known()[v];
    if (result && latest_use <= made[v] && value.map && value.stride_y > 0)
      found.push_back({label(t.graph().nodes[static_cast<size_t>(made[v])]), value});
    latest_use = std::max(latest_use, last[v]);
  }
  return found;
}

std::string default_cut(const std::vector<CutCandidate>& candidates) {
  for (const int64_t stride : {16, 32})
    for (auto at = candidates.rbegin(); at != candidates.rend(); ++at)
      if (at->value.stride_y == stride && at->value.stride_x == stride) return at->node;
  return "";
}

/// The last candidates of each stride, as a list for messages.
std::string candidates_text(const std::vector<CutCandidate>& candidates) {
  std::string text;
  int shown = 0;
  for (size_t i = candidates.size(); i-- > 0 && shown < 12;) {
    const NetworkValue& v = candidates[i].value;
    const bool last_of_stride = i + 1 == candidates.size() ||
                                candidates[i + 1].value.stride_y != v.stride_y ||
                                candidates[i + 1].value.stride_x != v.stride_x;
    if (!last_of_stride) continue;
    text += fmt::format("{}'{}' (stride {}, {} channels)", text.empty() ? "" : ", ",
                        candidates[i].node, v.stride_y, v.channels);
    ++shown;
  }
  return text.empty() ? "there is no map through which everything passes" : text;
}

/// Position of the node that `cut` names, by its name or that of an output.
size_t position_of(const OnnxGraph& graph, const std::string& cut, std::string& output) {
  size_t found = graph.nodes.size();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const OnnxNode& node = graph.nodes[i];
    const auto named = std::find(node.outputs.begin(), node.outputs.end(), cut);
    if (named != node.outputs.end()) {
      output = cut;
      return i;
    }
    if (node.name != cut && network_name(node.name) != cut) continue;
    check(found == graph.nodes.size(),
          "{}: several nodes are named '{}'; name the output tensor at which to cut",
          graph.file.string(), cut);
    check(!node.outputs.empty(), "{}: node '{}' has no output", graph.file.string(), cut);
    output = node.outputs[0];
    found = i;
  }
  return found;
}

/// By node of the file: whether the cut depends on it.
std::vector<bool> needed_for(const OnnxGraph& graph, size_t cut) {
  std::vector<bool> needed(graph.nodes.size(), false);
  std::set<std::string> wanted;
  needed[cut] = true;
  for (size_t i = cut + 1; i-- > 0;) {
    for (const std::string& output : graph.nodes[i].outputs)
      if (wanted.contains(output)) needed[i] = true;
    if (needed[i]) wanted.insert(graph.nodes[i].inputs.begin(), graph.nodes[i].inputs.end());
  }
  return needed;
}

void check_supported(const Translation& t, size_t cut, const std::string& name) {
  constexpr int kMostListed = 20;
  const std::vector<bool> needed = needed_for(t.graph(), cut);
  std::string list;
  int count = 0;
  for (const UnsupportedNode& node : t.unsupported()) {
    if (!needed[node.index]) continue;
    if (count++ < kMostListed) list += (list.empty() ? "" : "; ") + node.string();
  }
  if (count > kMostListed) list += fmt::format("; and {} more", count - kMostListed);
  check(count == 0, "{}: {} of the nodes before the cut '{}' cannot be used: {}",
        t.graph().file.string(), count, name, list);
}

/// Keeps what `output` depends on.
ImportedNetwork pruned(const Network& full, TensorMap& values, int output) {
  ImportedNetwork out;
  out.network = full;
  out.network.nodes.clear();
  std::vector<int> place(full.nodes.size() + 1, 0);
  if (output > 0) {
    const std::vector<bool> needed = full.ancestors(output - 1);
    for (size_t i = 0; i < full.nodes.size(); ++i) {
      if (!needed[i]) continue;
      NetworkNode node = full.nodes[i];
      for (int& input : node.inputs) input = place[static_cast<size_t>(input)];
      for (const char* part : {"weight", "bias", "running_mean", "running_var", "constant"}) {
        const auto found = values.find(fmt::format("{}.{}", node.name, part));
        if (found != values.end()) out.values.insert(*found);
      }
      out.network.nodes.push_back(std::move(node));
      place[i + 1] = static_cast<int>(out.network.nodes.size());
    }
  }
  out.network.output = place[static_cast<size_t>(output)];
  return out;
}

/// A ReLU that is the only user of a layer becomes part of it.
void merge_relus(Network& network) {
  std::vector<int> uses(network.nodes.size() + 1, 0);
  for (const NetworkNode& node : network.nodes)
    for (const int input : node.inputs) ++uses[static_cast<size_t>(input)];
  ++uses[static_cast<size_t>(network.output)];

  std::vector<NetworkNode> kept;
  std::vector<int> place = {0};
  for (const NetworkNode& node : network.nodes) {
    NetworkNode copy = node;
    for (int& input : copy.inputs) input = place[static_cast<size_t>(input)];
    const int before = node.inputs[0];
    if (node.op == NetworkOp::relu && before > 0 && uses[static_cast<size_t>(before)] == 1) {
      NetworkNode& layer = kept[static_cast<size_t>(copy.inputs[0]) - 1];
      const bool layer_can = layer.op == NetworkOp::conv || layer.op == NetworkOp::linear ||
                             layer.op == NetworkOp::batch_norm;
      if (layer_can && !layer.relu) {
        layer.relu = true;
        layer.merged.push_back(node.name);
        place.push_back(copy.inputs[0]);
        continue;
      }
    }
    kept.push_back(std::move(copy));
    place.push_back(static_cast<int>(kept.size()));
  }
  network.output = place[static_cast<size_t>(network.output)];
  network.nodes = std::move(kept);
}

}  // namespace

OnnxSurvey survey_onnx(const OnnxGraph& graph) {
  const Translation t(graph);
  OnnxSurvey survey;
  survey.candidates = candidates_of(t);
  survey.chosen = default_cut(survey.candidates);
  survey.unsupported = t.unsupported();
  return survey;
}

ImportedNetwork import_onnx(const OnnxGraph& graph, const std::string& cut) {
  Translation t(graph);
  const std::string file = graph.file.string();
  std::string name = cut;
  if (name.empty()) {
    const std::vector<CutCandidate> candidates = candidates_of(t);
    name = default_cut(candidates);
    if (name.empty()) {
      std::string reason;
      if (!t.unsupported().empty())
        reason =
            fmt::format("; the first node that cannot be used is {}", t.unsupported()[0].string());
      fail("{}: no map of stride 16 or 32 to cut at; choose one with backbone.cut: {}{}", file,
           candidates_text(candidates), reason);
    }
  }
  std::string output;
  const size_t position = position_of(graph, name, output);
  check(position < graph.nodes.size(),
        "{}: backbone.cut: there is no node or output '{}'; maps to cut at are {}", file, name,
        candidates_text(candidates_of(t)));
  check_supported(t, position, name);
  const TranslatedValue value = t.value(output);
  check(value.kind == Kind::network && value.order.empty(),
        "{}: backbone.cut: '{}' is no map (N, C, H, W); maps to cut at are {}", file, name,
        candidates_text(candidates_of(t)));
  ImportedNetwork imported = pruned(t.network(), t.values(), value.index);
  merge_relus(imported.network);
  imported.network.cut = name;
  imported.network.check();
  return imported;
}

}  // namespace frcnn
