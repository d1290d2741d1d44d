#include "weights/onnx/onnx_proto.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <onnx/onnx_pb.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>

#include "kernels/launch/check.h"
#include "weights/onnx/onnx_graph.h"

namespace frcnn::onnx_proto {
namespace {

namespace fs = std::filesystem;
namespace io = google::protobuf::io;
using Proto = onnx::TensorProto;

static_assert(std::endian::native == std::endian::little, "ONNX stores numbers in this order");

constexpr int kMostDimensions = 8;

/// Messages within messages: subgraphs of subgraphs. A hostile file nests without end.
constexpr int kMostNesting = 64;

Model parse(io::ZeroCopyInputStream& stream, const std::string& name) {
  // The library's own complaints would go to stderr.
  const google::protobuf::LogSilencer silence;
  Model model(new onnx::ModelProto);
  io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(std::numeric_limits<int>::max());
  coded.SetRecursionLimit(kMostNesting);
  const bool parsed = model->ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage();
  check(parsed, "{}: is cut short, damaged or not an ONNX file", name);
  check(model->has_graph(), "{}: holds no graph, so it is not an ONNX network", name);
  return model;
}

StoredType type_of(const Proto& proto, const std::string& what) {
  switch (proto.data_type()) {
    case Proto::FLOAT:
      return StoredType::f32;
    case Proto::DOUBLE:
      return StoredType::f64;
    case Proto::FLOAT16:
      return StoredType::f16;
    case Proto::BFLOAT16:
      return StoredType::bf16;
    case Proto::INT64:
      return StoredType::i64;
    case Proto::INT32:
      return StoredType::i32;
    case Proto::INT16:
      return StoredType::i16;
    case Proto::INT8:
      return StoredType::i8;
    case Proto::UINT8:
      return StoredType::u8;
    case Proto::BOOL:
      return StoredType::boolean;
    default:
      break;
  }
  const std::string name = onnx::TensorProto_DataType_IsValid(proto.data_type())
                               ? onnx::TensorProto_DataType_Name(
                                     static_cast<onnx::TensorProto_DataType>(proto.data_type()))
                               : fmt::format("number {}", proto.data_type());
  fail("{} has the element type {}, which is not supported; export the network in float32", what,
       name);
}

Shape shape_of(const Proto& proto, const std::string& what) {
  check(proto.dims_size() <= kMostDimensions, "{} has {} dimensions, at most {} are supported",
        what, proto.dims_size(), kMostDimensions);
  int64_t elements = 1;
  for (const int64_t size : proto.dims()) {
    check(size >= 0, "{} has the size {} in its shape", what, size);
    check(size == 0 || elements <= std::numeric_limits<int64_t>::max() / 8 / size,
          "{} has more elements than any memory holds", what);
    elements *= size;
  }
  return Shape(std::vector<int64_t>(proto.dims().begin(), proto.dims().end()));
}

float from_half(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u, mantissa = half & 1023u;
  if (exponent == 0) {  // zero and numbers too small for an exponent: mantissa * 2^-24
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

float from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t(bits) << 16);
}

/// Calls body(stored type, how one is converted).
template <typename Body>
void with_stored_type(StoredType type, const Body& body) {
  const auto same = [](auto value) { return value; };
  switch (type) {
    case StoredType::f64:
      return body(double{}, same);
    case StoredType::f32:
      return body(float{}, same);
    case StoredType::f16:
      return body(uint16_t{}, from_half);
    case StoredType::bf16:
      return body(uint16_t{}, from_bfloat16);
    case StoredType::i64:
      return body(int64_t{}, same);
    case StoredType::i32:
      return body(int32_t{}, same);
    case StoredType::i16:
      return body(int16_t{}, same);
    case StoredType::i8:
      return body(int8_t{}, same);
    case StoredType::u8:
      return body(uint8_t{}, same);
    case StoredType::boolean:
      return body(uint8_t{}, [](uint8_t value) { return uint8_t{value != 0}; });
  }
}

/// Number of an external_data entry.
uint64_t number_of(const std::string& text, const std::string& key, const std::string& what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size(),
        "{}: external_data has {} = \"{}\", expected a number", what, key, text);
  return value;
}

}  // namespace

void DeleteModel::operator()(const onnx::ModelProto* model) const {
  delete model;
}

Model read_model(const fs::path& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(file, error);
  check(!error, "{}: cannot be read: {}", file.string(), error.message());
  check(size <= kMostOnnxBytes,
        "{}: has {} bytes, an ONNX file has at most {}; export the weights as external data",
        file.string(), size, kMostOnnxBytes);
  std::ifstream in(file, std::ios::binary);
  check(in.is_open(), "{}: cannot be opened", file.string());
  io::IstreamInputStream stream(&in);
  return parse(stream, file.string());
}

Model parse_model(std::string_view bytes, const std::string& name) {
  check(bytes.size() <= kMostOnnxBytes, "{}: is larger than an ONNX file can be", name);
  io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  return parse(stream, name);
}

Array::Array(const Proto& proto, const fs::path& file, bool external)
    : proto_(&proto), what_(fmt::format("{}: array \"{}\"", file.string(), proto.name())) {
  check(!proto.has_segment(), "{} is stored in segments, which is not supported", what_);
  type_ = type_of(proto, what_);
  shape_ = shape_of(proto, what_);
  if (proto.data_location() == Proto::EXTERNAL) {
    check(external, "{} lies in another file, which cannot be read here", what_);
    find_external(file);
    return;
  }
  check_inline(elements());
}

/// Numbers lie in raw_data, or in the list of their type; exactly as many as the shape tells.
void Array::check_inline(int64_t count) const {
  const Proto& p = *proto_;
  int64_t stored = -1;
  if (p.has_raw_data()) {
    const auto element = static_cast<int64_t>(size_of(type_));
    const auto bytes = static_cast<int64_t>(p.raw_data().size());
    check(bytes == count * element, "{} of shape {} needs {} bytes, the file has {}", what_,
          shape_.string(), count * element, bytes);
    return;
  }
  if (type_ == StoredType::f32)
    stored = p.float_data_size();
  else if (type_ == StoredType::f64)
    stored = p.double_data_size();
  else if (type_ == StoredType::i64)
    stored = p.int64_data_size();
  else
    stored = p.int32_data_size();
  check(stored == count, "{} of shape {} needs {} numbers, the file has {}", what_, shape_.string(),
        count, stored);
}

void Array::find_external(const fs::path& file) {
  std::string location;
  uint64_t length = 0;
  bool has_length = false;
  for (const auto& entry : proto_->external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") data_offset_ = number_of(entry.value(), "offset", what_);
    if (entry.key() == "length") {
      length = number_of(entry.value(), "length", what_);
      has_length = true;
    }
  }
  // Exporters write one file beside the graph. Anything else could be any file of the machine.
  const fs::path name(location);
  check(!location.empty() && name == name.filename() && location != "." && location != ".." &&
            location.find('\0') == std::string::npos && location.find('\\') == std::string::npos,
        "{}: its data lie in \"{}\"; only files in the folder of the ONNX file are read", what_,
        location);
  data_file_ = file.parent_path() / name;
  std::error_code error;
  const fs::file_status status = fs::symlink_status(data_file_, error);
  check(fs::exists(status), "{}: its data lie in {}, which is missing; keep both files together",
        what_, data_file_.string());
  check(fs::is_regular_file(status), "{}: its data lie in {}, which is not a plain file", what_,
        data_file_.string());
  const uint64_t size = fs::file_size(data_file_, error);
  const uint64_t bytes = static_cast<uint64_t>(elements()) * size_of(type_);
  check(!error && bytes <= size && data_offset_ <= size - bytes,
        "{} of shape {} needs bytes {} to {} of {}, which has {}", what_, shape_.string(),
        data_offset_, data_offset_ + bytes, data_file_.string(), size);
  check(!has_length || length == bytes, "{} of shape {} needs {} bytes, the file says {}", what_,
        shape_.string(), bytes, length);
}

template <typename Out>
void Array::convert(int64_t first, int64_t count, Out* out) const {
  FRCNN_INVARIANT(first >= 0 && count >= 0 && first + count <= elements());
  const Proto& p = *proto_;
  const auto from = static_cast<int>(first);
  if (data_file_.empty() && !p.has_raw_data()) {
    for (int64_t i = 0; i < count; ++i) {
      const int at = from + static_cast<int>(i);
      if (type_ == StoredType::f32)
        out[i] = static_cast<Out>(p.float_data(at));
      else if (type_ == StoredType::f64)
        out[i] = static_cast<Out>(p.double_data(at));
      else if (type_ == StoredType::i64)
        out[i] = static_cast<Out>(p.int64_data(at));
      else if (type_ == StoredType::f16)
        out[i] = static_cast<Out>(from_half(static_cast<uint16_t>(p.int32_data(at))));
      else if (type_ == StoredType::bf16)
        out[i] = static_cast<Out>(from_bfloat16(static_cast<uint16_t>(p.int32_data(at))));
      else
        out[i] = static_cast<Out>(p.int32_data(at));
    }
    return;
  }
  const size_t element = size_of(type_), skip = static_cast<size_t>(first) * element;
  std::string buffer;
  const char* bytes = nullptr;
  if (data_file_.empty()) {
    bytes = p.raw_data().data() + skip;
  } else {
    buffer.resize(static_cast<size_t>(count) * element);
    std::ifstream in(data_file_, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(data_offset_ + skip));
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    check(static_cast<size_t>(in.gcount()) == buffer.size(), "{}: {} is cut short", what_,
          data_file_.string());
    bytes = buffer.data();
  }
  with_stored_type(type_, [&](auto stored, const auto& value) {
    using Stored = decltype(stored);
    for (int64_t i = 0; i < count; ++i) {
      Stored number;
      std::memcpy(&number, bytes + static_cast<size_t>(i) * sizeof(Stored), sizeof(Stored));
      out[i] = static_cast<Out>(value(number));  // NOLINT(bugprone-signed-char-misuse): a number
    }
  });
}

void Array::read(int64_t first, int64_t count, float* out) const {
  convert(first, count, out);
}
void Array::read(int64_t first, int64_t count, int64_t* out) const {
  check(is_integer(), "{} holds fractions, expected whole numbers", what_);
  convert(first, count, out);
}

Tensor Array::tensor() const {
  Tensor out = Tensor::empty(shape_, is_integer() ? DType::i64 : DType::f32);
  if (elements() == 0) return out;
  if (is_integer())
    read(0, elements(), out.data<int64_t>());
  else
    read(0, elements(), out.data<float>());
  return out;
}

}  // namespace frcnn::onnx_proto
