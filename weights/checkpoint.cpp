#include "weights/checkpoint.h"

#include "kernels/launch/check.h"
#include "weights/checkpoint_format.h"
#include "weights/md5.h"
#include "weights/tensor_file_read.h"

namespace frcnn {
namespace {

const TensorFileKind kKind = {checkpoint_format::kMagic, "checkpoint", kCheckpointVersion,
                              kInt8CheckpointVersion};

template <typename T>
const T& training_value(const Checkpoint& checkpoint, const std::string& key, const char* type) {
  const auto entry = checkpoint.training.find(key);
  check(entry != checkpoint.training.end(), "the checkpoint holds no training state '{}'", key);
  const T* value = std::get_if<T>(&entry->second);
  check(value != nullptr, "the checkpoint's training state '{}' is not {}", key, type);
  return *value;
}

}  // namespace

TensorFile to_tensor_file(const Checkpoint& checkpoint) {
  TensorFile content;
  content.root.attributes = {{"program_version", checkpoint.program_version},
                             {"config", checkpoint.config},
                             {"classes", checkpoint.classes}};
  if (const std::string& network = checkpoint.network; !network.empty())
    content.root.tensors.emplace(
        checkpoint_format::kNetwork,
        Tensor::from({static_cast<int64_t>(network.size())},
                     std::vector<uint8_t>(network.begin(), network.end())));
  content.groups["parameters"].tensors = checkpoint.parameters;
  content.groups["buffers"].tensors = checkpoint.buffers;
  content.groups["optimizer"].tensors = checkpoint.optimizer;
  if (!checkpoint.averages.empty()) content.groups["averages"].tensors = checkpoint.averages;
  if (!checkpoint.int8.tensors.empty()) content.groups["int8"] = checkpoint.int8;
  auto& training = content.groups["training"].attributes;
  for (const auto& [key, value] : checkpoint.training)
    std::visit([&, &name = key](const auto& v) { training.emplace(name, v); }, value);
  return content;
}

void save_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint) {
  TensorFileKind kind = kKind;
  kind.version = checkpoint.format_version();
  save_tensor_file(file, kind, to_tensor_file(checkpoint));
}

Checkpoint load_checkpoint(const std::filesystem::path& file) {
  return to_checkpoint(load_tensor_file(file, kKind), file.string());
}

Checkpoint load_checkpoint_weights(const std::filesystem::path& file) {
  return to_checkpoint(load_tensor_file(file, kKind, {"optimizer"}), file.string());
}

Checkpoint to_checkpoint(TensorFile content, const std::string& name) {
  Checkpoint checkpoint;
  checkpoint.program_version = attribute_of<std::string>(content.root, "program_version", name);
  checkpoint.config = attribute_of<std::string>(content.root, "config", name);
  checkpoint.classes = attribute_of<std::vector<std::string>>(content.root, "classes", name);
  if (const auto network = content.root.tensors.find(checkpoint_format::kNetwork);
      network != content.root.tensors.end()) {
    check(network->second.dtype() == DType::u8 && network->second.rank() == 1,
          "{}: {} is not text (a list of unsigned 8-bit integers)", name,
          checkpoint_format::kNetwork);
    const auto bytes = network->second.span<uint8_t>();
    checkpoint.network.assign(bytes.begin(), bytes.end());
  }
  check(content.groups.contains("parameters"), "{}: group 'parameters' is missing", name);
  checkpoint.parameters = std::move(content.groups["parameters"].tensors);
  check(!checkpoint.parameters.empty(), "{}: group 'parameters' is empty", name);
  checkpoint.buffers = std::move(content.groups["buffers"].tensors);
  checkpoint.optimizer = std::move(content.groups["optimizer"].tensors);
  checkpoint.averages = std::move(content.groups["averages"].tensors);
  checkpoint.int8 = std::move(content.groups["int8"]);
  for (const auto& [key, value] : content.groups["training"].attributes) {
    if (const auto* integer = std::get_if<int64_t>(&value))
      checkpoint.training[key] = *integer;
    else if (const auto* number = std::get_if<double>(&value))
      checkpoint.training[key] = *number;
    else if (const auto* text = std::get_if<std::string>(&value))
      checkpoint.training[key] = *text;
    else
      fail("{}: training attribute '{}' is a list, expected one value", name, key);
  }
  return checkpoint;
}

std::string state_md5(const Checkpoint& checkpoint) {
  Md5 md5;
  const auto add = [&](const std::string& text) { md5.add(text.c_str(), text.size() + 1); };
  for (const TensorMap* part : {&checkpoint.parameters, &checkpoint.buffers, &checkpoint.optimizer,
                                &checkpoint.averages, &checkpoint.int8.tensors})
    for (const auto& [name, tensor] : *part) {
      add(name);
      add(tensor.shape().string());
      Tensor plain = tensor.to(Device{});
      if (plain.rank() == 4) plain = plain.to_block(1);
      md5.add(plain.raw(), plain.stored_bytes());
    }
  if (checkpoint.training.contains("step")) add(fmt::format("{}", checkpoint.training_int("step")));
  return md5.finish();
}

int64_t Checkpoint::training_int(const std::string& key) const {
  return training_value<int64_t>(*this, key, "a whole number");
}
double Checkpoint::training_double(const std::string& key) const {
  return training_value<double>(*this, key, "a number");
}
const std::string& Checkpoint::training_string(const std::string& key) const {
  return training_value<std::string>(*this, key, "text");
}

}  // namespace frcnn
