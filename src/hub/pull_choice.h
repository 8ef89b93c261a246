// Which files of a repository are to be pulled: a model's own out of all that is there. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/hub_client.h"
#include "moxie/error.h"

namespace moxie {

// Shell patterns as Python's fnmatch takes them: * and ? also match slashes; [abc], [a-c], [!abc].
bool matches_pattern(std::string_view text, std::string_view pattern);
bool is_pattern(std::string_view text);

// One model that a repository has: a GGUF file with all its parts, or its safetensors with what goes with them.
struct HubModel {
  std::string name;   // what to write after the colon to get it: a file or quantization; empty: all there is
  std::string quant;  // "Q4_K_M"; empty where the name tells none
  std::vector<HubEntry> files;
  std::optional<uint64_t> bytes() const;  // of all files; nothing where the hub does not tell every size
};

// GGUF models first, smallest first, then that of safetensors.
std::vector<HubModel> hub_models(const HubListing& listing);

struct PullRequest {
  std::string file;                           // path, quantization or pattern; empty: the model
  std::vector<std::string> files;             // further paths
  std::vector<std::string> include, exclude;  // patterns, as huggingface-cli takes them
  bool everything = false;                    // all files, as huggingface-cli does
};

struct PullChoice {
  std::vector<HubEntry> files;   // to pull; empty: there are several models
  std::vector<HubModel> models;  // to choose from, then
};
// Errors: not_found, with what is there and near; unsupported for a repository without weights moxie reads.
Result<PullChoice> choose_files(const HubListing& listing, const PullRequest& request);
// For a command that needs one: invalid_argument, with the names of these.
Error several_models(const std::string& repo, const std::vector<HubModel>& models);

}  // namespace moxie
