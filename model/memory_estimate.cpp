#include "model/memory_estimate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/conv/conv2d.h"

namespace frcnn {
namespace {

constexpr size_t kFloat = sizeof(float);

/// What one layer leaves in memory during a training pass.
struct LayerMemory {
  std::string name;
  size_t output = 0;     ///< its result
  size_t kept = 0;       ///< all that its backward pass keeps, result included
  bool trained = false;  ///< a weight at or before it is trained: it is on the tape
  size_t forward_scratch = 0, backward_scratch = 0;  ///< of its kernels while they run
};

size_t map_bytes(int64_t batch, int64_t channels, const std::array<int64_t, 2>& size) {
  return static_cast<size_t>(batch * channels * size[0] * size[1]) * kFloat;
}

/// Scratch memory of a 3x3 convolution of stride 1 on the CPU: Winograd takes much, and no other
/// form any.
void add_scratch(LayerMemory& layer, const FasterRcnn& model, int64_t batch,
                 const std::array<int64_t, 2>& channels, const std::array<int64_t, 2>& size) {
  if (model.device().is_gpu() || size[0] < 1 || size[1] < 1) return;
  kernels::Conv2dParams p;
  p.input = {batch, channels[0], size[0], size[1]};
  p.out_channels = channels[1];
  p.pad_h = p.pad_w = 1;
  const kernels::cpu::ConvBlocks blocks = kernels::cpu::preferred_conv_blocks(p);
  p.input.block = blocks.in;
  p.out_block = blocks.out;
  const auto scratch = [&](kernels::LayerPass pass) {
    return kernels::cpu::conv2d_plan(p, pass)->scratch_bytes();
  };
  layer.forward_scratch = scratch(kernels::LayerPass::forward_training);
  if (layer.trained)
    layer.backward_scratch = std::max(scratch(kernels::LayerPass::backward_data),
                                      scratch(kernels::LayerPass::backward_weights));
}

bool trains(const Parameters& parameters, const std::string& prefix) {
  for (const Parameter& p : parameters.all())
    if (p.trainable() && p.name.starts_with(prefix)) return true;
  return false;
}

std::vector<LayerMemory> built_in_layers(const FasterRcnn& model, int64_t batch,
                                         std::array<int64_t, 2> size) {
  const BackboneSpec& spec = model.backbone_spec();
  std::vector<LayerMemory> layers;
  bool trained = false;
  int64_t channels = 3;
  BackboneSpec one = spec;  // of a single layer, for the size after it
  for (const LayerSpec& layer : spec.layers) {
    one.layers = {layer};
    const std::array<int64_t, 2> size_before = size;
    const int64_t channels_before = channels;
    size = one.map_size(size[0], size[1]);
    if (layer.type == LayerSpec::Type::conv) {
      channels = layer.channels;
      trained |= trains(model.parameters(), "backbone." + layer.name + ".");
    }
    LayerMemory m{layer.name, map_bytes(batch, channels, size), 0, trained, 0, 0};
    m.kept = m.output;
    if (layer.type == LayerSpec::Type::max_pool) m.kept += m.output / kFloat;  // places, one byte
    if (layer.batch_norm) m.kept += m.output;  // before and behind the norm
    if (layer.type == LayerSpec::Type::conv && layer.kernel == 3 && layer.stride == 1)
      add_scratch(m, model, batch, {channels_before, channels}, size_before);
    layers.push_back(m);
  }
  return layers;
}

bool is_plain_3x3(const NetworkNode& node) {
  const NetworkWindow& w = node.window;
  return node.op == NetworkOp::conv && node.groups == 1 && w.kernel_h == 3 && w.kernel_w == 3 &&
         w.stride_h == 1 && w.stride_w == 1 && w.dilation_h == 1 && w.dilation_w == 1;
}

std::vector<LayerMemory> imported_layers(const FasterRcnn& model, int64_t batch,
                                         const std::array<int64_t, 2>& size) {
  const Network& network = model.backbone_spec().imported->network;
  const auto sizes = network.sizes(size[0], size[1]);
  const auto values = network.check();
  std::vector<LayerMemory> layers;
  std::vector<bool> on_tape(values.size(), false);
  for (size_t i = 0; i < network.nodes.size(); ++i) {
    const NetworkNode& node = network.nodes[i];
    bool trained = trains(model.parameters(), "backbone." + node.name + ".");
    for (const int input : node.inputs) trained |= on_tape[static_cast<size_t>(input)];
    on_tape[i + 1] = trained;
    LayerMemory m{node.name, map_bytes(batch, values[i + 1].channels, sizes[i + 1]), 0, trained, 0,
                  0};
    m.kept = m.output;
    if (node.op == NetworkOp::max_pool) m.kept += m.output / kFloat;
    if (is_plain_3x3(node)) {
      const auto from = static_cast<size_t>(node.inputs[0]);
      add_scratch(m, model, batch, {values[from].channels, node.channels}, sizes[from]);
    }
    layers.push_back(m);
  }
  return layers;
}

/// The RPN's and the head's layers behind the map.
std::vector<LayerMemory> head_layers(const FasterRcnn& model, int64_t batch,
                                     const std::array<int64_t, 2>& map) {
  const ModelConfig& config = model.config();
  const int64_t anchors = model.anchors_per_cell();
  const int64_t width =
      config.rpn.channels > 0 ? config.rpn.channels : model.backbone_spec().rpn_channels;
  const auto both = [](std::string name, size_t bytes) {
    return LayerMemory{std::move(name), bytes, bytes, true, 0, 0};
  };
  // With rpn.tiles the RPN's map is a list of cells, cut out of the backbone's as windows.
  const int64_t cells = std::min<int64_t>(config.rpn.batch, map[0] * map[1]);
  const std::array<int64_t, 2> rpn_map = config.rpn.tiles ? std::array{cells, int64_t{1}} : map;
  std::vector<LayerMemory> layers;
  if (config.rpn.tiles)
    layers.push_back(both("rpn tiles", map_bytes(batch * config.rpn.window * config.rpn.window,
                                                 model.backbone_spec().out_channels(), rpn_map)));
  layers.push_back(both("rpn.conv", map_bytes(batch, width, rpn_map)));
  if (!config.rpn.tiles && config.rpn.window == 3)
    add_scratch(layers.back(), model, batch, {model.backbone_spec().out_channels(), width}, map);
  const int64_t scores = config.rpn.objectness == "softmax" ? 2 : 1;
  // The maps and their rows; probabilities, targets, anchors.
  layers.push_back(both("rpn outputs", map_bytes(batch, anchors * (3 * scores + 2 * 4 + 5), map) +
                                           map_bytes(1, anchors * 4, map)));
  const int64_t rois = batch * config.roi.batch;
  int64_t features =
      model.backbone_spec().out_channels() * config.roi.pooled_height * config.roi.pooled_width;
  const auto rows = [&](int64_t columns) { return static_cast<size_t>(rois * columns) * kFloat; };
  LayerMemory pooled = both(config.roi.layer, rows(features));
  if (config.roi.layer == "roi_pool") pooled.kept += pooled.output;  // places, four bytes
  layers.push_back(pooled);
  for (size_t i = 0; i < config.roi.hidden.size(); ++i) {
    LayerMemory fc = both(fmt::format("head.fc{}", 6 + i), rows(config.roi.hidden[i]));
    if (config.roi.dropout > 0) fc.kept += fc.output;
    layers.push_back(fc);
  }
  layers.push_back(both("head outputs", rows(7 * (model.classes() + 1))));
  return layers;
}

}  // namespace

MemoryEstimate estimate_training_memory(const FasterRcnn& model, int state_arrays, int64_t batch,
                                        int64_t height, int64_t width) {
  MemoryEstimate e;
  size_t copy = 0;
  for (const Parameter& p : model.parameters().all()) {
    const size_t bytes = p.tensor.stored_bytes();
    e.weights += bytes;
    const bool packed = p.kind == ParameterKind::weight && p.tensor.rank() == 4;
    if (!p.trainable()) {
      if (packed) e.packed += bytes;
      continue;
    }
    e.gradients += bytes;
    e.optimizer += static_cast<size_t>(state_arrays) * bytes;
    // A GPU keeps a copy for the forward and one for the backward pass. The CPU makes one for a
    // pass of the layer and frees it behind it.
    if (packed && model.device().is_gpu())
      e.packed += 2 * bytes;
    else if (packed)
      copy = std::max(copy, bytes);
  }
  e.packed += copy;
  const std::array<int64_t, 2> size = {height, width};
  std::vector<LayerMemory> layers = model.backbone_spec().imported
                                        ? imported_layers(model, batch, size)
                                        : built_in_layers(model, batch, size);
  for (LayerMemory& layer :
       head_layers(model, batch, model.backbone_spec().map_size(height, width)))
    layers.push_back(std::move(layer));

  // Forward: what is kept so far, and of layers that are not trained the input beside the result.
  const size_t input = map_bytes(batch, 3, size);
  size_t kept = 0, previous = input, peak = 0, largest = 0;
  for (const LayerMemory& layer : layers) {
    peak =
        std::max(peak, kept + (layer.trained ? 0 : previous) + layer.kept + layer.forward_scratch);
    if (layer.trained) {
      if (kept == 0) kept = previous;  // the first one on the tape keeps its input
      kept += layer.kept;
    }
    if (layer.output > largest) largest = layer.output, e.largest = layer.name;
    previous = layer.output;
  }
  // Backward, from the last layer: what earlier layers keep, and the gradients of the layer's
  // result and of its input.
  for (size_t i = layers.size(); i-- > 0;) {
    if (!layers[i].trained) break;
    const size_t before = i > 0 ? layers[i - 1].output : input;
    const bool wanted = i > 0 && layers[i - 1].trained;
    peak = std::max(peak,
                    kept + layers[i].output + (wanted ? before : 0) + layers[i].backward_scratch);
    kept -= std::min(kept, layers[i].kept);
  }
  e.activations = peak + 2 * input;  // the batch as it was given, and in the kernels' format
  return e;
}

}  // namespace frcnn
