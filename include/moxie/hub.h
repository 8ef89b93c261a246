// Single tensors of models on the Hugging Face hub: which file holds one, and its values, fetched with that file or by
// themselves. Standard headers only. Objects are plain data and belong to one thread at a time; calls block.
//
//   moxie::MoE mixtral{.model_id = "mistralai/Mixtral-8x7B-v0.1", .n_experts = 8, .n_layers = 32,
//                      .expert_tensor_name_template =
//                      "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight", .router_tensor_name_template
//                      = "model.layers.{layer}.block_sparse_moe.gate.weight", .hub =
//                      moxie::HubOptions::from_variables(std::getenv)};
//   auto router = mixtral.get_router_metadata(0);
//   auto tensor = router->load(true);             // the bytes of this tensor alone, by range requests
//   auto path = router->download_file();          // the file that holds it, into the shared cache
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;         // empty: none
  std::string cache_folder;  // of models--*, shared with huggingface_hub; needed
  std::string revision = "main";
  bool offline = false;
  std::string ca_file, ca_folder;  // certificates (PEM) that are believed in place of the system's; empty: the system's
  std::function<bool(uint64_t done, uint64_t total)> on_progress;  // of download_file(); false gives up
  std::function<void(std::string_view)> on_note;                   // why a request is made again, and the like

  // What HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, SSL_CERT_FILE and their elder names say.
  // `variable` gives a variable's value or null, as std::getenv does: the library itself does not read the environment.
  static HubOptions from_variables(const std::function<const char*(const char* name)>& variable);
};

// A tensor's bytes as its file has them.
struct HubTensor {
  std::string dtype;           // as the file spells it: "BF16", "F32", "Q8_0"
  std::vector<int64_t> shape;  // outermost first
  std::vector<std::byte> bytes;

  // As float32, which bf16 and f16 become exactly. Errors: unsupported for types without values of their own.
  Result<std::vector<float>> values() const;
};

// Where a tensor lies.
struct TensorMetadata {
  std::string model_id;  // "org/name", or a folder of this machine
  std::string tensor_name;
  std::string hf_filename;  // the file of the repository that holds it
  std::string local_path;   // set by download_file()
  HubOptions hub;

  // Fetches that file alone, unless it is in the cache, and returns its path here. Errors: those of `moxie pull`.
  Result<std::string> download_file();
  // From the file, which is downloaded where it is not here; with `remote` only the header and the tensor's bytes are
  // read over the network where the file is not here. Errors: not_found, with the name that is nearest.
  Result<HubTensor> load(bool remote = false);
};

// A mixture of experts by the names of its tensors. In templates {layer}, {expert} and {weight} stand for numbers and
// for each of weight_names.
struct MoE {
  std::string model_id;
  int n_experts = 0, n_layers = 0;
  std::string expert_tensor_name_template, router_tensor_name_template;
  std::vector<std::string> weight_names = {};  // {weight}: "w1", "w2", "w3"
  HubOptions hub = {};

  // All tensors of a layer's experts, in the order of experts. Errors: invalid_argument for a layer that is not there;
  // not_found for a name that the model does not have, with the nearest.
  Result<std::vector<TensorMetadata>> get_experts_metadata(int layer) const;
  Result<std::vector<TensorMetadata>> get_experts_metdata(int layer) const { return get_experts_metadata(layer); }
  Result<TensorMetadata> get_router_metadata(int layer) const;
};

// One tensor by its name. Errors as above.
Result<TensorMetadata> find_tensor(const std::string& model_id, const std::string& tensor_name, const HubOptions& hub);
// Every tensor of a model, by name.
Result<std::vector<TensorMetadata>> list_tensors(const std::string& model_id, const HubOptions& hub);

}  // namespace moxie
