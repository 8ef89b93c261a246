// Stores whose models are files under their own names in folders: what they have in common. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/model_store.h"
#include "moxie/error.h"

namespace moxie {

struct PlainFolders {
  std::string_view name, prefix;
  const std::vector<std::string>& folders;
  std::string_view remedy;  // for what is not there: "moxie pull {}"
};

// Models of all folders; the reference is the path below the folder, without the file where its folder holds no other.
std::vector<StoredModel> list_plain(const PlainFolders& store);
// By reference, by path below the folder, by its end ("repo" for "publisher/repo"), or a folder with a quantization
// ("publisher/repo:Q4_K_M").
Result<StoredModel> find_plain(const PlainFolders& store, std::string_view wanted);
Result<Removal> plan_plain_removal(const PlainFolders& store, std::string_view wanted);

}  // namespace moxie
