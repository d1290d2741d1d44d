#include "data/doctor.h"

#include <algorithm>
#include <set>

#include "tests/data/planted.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

/// The findings as planted() writes them, without the note on coordinates, sorted.
std::vector<std::string> found(const Diagnosis& diagnosis) {
  std::vector<std::string> out;
  for (const Finding& f : diagnosis.findings) {
    if (f.defect == Defect::coordinates) continue;
    std::string file = fs::path(f.file).filename().string();
    // Messages of unreadable pictures begin with the file.
    if (file.empty()) file = fs::path(f.message.substr(0, f.message.find(": "))).filename();
    out.push_back(planted(f.defect, file, f.line));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Diagnosis look(const fs::path& root, const std::vector<std::string>& classes = {},
               const DoctorOptions& options = {}) {
  VocOptions voc;
  voc.root = root, voc.classes = classes;
  return examine_voc(voc, options);
}

}  // namespace

TEST_CASE("Doctor: a clean set has no findings") {
  TempDir temp;
  const Planter planter(temp.path());
  for (const bool deep : {false, true}) {
    DoctorOptions options;
    options.deep = deep;
    const Diagnosis d = look(temp.path(), {}, options);
    CHECK(found(d) == std::vector<std::string>{});
    CHECK(d.set.images.size() == 30);
    CHECK(d.splits == std::vector<std::string>{"test", "train", "val"});
    REQUIRE(d.findings.size() == 1);
    CHECK(contains(d.findings[0].message, "1-based"));
    CHECK(d.count(Severity::note) == 1);
    CHECK(d.sizes.at(0).at(1) == 30);  // birds of 25 x 21 pixels
  }
}

TEST_CASE("Doctor: every planted defect is found in its place, and nothing else") {
  size_t sets = 0;
  for (const Planter::Plant& plant : Planter::all()) {
    TempDir temp;
    Planter planter(temp.path());
    PlantedSet set = plant(planter);
    INFO(set.name);
    std::sort(set.expected.begin(), set.expected.end());
    CHECK(found(look(temp.path(), set.classes)) == set.expected);
    ++sets;
  }
  CHECK(sets >= 10);
}
