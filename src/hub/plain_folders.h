// Stores whose models are files under their own names in folders: what they have in common. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/fail.h"
#include "hub/model_store.h"
#include "moxie/error.h"

namespace moxie {

struct PlainFolders {
  std::string_view name, prefix, summary;  // as in ModelStore
  std::vector<std::string> StorePlaces::*folders;
  std::string_view remedy = {};  // for what is not there; empty: the command that downloads it
};

// Models of all folders; the reference is the path below the folder, without the file where its folder holds no other.
std::vector<StoredModel> list_plain(const PlainFolders& store, const StorePlaces& places);
// By reference, by path below the folder, by its end ("repo" for "publisher/repo"), or a folder with a quantization
// ("publisher/repo:Q4_K_M").
Result<StoredModel> find_plain(const PlainFolders& store, const StorePlaces& places, std::string_view wanted);
Result<Removal> plan_plain_removal(const PlainFolders& store, const StorePlaces& places, std::string_view wanted);

template <const PlainFolders& kStore>
constexpr ModelStore plain_store() {
  return {
      .name = kStore.name,
      .prefix = kStore.prefix,
      .summary = kStore.summary,
      .list = [](const StorePlaces& places) { return list_plain(kStore, places); },
      .find = [](std::string_view rest, const StorePlaces& places) -> Result<FoundModel> {
        MOXIE_TRY(const StoredModel model, find_plain(kStore, places, rest));
        return FoundModel{.path = model.path};
      },
      .plan_removal = [](std::string_view rest,
                         const StorePlaces& places) { return plan_plain_removal(kStore, places, rest); },
      .plan_unused = nullptr,
  };
}

}  // namespace moxie
