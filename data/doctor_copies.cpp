#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "data/doctor_checks.h"

namespace frcnn {
namespace {

/// One picture in one list.
struct Use {
  size_t list = 0;
  const SplitPicture* picture = nullptr;
};

/// The list that keeps a picture which two of them hold: results are told on the test split.
int rank(const std::string& split) {
  if (split.find("test") != std::string::npos) return 2;
  return split.find("val") != std::string::npos && split.find("train") == std::string::npos ? 1 : 0;
}

std::string place(const SplitPicture& picture) {
  return picture.line > 0 ? fmt::format("{}:{}", picture.file, picture.line) : picture.file;
}

using Lists = std::vector<PictureList>;

/// Says of the less important of two lists that the other one has its picture, too.
Finding leak(const Lists& lists, Use a, Use b) {
  if (rank(lists[a.list].name) > rank(lists[b.list].name)) std::swap(a, b);
  const bool same = a.picture->id == b.picture->id;
  return {FindingKind::note, a.picture->file, a.picture->line,
          fmt::format("picture '{}' of split '{}' is {} in split '{}' ({})", a.picture->id,
                      lists[a.list].name,
                      same ? std::string("also") : fmt::format("the same as '{}'", b.picture->id),
                      lists[b.list].name, place(*b.picture)),
          Defect::split_leak};
}

}  // namespace

void check_copies(Diagnosis& d, const Lists& lists) {
  // Pictures of the set that no list names stand for themselves.
  std::map<std::string, std::vector<Use>> by_id;
  std::map<std::array<uint64_t, 2>, std::vector<Use>> by_content;
  const auto add = [&](const Use& use) {
    const std::string path = use.picture->path.string();
    const auto facts = d.facts.find(path);
    if (facts == d.facts.end() || facts->second.bytes == 0) return;
    by_content[facts->second.hash].push_back(use);
  };
  std::set<std::string> listed;
  for (size_t l = 0; l < lists.size(); ++l)
    for (const SplitPicture& picture : lists[l].pictures) {
      listed.insert(picture.path.string());
      by_id[picture.id].push_back({l, &picture});
      add({l, &picture});
    }
  std::vector<SplitPicture> unlisted;
  for (const ImageRecord& image : d.set.images)
    if (listed.count(image.path.string()) == 0)
      unlisted.push_back({image.id, image.path, image.path.string(), 0});
  for (const SplitPicture& picture : unlisted) add({lists.size(), &picture});

  std::set<std::string> in_set;
  for (const ImageRecord& image : d.set.images) in_set.insert(image.path.string());
  const auto concerns = [&](const Use& a, const Use& b) {
    return in_set.count(a.picture->path.string()) + in_set.count(b.picture->path.string()) > 0;
  };
  const auto before = static_cast<ptrdiff_t>(d.findings.size());
  for (const auto& [id, uses] : by_id)
    for (size_t i = 1; i < uses.size(); ++i)
      if (concerns(uses[0], uses[i])) d.findings.push_back(leak(lists, uses[0], uses[i]));
  for (const auto& [hash, uses] : by_content) {
    for (size_t i = 1; i < uses.size(); ++i) {
      // Against the first of the same list, else of another.
      const auto end = uses.begin() + static_cast<ptrdiff_t>(i);
      auto other =
          std::find_if(uses.begin(), end, [&](const Use& use) { return use.list == uses[i].list; });
      const bool same_list = other != end;
      if (!same_list) other = uses.begin();
      if (other->picture->id == uses[i].picture->id || !concerns(*other, uses[i])) continue;
      if (!same_list && uses[i].list < lists.size() && other->list < lists.size())
        d.findings.push_back(leak(lists, *other, uses[i]));
      else
        d.findings.push_back({FindingKind::note, uses[i].picture->path.string(), 0,
                              fmt::format("has the content of {}", other->picture->path.string()),
                              Defect::picture_duplicate});
    }
  }
  std::sort(d.findings.begin() + before, d.findings.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.file, a.line, a.message) < std::tie(b.file, b.line, b.message);
  });
}

}  // namespace frcnn
