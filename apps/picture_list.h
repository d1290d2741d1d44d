#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace frcnn::apps {

/// Pictures and videos that a user names: files, folders (their pictures, sorted; with `recursive`
/// those of folders below too), patterns in quotes ("holiday/*.png"), and "-" for a list of files
/// in `list`, one per line. Each file once, in the order given. Throws Error naming an argument
/// that stands for nothing, and the line of a list.
std::vector<std::filesystem::path> find_pictures(const std::vector<std::string>& arguments,
                                                 bool recursive, std::istream& list);

/// True for the usual extensions of video files (.mp4 .mkv .avi .mov .webm ...).
bool has_video_extension(const std::filesystem::path& path);

/// Names of results: each file's own without folder and extension, with a number where two share
/// it ("cat", "cat-2").
std::vector<std::string> result_names(const std::vector<std::filesystem::path>& files);

}  // namespace frcnn::apps
