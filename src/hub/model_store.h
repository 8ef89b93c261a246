// Models that programs keep on this machine: Hugging Face's cache, Ollama, LM Studio, llama.cpp's cache, moxie's own. A
// store finds what a reference means ("ollama:mixtral"), lists what it holds, and says which files a model has to
// itself. One file in stores/ and a line in stores.inc for each. Nothing here uses the network. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

// The folders to look in, in this order; absent ones are no error.
struct StorePlaces {
  std::string hugging_face;  // that holds models--*
  std::vector<std::string> ollama, lm_studio, llama_cpp;
  std::vector<std::string> quantized;  // by moxie itself, see EngineOptions::quantize_cache
};
// By the variables that the programs themselves read (HF_HUB_CACHE, OLLAMA_MODELS, ...) and their default places below
// HOME. `variable` gives a variable's value or null.
StorePlaces store_places(const std::function<const char*(const char* name)>& variable);

struct StoredModel {
  std::string store;      // "ollama"
  std::string reference;  // what `run` takes: "ollama:mixtral:8x7b"
  std::string path;       // what it opens: a file or a folder
  uint64_t bytes = 0;     // of its weights, as far as they are there
  std::string problem;    // why it cannot be opened; empty: nothing is known against it
};

// Where a reference leads.
struct FoundModel {
  std::string path;
  std::vector<std::string> notices;  // one sentence each
};

// What removing a model frees: nothing else refers to these.
struct Removal {
  std::vector<std::string> paths;  // in the order in which to delete: names before contents
  uint64_t bytes = 0;
  std::vector<std::string> notices;  // what stays, and why
};

// An entry in stores.inc. `rest` is the reference behind the prefix.
struct ModelStore {
  std::string_view name;     // "ollama"
  std::string_view prefix;   // "ollama:"
  std::string_view summary;  // for help
  std::vector<StoredModel> (*list)(const StorePlaces& places);
  // Errors: not_found, with what to type; invalid_argument for what can be no name, or where it means several models.
  Result<FoundModel> (*find)(std::string_view rest, const StorePlaces& places);
  Result<Removal> (*plan_removal)(std::string_view rest, const StorePlaces& places);
  // What the store keeps and no model there refers to, finished downloads only. Null where nothing can be.
  Result<Removal> (*plan_unused)(const StorePlaces& places);
};
std::span<const ModelStore* const> model_stores();

// The store whose prefix the text begins with; null for a path.
const ModelStore* store_of(std::string_view reference);
// What to open for a reference; a path stays as it is.
Result<FoundModel> locate_model(const std::string& reference, const StorePlaces& places);
// Everything that the stores hold, store by store, in the order of their references.
std::vector<StoredModel> list_stored_models(const StorePlaces& places);
// The models in a folder and those below it, three levels deep: GGUF files (parts count as one) and folders of
// safetensors. References are paths.
std::vector<StoredModel> list_folder_models(const std::string& folder);

Result<Removal> plan_removal(const std::string& reference, const StorePlaces& places);
// Of all stores.
Result<Removal> plan_unused(const StorePlaces& places);
// Deletes them. Errors: io, with the path; what came before it is gone.
Result<void> remove_paths(const Removal& removal);

}  // namespace moxie
