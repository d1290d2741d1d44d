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

/// Says of `a` that `b`, in another list, is the same picture.
Finding leak(const Diagnosis& d, const Use& a, const Use& b) {
  const bool same = a.picture->path == b.picture->path;
  return {FindingKind::note, a.picture->file, a.picture->line,
          fmt::format("picture '{}' of split '{}' is {} in split '{}' ({})", a.picture->id,
                      d.lists[a.list].name,
                      same ? std::string("also") : fmt::format("the same as '{}'", b.picture->id),
                      d.lists[b.list].name, place(*b.picture)),
          Defect::split_leak};
}

Finding copy(const Use& a, const Use& b) {
  return {FindingKind::note, a.picture->path.string(), 0,
          fmt::format("has the content of {}", b.picture->path.string()),
          Defect::picture_duplicate};
}

}  // namespace

void check_copies(Diagnosis& d) {
  std::map<std::string, std::vector<Use>> by_path;
  std::map<std::array<uint64_t, 2>, std::vector<Use>> by_content;
  const auto add = [&](const Use& use) {
    const auto facts = d.facts.find(use.picture->path.string());
    if (facts != d.facts.end() && facts->second.bytes > 0)
      by_content[facts->second.hash].push_back(use);
  };
  std::set<std::string> listed, in_set;
  for (size_t l = 0; l < d.lists.size(); ++l)
    for (const SplitPicture& picture : d.lists[l].pictures) {
      listed.insert(picture.path.string());
      if (!picture.path.empty()) by_path[picture.path.string()].push_back({l, &picture});
      add({l, &picture});
    }
  // Pictures of the set that no list names stand for themselves.
  const size_t none = d.lists.size();
  std::vector<SplitPicture> unlisted;
  for (const ImageRecord& image : d.set.images) {
    in_set.insert(image.path.string());
    if (listed.count(image.path.string()) == 0)
      unlisted.push_back({image.id, image.path, image.path.string(), 0});
  }
  for (const SplitPicture& picture : unlisted) add({none, &picture});

  const auto weight = [&](const Use& use) {
    return use.list == none ? -1 : rank(d.lists[use.list].name);
  };
  const auto before = static_cast<ptrdiff_t>(d.findings.size());
  // Compares the uses of one picture with the one that matters most.
  const auto compare = [&](const std::vector<Use>& uses, bool content) {
    const Use& kept = *std::max_element(uses.begin(), uses.end(), [&](const Use& a, const Use& b) {
      return weight(a) < weight(b);
    });
    for (const Use& use : uses) {
      if (use.picture == kept.picture || (content && use.picture->path == kept.picture->path))
        continue;
      if (in_set.count(use.picture->path.string()) == 0 &&
          in_set.count(kept.picture->path.string()) == 0)
        continue;
      if (use.list == kept.list || use.list == none) {
        d.findings.push_back(copy(use, kept));
        continue;
      }
      d.findings.push_back(leak(d, use, kept));
      d.leaks.insert({d.lists[use.list].name, use.picture->path.string()});
    }
  };
  for (const auto& [path, uses] : by_path) compare(uses, false);
  for (const auto& [hash, uses] : by_content) compare(uses, true);
  std::sort(d.findings.begin() + before, d.findings.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.file, a.line, a.message) < std::tie(b.file, b.line, b.message);
  });
}

}  // namespace frcnn
