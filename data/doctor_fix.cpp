#include "data/doctor_fix.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "data/doctor_checks.h"
#include "data/files.h"
#include "data/voc_folder.h"
#include "data/voc_object.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

std::string text_of(const pugi::xml_document& document) {
  std::ostringstream out;
  document.save(out, "", pugi::format_raw | pugi::format_no_declaration);
  return out.str() + "\n";
}

/// Sets the text of a child, made where it is missing.
void set_child(pugi::xml_node node, const char* name, const std::string& value) {
  pugi::xml_node child = node.child(name);
  if (!child) child = node.append_child(name);
  child.text().set(value.c_str());
}

/// VOC's pixel numbers of a box, in the order of kCornerNames.
std::array<double, 4> voc_corners(const Box& box) {
  return {box.x1 + 1.0, box.y1 + 1.0, box.x2, box.y2};
}
constexpr std::array kCornerNames = {"xmin", "ymin", "xmax", "ymax"};

void set_corners(pugi::xml_node object, const Box& box) {
  pugi::xml_node corners = object.child("bndbox");
  if (!corners) corners = object.append_child("bndbox");
  const std::array<double, 4> values = voc_corners(box);
  for (size_t i = 0; i < values.size(); ++i)
    set_child(corners, kCornerNames[i], fmt::format("{:.7g}", values[i]));
}

/// Corners pass through single precision.
bool differ(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (std::abs(a[i] - b[i]) > 0.01) return true;
  return false;
}

class Repairer {
 public:
  Repairer(const Diagnosis& d, VocCoordinates coordinates, fs::path out)
      : d_(d), coordinates_(coordinates), out_(std::move(out)), joined_(joined_classes(d.set)) {
    for (size_t k = 0; k < d.set.class_names.size(); ++k)
      labels_[d.set.class_names[k]] = joined_[k];
    for (const Finding& finding : d.findings) {
      if (finding.defect == Defect::exif_turned) turned_.insert(finding.file);
      if (finding.defect == Defect::size_mismatch) resized_.insert(finding.file);
      if (leaves_out(finding.defect))
        change(finding.defect, finding.file, finding.line, "left out: " + finding.message);
      if (finding.defect == Defect::split_leak || finding.defect == Defect::split_repeats ||
          finding.defect == Defect::annotation_missing) {
        if (finding.line > 0) dropped_lines_.insert({finding.file, finding.line});
        change(finding.defect, finding.file, finding.line, "line left out: " + finding.message);
      }
    }
    // A copy of a picture of another split is in no list any more: it is left out.
    std::set<std::string> still;
    for (const PictureList& list : d.lists)
      for (const SplitPicture& picture : list.pictures)
        (d.leaks.count({list.name, picture.path.string()}) != 0 ? unlisted_ : still)
            .insert(picture.path.string());
    for (const std::string& path : still) unlisted_.erase(path);
  }

  Repairs run() {
    for (const char* name : {"Annotations", "JPEGImages", "ImageSets/Main"})
      fs::create_directories(out_ / name);
    for (const ImageRecord& image : d_.set.images) add(image);
    check(!kept_.empty(), "{}: nothing is left of {} after the repair", out_.string(), d_.set.name);
    write_lists();
    std::string text;
    for (const std::string& line : repairs_.changes) text += line + "\n";
    write_file(out_ / "repairs.txt", text);
    return std::move(repairs_);
  }

 private:
  /// Defects whose picture or annotation is not in the copy.
  static bool leaves_out(Defect defect) {
    return defect == Defect::annotation_broken || defect == Defect::picture_missing ||
           defect == Defect::picture_unreadable || defect == Defect::picture_truncated ||
           defect == Defect::picture_unlabelled;
  }

  void change(Defect defect, const std::string& file, int line, const std::string& what) {
    const std::string place = line > 0 ? fmt::format("{}:{}", file, line) : file;
    repairs_.changes.push_back(place.empty() ? what : place + ": " + what);
    ++repairs_.counts[defect];
  }

  void add(const ImageRecord& image) {
    const PictureFacts& facts = d_.facts.at(image.path.string());
    if (!facts.error.empty() || !facts.whole || unlisted_.count(image.path.string()) != 0) return;
    std::string name = image.id + image.path.extension().string();
    if (promised_format(image.path) != facts.format) {
      name = image.id + std::string(extension_of(facts.format));
      change(Defect::picture_extension, image.path.string(), 0, "renamed to " + name);
    }
    const fs::path picture = out_ / "JPEGImages" / name;
    std::error_code error;
    fs::create_hard_link(fs::canonical(image.path), picture, error);
    if (error) fs::copy_file(image.path, picture);
    // The reader finds other names through <filename> alone.
    const bool named = name != image.path.filename().string();
    const bool voc = image.annotation.extension() == ".xml";
    const std::string text = voc ? edited(image, facts, name, named) : made(image, name);
    write_file(out_ / "Annotations" / (image.id + ".xml"), text);
    kept_.insert(image.id);
    ++repairs_.pictures;
  }

  std::string class_of(size_t label) const { return d_.set.class_names[joined_[label]]; }

  /// An annotation of its own for a picture of another format.
  std::string made(const ImageRecord& image, const std::string& name) {
    pugi::xml_document document;
    pugi::xml_node root = document.append_child("annotation");
    set_child(root, "filename", name);
    pugi::xml_node size = root.append_child("size");
    set_child(size, "width", std::to_string(image.width));
    set_child(size, "height", std::to_string(image.height));
    set_child(size, "depth", "3");
    std::set<std::pair<size_t, std::array<double, 4>>> seen;
    for (const Object& object : image.objects) {
      const std::string name_of_class = class_of(static_cast<size_t>(object.label));
      if (!seen.insert({joined_[static_cast<size_t>(object.label)], voc_corners(object.box)})
               .second) {
        change(Defect::box_duplicate, image.annotation.string(), object.line,
               fmt::format("'{}' removed: listed twice", name_of_class));
        continue;
      }
      pugi::xml_node node = root.append_child("object");
      set_child(node, "name", name_of_class);
      set_child(node, "truncated", object.truncated ? "1" : "0");
      // What must not be judged is what VOC calls difficult.
      set_child(node, "difficult", object.difficult || object.crowd ? "1" : "0");
      set_corners(node, object.box);
      ++repairs_.objects;
    }
    std::ostringstream out;
    document.save(out, "  ", pugi::format_indent | pugi::format_no_declaration);
    return out.str();
  }

  /// The text of a VOC annotation with its objects judged as the reader does.
  std::string edited(const ImageRecord& image, const PictureFacts& facts, const std::string& name,
                     bool named) {
    const std::string file = image.annotation.string(), text = read_text(image.annotation);
    const VocAnnotation annotation = read_voc_annotation(image.annotation);
    pugi::xml_document document;
    document.load_buffer(text.data(), text.size(), pugi::parse_full | pugi::parse_ws_pcdata);
    pugi::xml_node root = document.child("annotation");
    bool changed = named;
    if (named) set_child(root, "filename", name);
    VocFrame frame{coordinates_, image.width, image.height, {}};
    if (turned_.count(file) != 0) frame.stored = facts.info;
    if (turned_.count(file) + resized_.count(file) > 0) {
      pugi::xml_node size = root.child("size");
      set_child(size, "width", std::to_string(image.width));
      set_child(size, "height", std::to_string(image.height));
      const Defect why = frame.stored ? Defect::exif_turned : Defect::size_mismatch;
      change(why, file, annotation.size_line,
             fmt::format("size set to {}x{}", image.width, image.height));
      changed = true;
    }
    std::vector<pugi::xml_node> nodes;
    for (const pugi::xml_node node : root.children("object")) nodes.push_back(node);
    std::vector<bool> keep(nodes.size(), false), readable(nodes.size(), false);
    seen_.clear();
    for (const VocObject& object : annotation.objects) {
      const auto at = static_cast<size_t>(object.index);
      readable[at] = true;
      const auto [kept, edit] = repair(object, frame, file, nodes[at]);
      keep[at] = kept;
      changed = changed || edit || !kept;
      repairs_.objects += kept;
    }
    for (const Finding& error : annotation.errors)
      change(error.defect, file, error.line, "object removed: " + error.message);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (keep[i]) continue;
      root.remove_child(nodes[i]);
      changed = true;
    }
    return changed ? text_of(document) : text;
  }

  struct Repaired {
    bool keep, edit;
  };

  /// Whether an object stays, and whether its node was changed.
  Repaired repair(const VocObject& object, const VocFrame& frame, const std::string& file,
                  pugi::xml_node node) {
    const auto other = d_.rename.find(object.name);
    const std::string& own = other == d_.rename.end() ? object.name : other->second;
    const auto label = labels_.find(own);
    if (label == labels_.end()) {
      change(Defect::class_unknown, file, object.line,
             corners_text(object) + " removed: its class is not in the list");
      return {false, false};
    }
    const VocVerdict verdict = judge_object(object, frame);
    if (!verdict.box) {
      const Finding& why = verdict.findings.back();
      change(why.defect, file, object.line, "removed: " + why.message);
      return {false, false};
    }
    const std::array<double, 4> corners = voc_corners(*verdict.box);
    if (!seen_.insert({label->second, corners}).second) {
      change(Defect::box_duplicate, file, object.line,
             corners_text(object) + " removed: listed twice");
      return {false, false};
    }
    Repaired done{true, false};
    const std::string& name = d_.set.class_names[label->second];
    if (name != object.name) {
      set_child(node, "name", name);
      change(name == own ? Defect::other : Defect::class_similar, file, object.line,
             fmt::format("'{}' renamed to '{}'", object.name, name));
      done.edit = true;
    }
    for (const Finding& finding : verdict.findings)
      change(finding.defect, file, object.line,
             fmt::format("{} now ({:.7g}, {:.7g}, {:.7g}, {:.7g})", corners_text(object),
                         corners[0], corners[1], corners[2], corners[3]));
    if (differ(corners, object.corners)) {
      set_corners(node, *verdict.box);
      done.edit = true;
    }
    return done;
  }

  /// The lists without lines that are at fault or whose picture is not in the copy.
  void write_lists() {
    std::error_code none;
    if (!fs::is_directory(d_.set.root / "ImageSets/Main", none)) return write_other_lists();
    const std::vector<std::string> names = voc_splits(d_.set.root);
    std::set<std::string> examined, listed;
    for (const PictureList& list : d_.lists) examined.insert(list.name);
    // Unions of others come last: trainval holds what train and val still do.
    for (const bool joined : {false, true}) {
      for (const std::string& name : names) {
        if ((examined.count(name) == 0) != joined) continue;
        std::string lines;
        std::set<std::string> seen;
        for (const SplitEntry& entry : read_split(d_.set.root, name)) {
          const bool gone = name == "trainval" && joined && listed.count(entry.id) == 0;
          if (kept_.count(entry.id) == 0 || gone ||
              dropped_lines_.count({entry.file.string(), entry.line}) != 0 ||
              !seen.insert(entry.id).second)
            continue;
          lines += entry.id + "\n";
          if (!joined && name.find("test") == std::string::npos) listed.insert(entry.id);
        }
        if (!lines.empty()) write_file(out_ / "ImageSets/Main" / (name + ".txt"), lines);
      }
    }
  }

  /// Lists of sets of other formats.
  void write_other_lists() {
    std::map<std::string, std::string> ids;
    for (const ImageRecord& image : d_.set.images) ids[image.path.string()] = image.id;
    for (const PictureList& list : d_.lists) {
      std::string lines;
      for (const SplitPicture& picture : list.pictures) {
        const auto id = ids.find(picture.path.string());
        if (id != ids.end() && kept_.count(id->second) != 0 &&
            d_.leaks.count({list.name, picture.path.string()}) == 0)
          lines += id->second + "\n";
      }
      if (!lines.empty()) write_file(out_ / "ImageSets/Main" / (list.name + ".txt"), lines);
    }
  }

  const Diagnosis& d_;
  VocCoordinates coordinates_;
  fs::path out_;
  std::vector<size_t> joined_;
  std::map<std::string, size_t> labels_;
  std::set<std::string> turned_, resized_, kept_, unlisted_;
  std::set<std::pair<std::string, int>> dropped_lines_;
  std::set<std::pair<size_t, std::array<double, 4>>> seen_;  // of one picture
  Repairs repairs_;
};

}  // namespace

Repairs write_repaired(const Diagnosis& diagnosis, VocCoordinates coordinates,
                       const fs::path& out) {
  fs::path target = out.lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // a slash at the end
  std::error_code ignored;
  check(
      !fs::exists(fs::symlink_status(target, ignored)),
      "{}: expected a folder that does not exist yet, found one; choose another name or remove it",
      target.string());
  const fs::path temporary = fmt::format("{}.{}.tmp", target.string(), ::getpid());
  try {
    Repairs repairs = Repairer(diagnosis, coordinates, temporary).run();
    fs::rename(temporary, target);
    return repairs;
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(temporary, ignored);
    fail("{}: cannot be written: {}", target.string(), error.code().message());
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace frcnn
