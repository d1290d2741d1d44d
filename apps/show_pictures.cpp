#include "apps/show_pictures.h"

#include <algorithm>

#include "apps/batches.h"
#include "data/show.h"
#include "engine/tape.h"
#include "kernels/boxes/anchors.h"
#include "kernels/launch/check.h"
#include "model/anchor_matches.h"

namespace frcnn::apps {
namespace {

constexpr Colour kTruth = {255, 225, 40}, kGood = {60, 200, 80}, kBad = {235, 60, 50},
                 kMiddling = {250, 150, 30}, kOther = {150, 150, 165}, kBest = {80, 160, 255};

struct Scene {
  const ShownModel& shown;
  const ShownPicture& picture;
  const std::vector<std::string>& classes;
  const ShowChoices& choices;

  const FasterRcnn& model() const { return shown.model(); }
  const ModelConfig& config() const { return shown.config().model; }
  const InputSize& size() const { return picture.input.sizes[0]; }
};

/// The feature map's cells and the anchors on them, without running the network.
struct AnchorGrid {
  TileGrid tiles;
  Tensor anchors;
  std::vector<Box> boxes;
  std::vector<uint8_t> inside;
};

std::vector<Box> boxes_of(const Tensor& rows, int64_t columns = 4) {
  std::vector<Box> boxes;
  const float* b = rows.data<float>() + (columns - 4);
  for (int64_t i = 0; i < rows.dim(0); ++i, b += columns) boxes.push_back({b[0], b[1], b[2], b[3]});
  return boxes;
}

AnchorGrid anchor_grid(const Scene& s) {
  const int64_t height = s.picture.input.images.dim(2), width = s.picture.input.images.dim(3);
  const auto [rows, columns] = s.model().backbone_spec().map_size(height, width);
  const FasterRcnn::Stride stride = s.model().stride(rows, columns, height, width);
  AnchorGrid out;
  out.tiles = {rows, columns, stride.y, stride.x, s.choices.row, s.choices.column};
  if (out.tiles.row < 0) out.tiles.row = rows / 2;
  if (out.tiles.column < 0) out.tiles.column = columns / 2;
  if (out.tiles.row >= rows || out.tiles.column >= columns)
    throw UsageError(fmt::format("--cell: expected a row below {} and a column below {}, got {},{}",
                                 rows, columns, out.tiles.row, out.tiles.column));
  out.anchors = s.model().anchors(rows, columns, height, width);
  out.boxes = boxes_of(out.anchors);
  out.inside.resize(out.boxes.size());
  kernels::cpu::boxes_inside<float>(out.anchors.dim(0), double(s.size().height),
                                    double(s.size().width), out.anchors.data<float>(),
                                    out.inside.data());
  return out;
}

BoxGroup truth_group(const Scene& s) {
  return {"objects", {kTruth, 2}, s.picture.truth.boxes, {}};
}

NamedPicture tiles(const Scene& s) {
  const TileGrid grid = anchor_grid(s).tiles;
  const BackboneSpec& spec = s.model().backbone_spec();
  return {"tiles",
          tiles_picture(s.picture.seen, grid, spec.receptive_field(),
                        spec.receptive_field(s.config().rpn.window)),
          fmt::format("{} x {} tiles of {:g} x {:g} pixels", grid.rows, grid.columns, grid.stride_y,
                      grid.stride_x)};
}

NamedPicture base_anchors(const Scene& s) {
  const AnchorGrid g = anchor_grid(s);
  const int64_t per_cell = s.model().anchors_per_cell();
  const auto first = (g.tiles.row * g.tiles.columns + g.tiles.column) * per_cell;
  const std::vector<Box> own(g.boxes.begin() + first, g.boxes.begin() + first + per_cell);
  const std::vector<uint8_t> inside(g.inside.begin() + first, g.inside.begin() + first + per_cell);
  return {"base-anchors", base_anchors_picture(s.picture.seen, g.tiles, own, inside),
          fmt::format("{} anchors of the tile in row {}, column {}", per_cell, g.tiles.row,
                      g.tiles.column)};
}

NamedPicture anchors(const Scene& s, bool inside_alone) {
  const AnchorGrid g = anchor_grid(s);
  int64_t drawn = 0;
  const std::string what = inside_alone ? "anchors inside the picture" : "all anchors";
  Image image = anchors_picture(s.picture.seen, g.boxes, s.model().anchors_per_cell(),
                                inside_alone ? &g.inside : nullptr, what, !inside_alone, &drawn);
  return {inside_alone ? "inside-anchors" : "anchors", std::move(image),
          fmt::format("{} of {} anchors", drawn, g.boxes.size())};
}

std::vector<NamedPicture> samples(const Scene& s) {
  const Config& config = s.shown.config();
  LossParts parts;
  parts.rpn = config.train.scheme != "detector_only";
  parts.detector = config.train.scheme != "rpn_only";
  std::optional<Samples> drawn;
  const Tape::NoGrad inference;
  const Losses losses = s.model().losses(s.picture.input, {s.picture.truth},
                                         {config.train.seed, s.choices.pass}, &drawn, parts);
  const std::string of = fmt::format("pass {} of a training with seed {} ({})", s.choices.pass,
                                     config.train.seed, s.shown.name());
  std::vector<NamedPicture> out;
  if (parts.rpn) {
    const std::vector<Box> boxes = boxes_of(anchor_grid(s).anchors);
    BoxGroup positive{"positive anchors", {kGood, 2}, {}, {}};
    BoxGroup negative{"negative anchors", {kBad, 1, 0.55}, {}, {}};
    const int32_t* labels = drawn->rpn.labels.data<int32_t>();
    for (size_t i = 0; i < boxes.size(); ++i)
      if (labels[i] >= 0) (labels[i] > 0 ? positive : negative).boxes.push_back(boxes[i]);
    const std::string line =
        fmt::format("{} positive and {} negative of {} anchors", positive.boxes.size(),
                    negative.boxes.size(), boxes.size());
    out.push_back(
        {"samples-rpn",
         groups_picture(s.picture.seen, {negative, positive, truth_group(s)},
                        "anchors that the RPN learns from in " + of,
                        {fmt::format("rpn.batch = {}, of which at most {:g} % positive; losses: "
                                     "classes {:.4f}, boxes {:.4f}",
                                     s.config().rpn.batch, 100 * s.config().rpn.positive_fraction,
                                     losses.rpn_class.item(), losses.rpn_box.item())}),
         line});
  }
  if (parts.detector) {
    const std::vector<Box> boxes = boxes_of(drawn->roi.rois, 5);
    const int32_t* labels = drawn->roi.labels.data<int32_t>();
    std::vector<BoxGroup> groups = {{"background RoIs", {kOther, 1, 0.7}, {}, {}}};
    for (size_t k = 0; k < s.classes.size(); ++k)
      groups.push_back({s.classes[k] + " RoIs", {class_colour(static_cast<int>(k)), 2}, {}, {}});
    for (size_t i = 0; i < boxes.size(); ++i)
      groups.at(static_cast<size_t>(labels[i])).boxes.push_back(boxes[i]);
    std::erase_if(groups, [](const BoxGroup& g) { return g.boxes.empty(); });
    BoxGroup truth = truth_group(s);
    truth.pen.dash = 6;
    groups.push_back(truth);
    out.push_back(
        {"samples-roi",
         groups_picture(s.picture.seen, groups, "RoIs that the head learns from in " + of,
                        {fmt::format("roi.batch = {}, of which at most {:g} % foreground; losses: "
                                     "classes {:.4f}, boxes {:.4f}",
                                     s.config().roi.batch, 100 * s.config().roi.foreground_fraction,
                                     losses.roi_class.item(), losses.roi_box.item())}),
         fmt::format("{} foreground of {} RoIs", drawn->roi.foreground, boxes.size())});
  }
  return out;
}

NamedPicture matches(const Scene& s) {
  const AnchorGrid g = anchor_grid(s);
  const AnchorMatches m = match_anchors(g.anchors, s.size(), s.picture.truth, s.config().rpn);
  const double limit = s.config().rpn.positive_iou;
  BoxGroup positive{"anchors trained as objects", {kGood, 1, 0.5}, {}, {}};
  BoxGroup best{"best anchor of an object", {kBest, 1, 1, 5}, {}, {}};
  BoxGroup full{fmt::format("objects with an anchor of IoU {:g}", limit), {kGood, 2}, {}, {}};
  BoxGroup forced{"objects that have only the best anchors", {kMiddling, 2}, {}, {}};
  BoxGroup none{"objects without any anchor", {kBad, 3}, {}, {}};
  for (size_t i = 0; i < g.boxes.size(); ++i)
    if (m.labels[i] > 0) positive.boxes.push_back(g.boxes[i]);
  for (size_t i = 0; i < m.objects.size(); ++i) {
    const ObjectAnchors& o = m.objects[i];
    if (o.best_anchor >= 0) best.boxes.push_back(g.boxes[static_cast<size_t>(o.best_anchor)]);
    BoxGroup& group = o.positives == 0                           ? none
                      : static_cast<double>(o.best_iou) >= limit ? full
                                                                 : forced;
    group.boxes.push_back(s.picture.truth.boxes[i]);
    group.texts.push_back(fmt::format("{:.2f}", o.best_iou));
  }
  const std::string line = fmt::format(
      "{} objects: {} with an anchor of IoU {:g}, {} with their best ones only, {} without",
      m.objects.size(), full.boxes.size(), limit, forced.boxes.size(), none.boxes.size());
  return {"matches",
          groups_picture(
              s.picture.seen, {positive, best, full, forced, none},
              "anchors and objects; numbers are the best IoU with an anchor",
              {fmt::format("anchors: {} positive, {} negative, {} neither, {} left out across the "
                           "border",
                           m.positives, m.negatives, m.ignored, m.outside)}),
          line};
}

NamedPicture proposals(const Scene& s) {
  const auto found = s.model().regions(s.picture.input, /*training=*/false)[0];
  const size_t drawn = std::min(found.size(), static_cast<size_t>(s.choices.top));
  constexpr int kBands = 5;
  constexpr size_t kTexts = 10;
  std::vector<BoxGroup> groups;
  for (int band = 0; band < kBands; ++band)
    groups.push_back({fmt::format("objectness {:.1f} to {:.1f}", band / 5.0, (band + 1) / 5.0),
                      {heat(band / double(kBands - 1)), 1, 0.9},
                      {},
                      {}});
  for (size_t i = drawn; i-- > 0;) {  // the best on top
    BoxGroup& group = groups[static_cast<size_t>(
        std::clamp(static_cast<int>(found[i].score * kBands), 0, kBands - 1))];
    group.boxes.push_back(found[i].box);
    group.texts.push_back(i < kTexts ? fmt::format("{:.3f}", found[i].score) : "");
  }
  groups.push_back({"objects", {kTruth, 2, 1, 6}, s.picture.truth.boxes, {}});
  return {"proposals",
          groups_picture(
              s.picture.seen, groups,
              fmt::format("the {} best of {} proposals ({})", drawn, found.size(), s.shown.name()),
              {"numbers: objectness of the ten best"}),
          fmt::format("{} of {} proposals", drawn, found.size())};
}

NamedPicture detections(const Scene& s) {
  const auto found = s.model().detect(s.picture.input)[0];
  std::vector<BoxGroup> groups;
  for (size_t k = 0; k < s.classes.size(); ++k)
    groups.push_back({s.classes[k], {class_colour(static_cast<int>(k)), 2}, {}, {}});
  size_t drawn = 0;
  for (const ScoredBox& d : found) {
    if (static_cast<double>(d.score) < s.choices.score) continue;
    BoxGroup& group = groups.at(static_cast<size_t>(d.label));
    group.boxes.push_back(d.box);
    group.texts.push_back(fmt::format("{} {:.2f}", group.name, d.score));
    ++drawn;
  }
  std::erase_if(groups, [](const BoxGroup& g) { return g.boxes.empty(); });
  const Sample& sample = s.picture.sample;
  const Image truth =
      truth_picture(s.picture.seen, sample.boxes, sample.labels, sample.difficult, s.classes);
  const Image right =
      groups_picture(s.picture.seen, groups,
                     fmt::format("detections with a score of at least {:g}: {} of {} ({})",
                                 s.choices.score, drawn, found.size(), s.shown.name()));
  return {"detections", beside(truth, right),
          fmt::format("{} objects, {} detections", sample.boxes.size(), drawn)};
}

NamedPicture features(const Scene& s) {
  const Tape::NoGrad inference;
  const Tensor map = s.model().features(s.picture.input.images, /*training=*/false);
  const int64_t count = std::min<int64_t>(map.dim(1), s.choices.channels);
  const std::vector<float> values = map.to_vector<float>();
  const std::string line = fmt::format("channels 0 to {} of {}, {} x {} cells", count - 1,
                                       map.dim(1), map.dim(2), map.dim(3));
  return {"features",
          maps_picture({values.data(), static_cast<size_t>(count * map.dim(2) * map.dim(3))}, count,
                       map.dim(2), map.dim(3), !s.choices.common_scale,
                       fmt::format("feature map: {} ({})", line, s.shown.name())),
          line};
}

NamedPicture filters(const ShownModel& shown) {
  for (const Parameter& p : shown.model().parameters().all()) {
    if (!p.name.starts_with("backbone.") || p.tensor.rank() != 4 || p.tensor.dim(1) != 3) continue;
    const std::vector<float> values = p.tensor.to_vector<float>();
    const std::string line = fmt::format("{}: {} filters of {} x {}", p.name, p.tensor.dim(0),
                                         p.tensor.dim(2), p.tensor.dim(3));
    return {"filters",
            filters_picture(values, p.tensor.dim(0), p.tensor.dim(2), p.tensor.dim(3),
                            shown.config().model.preprocess.channels == "bgr",
                            fmt::format("first layer, {} ({})", line, shown.name())),
            line};
  }
  fail("{}: the backbone has no convolution on three channels", shown.name());
}

}  // namespace

const std::vector<ShowKind>& show_kinds() {
  static const std::vector<ShowKind> kinds = {
      {"truth", "ground truth", false, true},
      {"tiles", "the feature map's cells, and what one of them sees", true, true},
      {"base-anchors", "the anchors of one tile", true, true},
      {"anchors", "all anchors", true, true},
      {"inside-anchors", "the anchors that lie inside the picture", true, true},
      {"samples", "the anchors and RoIs that a training step learns from", true, true},
      {"matches", "which objects have anchors, and which none reaches", true, true},
      {"proposals", "the RPN's proposals with their objectness", true, true},
      {"detections", "detections beside the ground truth", true, true},
      {"features", "channels of the feature map", true, true},
      {"filters", "filters of the first layer", true, false},
      {"augment", "a picture as the epochs of a training have it", false, true},
  };
  return kinds;
}

NamedPicture augmentations(const Dataset& dataset, size_t index, const Config& config, int epochs) {
  const LoaderSettings settings = training_settings(config);
  std::vector<Variant> variants;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const Sample s = load_sample(dataset, settings, epoch, static_cast<int64_t>(index));
    variants.push_back({picture_of(s, settings.input), s.boxes, s.labels,
                        fmt::format("epoch {}{}", epoch, s.flipped ? ", mirrored" : "")});
  }
  const AugmentConfig& a = config.data.augment;
  return {"augment",
          variants_picture(
              variants, dataset.class_names,
              fmt::format("{} in the first {} epochs of a training with seed {}",
                          dataset.images[index].id, epochs, config.train.seed),
              {fmt::format("data.augment: brightness {:g}, contrast {:g}, saturation {:g}, hue "
                           "{:g}, crop {:g}, rotate {:g}, mosaic {:g}; data.flip {}",
                           a.brightness, a.contrast, a.saturation, a.hue, a.crop, a.rotate,
                           a.mosaic, config.data.flip)}),
          fmt::format("{} epochs", epochs)};
}

std::vector<NamedPicture> draw(const std::string& kind, const ShownModel* model,
                               const ShownPicture* picture, const std::vector<std::string>& classes,
                               const ShowChoices& choices) {
  if (kind == "truth") {
    const Sample& s = picture->sample;
    return {{"truth", truth_picture(picture->seen, s.boxes, s.labels, s.difficult, classes),
             fmt::format("{} objects", s.boxes.size())}};
  }
  if (kind == "filters") return {filters(*model)};
  const Scene scene{*model, *picture, classes, choices};
  if (kind == "tiles") return {tiles(scene)};
  if (kind == "base-anchors") return {base_anchors(scene)};
  if (kind == "anchors") return {anchors(scene, false)};
  if (kind == "inside-anchors") return {anchors(scene, true)};
  if (kind == "samples") return samples(scene);
  if (kind == "matches") return {matches(scene)};
  if (kind == "proposals") return {proposals(scene)};
  if (kind == "detections") return {detections(scene)};
  if (kind == "features") return {features(scene)};
  std::string names;
  for (const ShowKind& known : show_kinds()) names += fmt::format(" {}", known.name);
  throw UsageError(fmt::format("show: expected one of{}, got \"{}\"", names, kind));
}

}  // namespace frcnn::apps
