// The cache of llama.cpp's -hf and --hf-repo of 2025: files side by side.
#include "core/fail.h"
#include "hub/model_store.h"
#include "hub/plain_folders.h"

namespace moxie::stores {
namespace {

PlainFolders folders(const StorePlaces& places) {
  return {.name = "llama.cpp", .prefix = "llamacpp:", .folders = places.llama_cpp, .remedy = "download it: moxie pull"};
}

std::vector<StoredModel> list(const StorePlaces& places) {
  return list_plain(folders(places));
}

Result<FoundModel> find(std::string_view rest, const StorePlaces& places) {
  MOXIE_TRY(const StoredModel model, find_plain(folders(places), rest));
  return FoundModel{.path = model.path};
}

Result<Removal> plan_removal(std::string_view rest, const StorePlaces& places) {
  return plan_plain_removal(folders(places), rest);
}

}  // namespace

extern constinit const ModelStore llama_cpp = {
    .name = "llama.cpp",
    .prefix = "llamacpp:",
    .summary = "llamacpp:FILE",
    .list = list,
    .find = find,
    .plan_removal = plan_removal,
    .plan_unused = nullptr,
};

}  // namespace moxie::stores
