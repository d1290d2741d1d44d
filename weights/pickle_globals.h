#pragma once

#include <string>
#include <vector>

#include "weights/pickle.h"

namespace frcnn::pickle {

/// The only names of Python that a pickle may use here, and what calling them makes of the values.
/// Each is a few lines of this program; none is Python's.
class Globals {
 public:
  Globals(Document& document, const std::string& where) : document_(document), where_(where) {}

  /// A value of kind `global`; refuse() for a name that is not on the list.
  Value named(const std::string& module, const std::string& name) const;
  /// The value of `function`(*arguments).
  Value call(Id function, Id arguments) const;
  /// A storage, which torch.save() keeps outside the pickle.
  Value persistent(Id description) const;
  /// Throws Error that names what was refused and says what to do.
  [[noreturn]] void refuse(const std::string& module, const std::string& name) const;

 private:
  const Value& argument(const Value& arguments, size_t index, Kind kind) const;
  std::vector<int64_t> integers(const Value& tuple) const;
  Value rebuilt_tensor(const std::string& function, const Value& arguments) const;
  Value pairs_to_dict(const Value& pairs) const;

  Document& document_;
  const std::string& where_;
};

}  // namespace frcnn::pickle
