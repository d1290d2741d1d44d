#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/stored_array.h"

namespace frcnn {
namespace {

using google::protobuf::internal::WireFormatLite;

// Numbers of the fields of caffe.proto that are read.
namespace net_field {
constexpr int kName = 1, kLayersV1 = 2, kLayer = 100;
}
namespace layer_field {
constexpr int kName = 1, kType = 2, kBlobs = 7;
}
namespace layer_v1_field {
constexpr int kLayerV0 = 1, kName = 4, kType = 5, kBlobs = 6;
}
namespace blob_field {
constexpr int kNum = 1, kWidth = 4, kData = 5, kShape = 7, kDoubleData = 8;
}
namespace shape_field {
constexpr int kDim = 1;
}
// LayerType of version 1 layers.
constexpr uint32_t kV1Convolution = 4, kV1InnerProduct = 14, kV1Deconvolution = 39;

/// Where the numbers of a blob lie.
struct Blob {
  StoredType type = StoredType::f32;
  uint64_t begin = 0, bytes = 0;
  bool has_data = false, has_shape = false;
  std::vector<int64_t> shape;
  std::array<int64_t, 4> legacy = {0, 0, 0, 0};  ///< num, channels, height, width
  bool has_legacy = false;
};

struct Layer {
  std::string name;
  bool dense = false;        ///< InnerProduct
  bool convolution = false;  ///< or its transpose
  std::vector<Blob> blobs;
};

/// Walks the wire format of protocol buffers and skips over the numbers: a file of 550 MB is listed
/// by reading some kilobytes of it.
class Walker {
 public:
  explicit Walker(const RawFile& file)
      : file_(file), where_(file.path().string()), raw_(file.descriptor()), in_(&raw_) {
    check(file.size() <= std::numeric_limits<int>::max(),
          "{}: {} bytes; a Caffe model has at most 2 GiB", where_, file.size());
    in_.SetTotalBytesLimit(std::numeric_limits<int>::max());
  }

  std::string net_name;
  std::vector<Layer> layers;

  void walk() {
    while (position() < file_.size()) {
      const uint32_t tag = read_tag();
      switch (WireFormatLite::GetTagFieldNumber(tag)) {
        case net_field::kName:
          net_name = text(tag);
          break;
        case net_field::kLayersV1:
          message(tag, [&] { layer_v1(); });
          break;
        case net_field::kLayer:
          message(tag, [&] { layer(); });
          break;
        default:
          skip(tag);
      }
    }
  }

 private:
  uint64_t position() const { return static_cast<uint64_t>(in_.CurrentPosition()); }

  [[noreturn]] void malformed() const {
    fail("{}: not a Caffe model, or one that is damaged or cut short (at byte {} of {})", where_,
         position(), file_.size());
  }

  uint32_t read_tag() {
    const uint32_t tag = in_.ReadTag();
    if (tag == 0 || WireFormatLite::GetTagFieldNumber(tag) == 0) malformed();
    return tag;
  }

  /// The length of a field, which must lie inside what surrounds it.
  int length(uint32_t tag) {
    uint32_t bytes = 0;
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED ||
        !in_.ReadVarint32(&bytes) || bytes > end_ - std::min(end_, position()))
      malformed();
    return static_cast<int>(bytes);
  }

  template <typename Fields>
  void message(uint32_t tag, Fields&& fields) {
    const int bytes = length(tag);
    const uint64_t outer = end_;
    end_ = position() + static_cast<uint64_t>(bytes);
    fields();
    if (position() != end_) malformed();
    end_ = outer;
  }

  /// Calls field(number, tag) for each field up to the end of the message.
  template <typename Field>
  void fields(Field&& field) {
    while (position() < end_) {
      const uint32_t tag = read_tag();
      field(WireFormatLite::GetTagFieldNumber(tag), tag);
    }
  }

  std::string text(uint32_t tag) {
    constexpr int kLongest = 65536;
    const int bytes = length(tag);
    std::string out;
    if (bytes > kLongest || !in_.ReadString(&out, bytes)) malformed();
    return out;
  }

  uint64_t number(uint32_t tag) {
    uint64_t value = 0;
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_VARINT ||
        !in_.ReadVarint64(&value))
      malformed();
    return value;
  }

  void skip(uint32_t tag) {
    // Only what the library skips without descending: groups could lie inside each other forever.
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        skip_bytes(length(tag));
        break;
      case WireFormatLite::WIRETYPE_VARINT:
        number(tag);
        break;
      case WireFormatLite::WIRETYPE_FIXED32:
        skip_bytes(4);
        break;
      case WireFormatLite::WIRETYPE_FIXED64:
        skip_bytes(8);
        break;
      default:
        malformed();
    }
  }
  void skip_bytes(int bytes) {
    if (!in_.Skip(bytes)) malformed();
  }

  void layer() {
    Layer out;
    fields([&](int field, uint32_t tag) {
      if (field == layer_field::kName) {
        out.name = text(tag);
      } else if (field == layer_field::kType) {
        const std::string type = text(tag);
        out.dense = type == "InnerProduct";
        out.convolution = type == "Convolution" || type == "Deconvolution";
      } else if (field == layer_field::kBlobs) {
        message(tag, [&] { blob(out); });
      } else {
        skip(tag);
      }
    });
    keep(std::move(out));
  }

  void layer_v1() {
    Layer out;
    fields([&](int field, uint32_t tag) {
      check(field != layer_v1_field::kLayerV0,
            "{}: a model of Caffe's first format (2013); convert it with Caffe's "
            "upgrade_net_proto_binary",
            where_);
      if (field == layer_v1_field::kName) {
        out.name = text(tag);
      } else if (field == layer_v1_field::kType) {
        const uint64_t type = number(tag);
        out.dense = type == kV1InnerProduct;
        out.convolution = type == kV1Convolution || type == kV1Deconvolution;
      } else if (field == layer_v1_field::kBlobs) {
        message(tag, [&] { blob(out); });
      } else {
        skip(tag);
      }
    });
    keep(std::move(out));
  }

  void keep(Layer layer) {
    if (!layer.blobs.empty()) layers.push_back(std::move(layer));
  }

  void blob(Layer& layer) {
    constexpr size_t kMostBlobs = 1 << 16;
    check(++blobs_ <= kMostBlobs, "{}: more than {} arrays", where_, kMostBlobs);
    Blob out;
    fields([&](int field, uint32_t tag) {
      if (field >= blob_field::kNum && field <= blob_field::kWidth) {
        out.legacy[static_cast<size_t>(field - blob_field::kNum)] =
            static_cast<int64_t>(number(tag));
        out.has_legacy = true;
      } else if (field == blob_field::kShape) {
        message(tag, [&] { shape(out); });
      } else if (field == blob_field::kData || field == blob_field::kDoubleData) {
        numbers(out, field, tag, layer.name);
      } else {
        skip(tag);
      }
    });
    layer.blobs.push_back(std::move(out));
  }

  void numbers(Blob& out, int field, uint32_t tag, const std::string& layer) {
    check(WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED &&
              !out.has_data,
          "{}: layer \"{}\": numbers that do not lie in one piece", where_, layer);
    const int bytes = length(tag);
    out.has_data = true;
    out.type = field == blob_field::kData ? StoredType::f32 : StoredType::f64;
    out.begin = position();
    out.bytes = static_cast<uint64_t>(bytes);
    skip_bytes(bytes);
  }

  void shape(Blob& out) {
    out.has_shape = true;
    fields([&](int field, uint32_t tag) {
      if (field != shape_field::kDim) {
        skip(tag);
      } else if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_VARINT) {
        dimension(out, tag);
      } else {  // packed
        const uint32_t plain = WireFormatLite::MakeTag(1, WireFormatLite::WIRETYPE_VARINT);
        message(tag, [&] {
          while (position() < end_) dimension(out, plain);
        });
      }
    });
  }

  void dimension(Blob& out, uint32_t tag) {
    check(out.shape.size() < 32, "{}: an array of more than 32 dimensions", where_);
    out.shape.push_back(static_cast<int64_t>(number(tag)));
  }

  const RawFile& file_;
  const std::string where_;
  google::protobuf::io::FileInputStream raw_;
  google::protobuf::io::CodedInputStream in_;
  uint64_t end_ = file_.size();  ///< of the message that is being read
  size_t blobs_ = 0;
};

class CaffeFile final : public StoredArrayFile {
 public:
  explicit CaffeFile(const std::filesystem::path& file)
      : StoredArrayFile(file, "Caffe", WeightOrder::torch), file_(file) {
    Walker walker(file_);
    walker.walk();
    check(!walker.layers.empty(), "{}: no layer of this Caffe model has weights", file.string());
    if (!walker.net_name.empty()) metadata_["name"] = walker.net_name;
    for (const Layer& layer : walker.layers)
      for (size_t i = 0; i < layer.blobs.size(); ++i) keep(layer, i);
  }

 private:
  /// Before Caffe's blobs had shapes all had four sizes: a dense layer's matrix is (1, 1, outputs,
  /// inputs), a bias (1, 1, 1, size). They get the sizes that newer files give them.
  static std::vector<int64_t> shape_of(const Layer& layer, size_t index) {
    const Blob& blob = layer.blobs[index];
    if (blob.has_shape || !blob.has_legacy) return blob.shape;
    const std::vector<int64_t> all(blob.legacy.begin(), blob.legacy.end());
    if (layer.convolution && index == 0) return all;
    const size_t wanted = layer.dense && index == 0 ? 2 : 1;
    size_t leading = 0;
    while (leading < all.size() - wanted && all[leading] == 1) ++leading;
    return {all.begin() + static_cast<ptrdiff_t>(leading), all.end()};
  }

  void keep(const Layer& layer, size_t index) {
    const std::string part = index == 0 ? "weight" : index == 1 ? "bias" : std::to_string(index);
    const std::string name = layer.name + "/" + part;
    const Blob& blob = layer.blobs[index];
    StoredArray array;
    array.type = blob.type;
    array.shape = Shape(shape_of(layer, index));
    array.begin = blob.begin;
    array.strides = row_major_strides(array.shape);
    add_array(name, array, file_);
    const uint64_t bytes = static_cast<uint64_t>(array.shape.numel()) * size_of(array.type);
    check(bytes == blob.bytes, "{}: array \"{}\" of shape {} takes {} bytes, but has {}",
          path().string(), name, array.shape.string(), bytes, blob.bytes);
  }

  RawFile file_;
};

}  // namespace

std::unique_ptr<WeightFile> open_caffe(const std::filesystem::path& file) {
  return std::make_unique<CaffeFile>(file);
}

}  // namespace frcnn
