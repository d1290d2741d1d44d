#include "data/writers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

/// Gives every picture a name in the folder it is written to, and puts it there.
class Pictures {
 public:
  explicit Pictures(PictureMode mode) : mode_(mode) {}

  /// The file name of an image below `folder`; the same picture keeps its name there.
  std::string place(const ImageRecord& image, const fs::path& folder) {
    const auto key = std::pair(folder, image.path);
    if (const auto found = names_.find(key); found != names_.end()) return found->second;
    const std::string extension = image.path.extension().string();
    // Label files are told apart by the name without extension.
    std::string stem = image.id;
    std::replace(stem.begin(), stem.end(), '/', '_');
    for (int k = 2; !stems_.insert({folder, stem}).second; ++k)
      stem = fmt::format("{}-{}", image.id, k);
    const std::string name = stem + extension;
    put(image.path, folder / name);
    return names_[key] = name;
  }

 private:
  void put(const fs::path& from, const fs::path& to) const {
    if (mode_ == PictureMode::none) return;
    std::error_code error;
    if (mode_ == PictureMode::link)
      fs::create_symlink(fs::absolute(from).lexically_normal(), to, error);
    else
      fs::copy_file(from, to, error);
    check(!error, "{}: cannot be {} to {}: {}", from.string(),
          mode_ == PictureMode::link ? "linked" : "copied", to.string(), error.message());
  }

  PictureMode mode_;
  std::map<std::pair<fs::path, fs::path>, std::string> names_;
  std::set<std::pair<fs::path, std::string>> stems_;
};

std::string stem_of(const std::string& name) {
  return fs::path(name).stem().string();
}

const std::string& class_of(const Dataset& set, const Object& object) {
  return set.class_names.at(static_cast<size_t>(object.label));
}

double area_of(const Object& object) {
  return (double{object.box.x2} - object.box.x1) * (double{object.box.y2} - object.box.y1);
}

bool has_mask_area(const Object& object) {
  return object.area >= 0 && object.area != area_of(object);
}

// ---- PASCAL VOC

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string voc_text(const Dataset& set, const ImageRecord& image, const std::string& file_name) {
  std::string text = fmt::format(
      "<annotation>\n  <filename>{}</filename>\n  <size>\n    <width>{}</width>\n    "
      "<height>{}</height>\n    <depth>3</depth>\n  </size>\n  <segmented>0</segmented>\n",
      escaped(file_name), image.width, image.height);
  for (const Object& o : image.objects) {
    std::string more;
    if (o.crowd) more += "    <crowd>1</crowd>\n";
    if (has_mask_area(o)) more += fmt::format("    <area>{}</area>\n", o.area);
    text += fmt::format(
        "  <object>\n    <name>{}</name>\n    <pose>Unspecified</pose>\n    "
        "<truncated>{:d}</truncated>\n    <difficult>{:d}</difficult>\n{}    <bndbox>\n      "
        "<xmin>{}</xmin>\n      <ymin>{}</ymin>\n      <xmax>{}</xmax>\n      <ymax>{}</ymax>\n    "
        "</bndbox>\n  </object>\n",
        escaped(class_of(set, o)), o.truncated, o.difficult, more, double{o.box.x1} + 1,
        double{o.box.y1} + 1, double{o.box.x2}, double{o.box.y2});
  }
  return text + "</annotation>\n";
}

void write_voc(const fs::path& folder, const std::vector<NamedSplit>& splits, Pictures& pictures) {
  for (const char* name : {"Annotations", "JPEGImages", "ImageSets/Main"})
    fs::create_directories(folder / name);
  for (const NamedSplit& split : splits) {
    std::string list;
    for (const ImageRecord& image : split.set.images) {
      const std::string name = pictures.place(image, folder / "JPEGImages");
      write_file(folder / "Annotations" / (stem_of(name) + ".xml"),
                 voc_text(split.set, image, name));
      list += stem_of(name) + "\n";
    }
    // "all" is every annotation, which needs no list.
    if (split.name != "all" || splits.size() > 1)
      write_file(folder / "ImageSets/Main" / (split.name + ".txt"), list);
  }
}

// ---- COCO

std::string quoted(const std::string& text) {
  using nlohmann::json;
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// The pictures' own numbers where they have distinct ones, otherwise 1, 2, ...
std::vector<int64_t> image_numbers(const Dataset& set) {
  std::vector<int64_t> numbers;
  std::set<int64_t> seen;
  for (const ImageRecord& image : set.images) {
    numbers.push_back(image.number);
    if (image.number < 0 || !seen.insert(image.number).second) break;
  }
  if (seen.size() == set.images.size()) return numbers;
  numbers.resize(set.images.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i) + 1;
  return numbers;
}

void write_coco(const fs::path& folder, const std::vector<NamedSplit>& splits, Pictures& pictures) {
  fs::create_directories(folder / "annotations");
  for (const NamedSplit& split : splits) {
    fs::create_directories(folder / split.name);
    std::vector<std::string> names;
    for (const ImageRecord& image : split.set.images)
      names.push_back(pictures.place(image, folder / split.name));
    write_file(folder / "annotations" / ("instances_" + split.name + ".json"),
               coco_text(split.set, names));
  }
}

// ---- YOLO

void write_yolo(const fs::path& folder, const std::vector<NamedSplit>& splits, Pictures& pictures) {
  std::string yaml;
  for (const NamedSplit& split : splits) {
    const fs::path images = folder / "images" / split.name, labels = folder / "labels" / split.name;
    fs::create_directories(images);
    fs::create_directories(labels);
    // Readers know the names train, val and test; a set of one split is for training.
    const bool known = split.name == "train" || split.name == "val" || split.name == "test";
    if (known || splits.size() == 1)
      yaml += fmt::format("{}: images/{}\n", known ? split.name : "train", split.name);
    for (const ImageRecord& image : split.set.images) {
      std::string text;
      for (const Object& o : image.objects) {
        if (o.crowd) continue;
        const double w = image.width, h = image.height;
        text += fmt::format("{} {} {} {} {}\n", o.label, (double{o.box.x1} + o.box.x2) / 2 / w,
                            (double{o.box.y1} + o.box.y2) / 2 / h,
                            (double{o.box.x2} - o.box.x1) / w, (double{o.box.y2} - o.box.y1) / h);
      }
      write_file(labels / (stem_of(pictures.place(image, images)) + ".txt"), text);
    }
  }
  check(!yaml.empty(), "[write_dataset] YOLO sets need a split train, val or test, found {}",
        splits.front().name);
  const auto& names = splits.front().set.class_names;
  yaml += fmt::format("nc: {}\nnames:\n", names.size());
  for (size_t i = 0; i < names.size(); ++i) yaml += fmt::format("  {}: {}\n", i, quoted(names[i]));
  write_file(folder / "data.yaml", yaml);
}

// ---- CSV

std::string csv_field(const std::string& text) {
  const bool plain = text.find_first_of(",\"\n\r") == std::string::npos &&
                     (text.empty() || (text.front() != ' ' && text.back() != ' '));
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

void write_csv(const fs::path& folder, const std::vector<NamedSplit>& splits, Pictures& pictures,
               PictureMode mode) {
  fs::create_directories(folder / "images");
  for (const NamedSplit& split : splits) {
    std::string text =
        "path,xmin,ymin,xmax,ymax,class,width,height,difficult,truncated,crowd,area\n";
    for (const ImageRecord& image : split.set.images) {
      const std::string name = pictures.place(image, folder / "images");
      const std::string path =
          csv_field(mode == PictureMode::none ? fs::absolute(image.path).lexically_normal().string()
                                              : "images/" + name);
      if (image.objects.empty())
        text += fmt::format("{},,,,,,{},{},,,,\n", path, image.width, image.height);
      for (const Object& o : image.objects)
        text += fmt::format("{},{},{},{},{},{},{},{},{:d},{:d},{:d},{}\n", path, o.box.x1, o.box.y1,
                            o.box.x2, o.box.y2, csv_field(class_of(split.set, o)), image.width,
                            image.height, o.difficult, o.truncated, o.crowd,
                            o.area < 0 ? "" : fmt::format("{}", o.area));
    }
    write_file(folder / (split.name + ".csv"), text);
  }
  if (mode == PictureMode::none) fs::remove(folder / "images");
}

// ---- all

std::vector<std::string> losses_of(DatasetFormat format, const std::vector<NamedSplit>& splits) {
  if (format != DatasetFormat::yolo) return {};
  int64_t crowds = 0, flags = 0;
  std::string unnamed;
  for (const NamedSplit& split : splits) {
    if (splits.size() > 1 && split.name != "train" && split.name != "val" && split.name != "test")
      unnamed += (unnamed.empty() ? "" : ", ") + split.name;
    for (const ImageRecord& image : split.set.images)
      for (const Object& o : image.objects) {
        crowds += o.crowd;
        flags += !o.crowd && (o.difficult || o.truncated);
      }
  }
  std::vector<std::string> losses;
  if (crowds > 0)
    losses.push_back(
        fmt::format("{} crowd regions are left out: YOLO has no mark for them", crowds));
  if (flags > 0)
    losses.push_back(fmt::format("{} objects lose the marks difficult or truncated", flags));
  if (!unnamed.empty())
    losses.push_back(fmt::format("data.yaml does not name the splits {}", unnamed));
  return losses;
}

void check_splits(const std::vector<NamedSplit>& splits) {
  check(!splits.empty(), "[write_dataset] expected splits, got none");
  std::set<std::string> names;
  for (const NamedSplit& split : splits) {
    const std::string& name = split.name;
    check(!name.empty() && name.find('/') == std::string::npos && name.front() != '.',
          "[write_dataset] expected a split name that can be a file name, got '{}'", name);
    check(names.insert(name).second, "[write_dataset] split '{}' is given twice", name);
    check(split.set.class_names == splits.front().set.class_names,
          "[write_dataset] splits '{}' and '{}' have different classes", splits.front().name, name);
  }
}

}  // namespace

std::string coco_text(const Dataset& set, const std::vector<std::string>& file_names) {
  const std::vector<int64_t> numbers = image_numbers(set);
  std::string text = "{\"info\": {},\n\"images\": [";
  for (size_t i = 0; i < set.images.size(); ++i)
    text += fmt::format("{}\n{{\"id\": {}, \"file_name\": {}, \"width\": {}, \"height\": {}}}",
                        i == 0 ? "" : ",", numbers[i], quoted(file_names.at(i)),
                        set.images[i].width, set.images[i].height);
  text += "],\n\"annotations\": [";
  int64_t id = 0;
  for (size_t i = 0; i < set.images.size(); ++i)
    for (const Object& o : set.images[i].objects) {
      const auto label = static_cast<size_t>(o.label);
      text += fmt::format(
          "{}\n{{\"id\": {}, \"image_id\": {}, \"category_id\": {}, \"bbox\": [{}, {}, {}, {}], "
          "\"area\": {}, \"iscrowd\": {:d}{}{}}}",
          id == 0 ? "" : ",", id + 1, numbers[i],
          set.category_ids.empty() ? o.label + 1 : set.category_ids.at(label), o.box.x1, o.box.y1,
          double{o.box.x2} - o.box.x1, double{o.box.y2} - o.box.y1,
          o.area < 0 ? area_of(o) : o.area, o.crowd, o.difficult ? ", \"ignore\": 1" : "",
          o.truncated ? ", \"truncated\": 1" : "");
      ++id;
    }
  text += "],\n\"categories\": [";
  for (size_t k = 0; k < set.class_names.size(); ++k)
    text +=
        fmt::format("{}\n{{\"id\": {}, \"name\": {}}}", k == 0 ? "" : ",",
                    set.category_ids.empty() ? static_cast<int64_t>(k) + 1 : set.category_ids[k],
                    quoted(set.class_names[k]));
  return text + "]}\n";
}

std::vector<std::string> write_dataset(const fs::path& folder, DatasetFormat format,
                                       const std::vector<NamedSplit>& splits, PictureMode mode) {
  check_splits(splits);
  write_folder(folder, [&](const fs::path& temporary) {
    Pictures pictures(mode);
    if (format == DatasetFormat::voc) write_voc(temporary, splits, pictures);
    if (format == DatasetFormat::coco) write_coco(temporary, splits, pictures);
    if (format == DatasetFormat::yolo) write_yolo(temporary, splits, pictures);
    if (format == DatasetFormat::csv) write_csv(temporary, splits, pictures, mode);
  });
  return losses_of(format, splits);
}

}  // namespace frcnn
