#include "weights/onnx/onnx_writer.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/onnx_pb.h>

#include <bit>
#include <exception>
#include <set>

#include "kernels/launch/check.h"
#include "weights/new_file.h"
#include "weights/onnx/onnx_graph.h"

namespace frcnn {
namespace {

namespace io = google::protobuf::io;
using Proto = onnx::TensorProto;

static_assert(std::endian::native == std::endian::little, "ONNX stores numbers in this order");

/// The newest version of the format that libonnx 1.11 and 1.12 know; opset 16 belongs to it.
constexpr int64_t kIrVersion = 8;

int32_t code_of(OnnxType type) {
  switch (type) {
    case OnnxType::f32:
      return Proto::FLOAT;
    case OnnxType::f64:
      return Proto::DOUBLE;
    case OnnxType::i64:
      return Proto::INT64;
    case OnnxType::u8:
      return Proto::UINT8;
  }
  fail("[onnx] unknown type of values");
}

int32_t code_of(DType type) {
  switch (type) {
    case DType::f32:
      return Proto::FLOAT;
    case DType::f64:
      return Proto::DOUBLE;
    case DType::i64:
      return Proto::INT64;
    case DType::u8:
      return Proto::UINT8;
    default:
      fail("[onnx] arrays of type {} are not written", name_of(type));
  }
}

void describe(onnx::ValueInfoProto& info, const std::string& name, OnnxType type,
              const std::vector<OnnxSize>& sizes) {
  info.set_name(name);
  onnx::TypeProto::Tensor& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(code_of(type));
  tensor.mutable_shape();  // a value without sizes is a number, not an array of unknown rank
  for (const OnnxSize& size : sizes) {
    auto& dim = *tensor.mutable_shape()->add_dim();
    if (const auto* number = std::get_if<int64_t>(&size))
      dim.set_dim_value(*number);
    else
      dim.set_dim_param(std::get<std::string>(size));
  }
}

void set_attribute(onnx::AttributeProto& proto, const std::string& name,
                   const OnnxAttributeValue& value) {
  proto.set_name(name);
  if (const auto* number = std::get_if<double>(&value)) {
    proto.set_type(onnx::AttributeProto::FLOAT);
    proto.set_f(static_cast<float>(*number));
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    proto.set_type(onnx::AttributeProto::INT);
    proto.set_i(*integer);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    proto.set_type(onnx::AttributeProto::STRING);
    proto.set_s(*text);
  } else {
    proto.set_type(onnx::AttributeProto::INTS);
    for (const int64_t i : std::get<std::vector<int64_t>>(value)) proto.add_ints(i);
  }
}

/// Hands a message's bytes on to a file, a piece at a time. Errors wait until the library, which
/// knows no exceptions, has returned.
class FileStream : public io::CopyingOutputStream {
 public:
  explicit FileStream(NewFile& file) : file_(file) {}
  bool Write(const void* data, int size) override {
    if (error_) return false;
    try {
      file_.write(data, static_cast<uint64_t>(size));
    } catch (...) {
      error_ = std::current_exception();
    }
    return !error_;
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  NewFile& file_;
  std::exception_ptr error_;
};

}  // namespace

struct OnnxWriter::Impl {
  onnx::ModelProto model;
  std::set<std::string> values;

  onnx::GraphProto& graph() { return *model.mutable_graph(); }
  void take(const std::string& name) {
    check(!name.empty() && values.insert(name).second, "[onnx] the value \"{}\" is made twice",
          name);
  }
  uint64_t checked_size() const {
    const uint64_t size = model.ByteSizeLong();
    check(size <= kMostOnnxBytes,
          "an ONNX file holds at most {} bytes, this model needs {}; make roi.hidden or the "
          "backbone smaller",
          kMostOnnxBytes, size);
    return size;
  }
};

OnnxWriter::OnnxWriter(const std::string& name, int64_t opset, const std::string& producer,
                       const std::string& producer_version)
    : impl_(std::make_unique<Impl>()) {
  onnx::ModelProto& model = impl_->model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name(producer);
  model.set_producer_version(producer_version);
  auto& operators = *model.add_opset_import();
  operators.set_domain("");
  operators.set_version(opset);
  impl_->graph().set_name(name);
}

OnnxWriter::~OnnxWriter() = default;
OnnxWriter::OnnxWriter(OnnxWriter&&) noexcept = default;
OnnxWriter& OnnxWriter::operator=(OnnxWriter&&) noexcept = default;

void OnnxWriter::input(const std::string& name, OnnxType type, const std::vector<OnnxSize>& sizes) {
  impl_->take(name);
  describe(*impl_->graph().add_input(), name, type, sizes);
}

void OnnxWriter::output(const std::string& name, OnnxType type,
                        const std::vector<OnnxSize>& sizes) {
  check(has(name), "[onnx] the output \"{}\" is not made by any node", name);
  describe(*impl_->graph().add_output(), name, type, sizes);
}

std::string OnnxWriter::constant(const std::string& name, const Tensor& values) {
  impl_->take(name);
  Proto& proto = *impl_->graph().add_initializer();
  proto.set_name(name);
  proto.set_data_type(code_of(values.dtype()));
  for (const int64_t size : values.shape().dims()) proto.add_dims(size);
  Tensor plain = values.to(Device{});
  if (plain.channel_block() != 1) plain = plain.to_block(1);
  if (plain.numel() > 0)
    proto.set_raw_data(plain.raw(), static_cast<size_t>(plain.numel()) * size_of(plain.dtype()));
  else
    proto.set_raw_data("");
  return name;
}

bool OnnxWriter::has(const std::string& name) const {
  return impl_->values.contains(name);
}

std::string OnnxWriter::node(const std::string& op, const std::string& name,
                             const std::vector<std::string>& inputs,
                             const OnnxAttributes& attributes) {
  node_to({name}, op, name, inputs, attributes);
  return name;
}

void OnnxWriter::node_to(const std::vector<std::string>& outputs, const std::string& op,
                         const std::string& name, const std::vector<std::string>& inputs,
                         const OnnxAttributes& attributes) {
  onnx::NodeProto& node = *impl_->graph().add_node();
  node.set_op_type(op);
  node.set_name(name);
  for (const std::string& input : inputs) {
    check(input.empty() || has(input), "[onnx] node \"{}\" uses \"{}\", which nothing makes", name,
          input);
    node.add_input(input);
  }
  for (const std::string& output : outputs) {
    impl_->take(output);
    node.add_output(output);
  }
  for (const auto& [key, value] : attributes) set_attribute(*node.add_attribute(), key, value);
}

void OnnxWriter::metadata(const std::string& key, const std::string& value) {
  auto& entry = *impl_->model.add_metadata_props();
  entry.set_key(key);
  entry.set_value(value);
}

void OnnxWriter::description(const std::string& text) {
  impl_->model.set_doc_string(text);
}

int64_t OnnxWriter::nodes() const {
  return impl_->model.graph().node_size();
}

std::string OnnxWriter::bytes() const {
  impl_->checked_size();
  return impl_->model.SerializeAsString();
}

void OnnxWriter::save(const std::filesystem::path& file) const {
  impl_->checked_size();
  NewFile target(file);
  FileStream pieces(target);
  bool written = false;
  {
    io::CopyingOutputStreamAdaptor stream(&pieces, 1 << 20);
    written = impl_->model.SerializeToZeroCopyStream(&stream) && stream.Flush();
  }
  pieces.rethrow();
  check(written, "{}: the model could not be written", file.string());
  target.commit();
}

}  // namespace frcnn
