#pragma once

#include <string>
#include <vector>

#include "apps/bench/measure.h"

namespace frcnn::apps::bench {

/// One line of `frcnn bench kernels`: a pass of a version on a case.
struct Row {
  std::string op, label, pass, version, arithmetic;
  Timing time;
  double flops = 0, bytes = 0;
  double share = 0;          ///< of what the ceilings allow; 0: unknown
  double library = 0;        ///< the library's time / this one: above 1 is faster than it
  std::string library_name;  ///< which version that is
  double saved = 0;          ///< the saved run's time / this one
  std::string refused;       ///< why the version did not run; nothing else is set then

  bool is_library() const { return version.starts_with("cud") || version.starts_with("cublas"); }
};

/// Fills `library`: beside each own version the fastest of the libraries' with the same arithmetic
/// on the same case and pass.
void compare_with_libraries(std::vector<Row>& rows);

/// Fills `saved` from a file that `--save` wrote. Throws Error when it is none.
void compare_with_saved(std::vector<Row>& rows, const std::string& file);

/// The rows with the ceilings and the device as one line of JSON.
std::string rows_json(const std::vector<Row>& rows, ops::Device device, const Ceilings& ceilings);

/// Heading and line of the table.
std::string table_head();
std::string table_line(const Row& row);

/// Roofline (Williams et al., CACM 2009) of the rows as an SVG file of its own: FLOP/s over FLOP
/// per byte, both axes logarithmic, with the device's ceilings.
std::string roofline_svg(const std::vector<Row>& rows, const Ceilings& ceilings,
                         const std::string& title);

}  // namespace frcnn::apps::bench
