#include "weights/proposal_file.h"

#include <cmath>

#include "kernels/launch/check.h"
#include "weights/tensor_file_read.h"

namespace frcnn {
namespace {

const TensorFileKind kKind = {"frcnn proposals", "proposals file", 1};

/// A tensor of the root, of the type and shape it must have; a dimension of -1 may have any size.
const Tensor& part(const std::string& file, const TensorFile& content, const std::string& name,
                   DType dtype, const std::vector<int64_t>& dims) {
  const auto found = content.root.tensors.find(name);
  check(found != content.root.tensors.end(), "{}: dataset '{}' is missing", file, name);
  const Tensor& tensor = found->second;
  bool fits = tensor.dtype() == dtype && tensor.rank() == static_cast<int>(dims.size());
  for (int i = 0; fits && i < tensor.rank(); ++i)
    fits = dims[static_cast<size_t>(i)] < 0 || dims[static_cast<size_t>(i)] == tensor.dim(i);
  check(fits, "{}: dataset '{}' is {} of {}, expected {} of {}", file, name,
        name_of(tensor.dtype()), tensor.shape().string(), name_of(dtype), Shape(dims).string());
  return tensor;
}

void check_box(const std::string& file, const PictureProposals& picture, size_t i) {
  const Box& box = picture.boxes[i];
  const bool sound = std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
                     std::isfinite(box.y2) && box.x1 <= box.x2 && box.y1 <= box.y2 &&
                     std::isfinite(picture.scores[i]);
  check(sound,
        "{}: picture {}: proposal {} is ({}, {}, {}, {}) with score {}, expected x1 <= x2, "
        "y1 <= y2 and finite numbers",
        file, picture.id, i, box.x1, box.y1, box.x2, box.y2, picture.scores[i]);
}

}  // namespace

void save_proposals(const std::filesystem::path& file, const ProposalSet& proposals) {
  std::vector<uint8_t> ids;
  std::vector<int32_t> sizes;
  std::vector<int64_t> offsets = {0};
  std::vector<float> boxes, scores;
  for (const PictureProposals& picture : proposals.pictures) {
    check(picture.boxes.size() == picture.scores.size(),
          "{}: picture {} has {} boxes and {} scores", file.string(), picture.id,
          picture.boxes.size(), picture.scores.size());
    ids.insert(ids.end(), picture.id.begin(), picture.id.end());
    ids.push_back('\n');
    sizes.insert(sizes.end(), {picture.height, picture.width});
    for (const Box& box : picture.boxes)
      boxes.insert(boxes.end(), {box.x1, box.y1, box.x2, box.y2});
    scores.insert(scores.end(), picture.scores.begin(), picture.scores.end());
    offsets.push_back(static_cast<int64_t>(scores.size()));
  }
  const auto pictures = static_cast<int64_t>(proposals.pictures.size());
  const auto total = static_cast<int64_t>(scores.size());
  TensorFile content;
  content.root.attributes = {{"source", proposals.source}, {"data", proposals.data}};
  auto& tensors = content.root.tensors;
  tensors.emplace("ids", Tensor::from({static_cast<int64_t>(ids.size())}, ids));
  tensors.emplace("sizes", Tensor::from({pictures, 2}, sizes));
  tensors.emplace("offsets", Tensor::from({pictures + 1}, offsets));
  tensors.emplace("boxes", Tensor::from({total, 4}, boxes));
  tensors.emplace("scores", Tensor::from({total}, scores));
  save_tensor_file(file, kKind, content);
}

ProposalSet load_proposals(const std::filesystem::path& path) {
  const std::string file = path.string();
  const TensorFile content = load_tensor_file(path, kKind);
  ProposalSet out;
  out.source = attribute_of<std::string>(content.root, "source", file);
  out.data = attribute_of<std::string>(content.root, "data", file);
  const auto ids = part(file, content, "ids", DType::u8, {-1}).span<uint8_t>();
  for (size_t begin = 0, i = 0; i < ids.size(); ++i)
    if (ids[i] == '\n') {
      out.pictures.emplace_back().id.assign(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                            ids.begin() + static_cast<std::ptrdiff_t>(i));
      begin = i + 1;
    }
  const auto pictures = static_cast<int64_t>(out.pictures.size());
  const auto sizes = part(file, content, "sizes", DType::i32, {pictures, 2}).span<int32_t>();
  const auto offsets = part(file, content, "offsets", DType::i64, {pictures + 1}).span<int64_t>();
  const Tensor& all_boxes = part(file, content, "boxes", DType::f32, {-1, 4});
  const auto boxes = all_boxes.span<float>();
  const auto scores = part(file, content, "scores", DType::f32, {all_boxes.dim(0)}).span<float>();
  check(offsets[0] == 0 && offsets[offsets.size() - 1] == all_boxes.dim(0),
        "{}: its offsets do not cover its {} proposals", file, all_boxes.dim(0));
  for (size_t p = 0; p < out.pictures.size(); ++p) {
    PictureProposals& picture = out.pictures[p];
    picture.height = sizes[2 * p];
    picture.width = sizes[2 * p + 1];
    check(offsets[p] <= offsets[p + 1] && offsets[p + 1] <= all_boxes.dim(0),
          "{}: picture {}: its offsets {} to {} are out of order", file, picture.id, offsets[p],
          offsets[p + 1]);
    for (auto i = static_cast<size_t>(offsets[p]); i < static_cast<size_t>(offsets[p + 1]); ++i) {
      picture.boxes.push_back({boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]});
      picture.scores.push_back(scores[i]);
      check_box(file, picture, picture.boxes.size() - 1);
    }
  }
  return out;
}

}  // namespace frcnn
