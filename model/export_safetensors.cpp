#include "model/export_safetensors.h"

#include "kernels/launch/check.h"
#include "model/options.h"
#include "weights/safetensors.h"

namespace frcnn {

void export_safetensors(const FasterRcnn& model, const Config& config,
                        const std::vector<std::string>& classes, const std::string& program_version,
                        const std::filesystem::path& file) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const Parameter& p : model.parameters().all()) tensors.emplace_back(p.name, p.tensor);
  std::string names;
  for (const std::string& name : classes) names += (names.empty() ? "" : "\n") + name;
  std::map<std::string, std::string> metadata = {{"format", "frcnn"},
                                                 {"program_version", program_version},
                                                 {"config", to_toml(config)},
                                                 {"classes", names}};
  if (const auto& imported = model.backbone_spec().imported)
    metadata["network"] = to_json(imported->network);
  save_safetensors(file, tensors, metadata);
}

}  // namespace frcnn
