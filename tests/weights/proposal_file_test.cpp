#include "weights/proposal_file.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/tensor_file.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ProposalSet example() {
  return {"1-rpn.h5",
          "00ff",
          {{"000001", 500, 375, {{1, 2, 30, 40}, {0, 0, 500, 375}}, {0.9f, 0.25f}},
           {"no objects", 10, 20, {}, {}},
           {"\u00fcml", 640, 480, {{-0.0f, 1.5f, 2.5f, 3}}, {1e-9f}}}};
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The file of example() with one tensor of its root changed.
std::filesystem::path changed(const TempDir& folder, const std::string& name, Tensor tensor) {
  const auto file = folder.path() / "p.h5";
  save_proposals(file, example());
  const TensorFileKind kind = {"frcnn proposals", "proposals file", 1};
  TensorFile content = load_tensor_file(file, kind);
  content.root.tensors.at(name) = std::move(tensor);
  save_tensor_file(file, kind, content);
  return file;
}

}  // namespace

TEST_CASE("proposal file: what was saved comes back, with the same bytes each time") {
  const TempDir folder;
  const auto file = folder.path() / "p.h5";
  save_proposals(file, example());
  const ProposalSet read = load_proposals(file);
  CHECK(read.source == "1-rpn.h5");
  CHECK(read.data == "00ff");
  REQUIRE(read.pictures.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const PictureProposals expected = example().pictures[i];
    CHECK(read.pictures[i].id == expected.id);
    CHECK(read.pictures[i].width == expected.width);
    CHECK(read.pictures[i].height == expected.height);
    CHECK(read.pictures[i].boxes == expected.boxes);
    CHECK(read.pictures[i].scores == expected.scores);
  }
  save_proposals(folder.path() / "again.h5", example());
  CHECK(bytes_of(file) == bytes_of(folder.path() / "again.h5"));
  save_proposals(file, {"none", "", {}});
  CHECK(load_proposals(file).pictures.empty());
}

TEST_CASE("proposal file: what cannot be right is refused by picture or dataset") {
  const TempDir folder;
  const auto refused = [&](const std::string& name, Tensor tensor, const std::string& message) {
    CHECK_THROWS_WITH(load_proposals(changed(folder, name, std::move(tensor))),
                      Catch::Matchers::Contains(message));
  };
  const float nan = std::nanf("");
  refused("boxes", Tensor::from({3, 4}, std::vector<float>{1, 2, 30, 40, 0, 0, 5, 5, 9, 0, 2, 3}),
          "picture \u00fcml: proposal 0 is (9, 0, 2, 3)");
  refused("scores", Tensor::from({3}, std::vector<float>{1, nan, 1}), "picture 000001: proposal 1");
  refused("scores", Tensor::from({2}, std::vector<float>{1, 1}), "dataset 'scores' is");
  refused("sizes", Tensor::from({2, 2}, std::vector<int32_t>{1, 1, 1, 1}), "expected i32 of");
  refused("offsets", Tensor::from({4}, std::vector<int64_t>{0, 3, 2, 3}), "are out of order");
  refused("offsets", Tensor::from({4}, std::vector<int64_t>{0, 2, 2, 9}), "do not cover");
  CHECK_THROWS_WITH(load_proposals(folder.path() / "absent.h5"),
                    Catch::Matchers::Contains("cannot read the proposals file"));
}
