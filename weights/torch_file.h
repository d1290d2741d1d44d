#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weights/byte_source.h"
#include "weights/pickle.h"
#include "weights/stored_array.h"
#include "weights/weight_file.h"

namespace frcnn {

/// What both formats of torch.save() share: a pickle that names tensors, whose numbers lie in
/// storages elsewhere in the file.
///
/// Dictionaries and lists inside each other are joined with '.': {"layer": {"weight": ...}} is
/// "layer.weight". A checkpoint of a training run holds more than weights; when its outermost
/// dictionary has an entry "state_dict", "model_state_dict", "model", "net" or "weights" (looked
/// for in this order) that is a dictionary with tensors, only the tensors of that one are listed,
/// named without the key, and metadata()["weights_from"] tells the key, "left_out" the other keys
/// that hold tensors. Texts, numbers and truth values anywhere in dictionaries go to metadata().
class TorchFile : public StoredArrayFile {
 protected:
  TorchFile(std::filesystem::path path, std::string format)
      : StoredArrayFile(std::move(path), std::move(format), WeightOrder::torch) {}

  /// Lists the tensors of a document. To be called once, after source_of() can answer.
  void list(const pickle::Document& document, bool big_endian);
  /// Where the numbers of a storage lie; Error when there are none.
  virtual const ByteSource& source_of(const pickle::StorageInfo& storage, size_t element_size) = 0;
};

}  // namespace frcnn
