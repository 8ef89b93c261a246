// LM Studio's models: PUBLISHER/REPOSITORY/FILE under their own names.
#include "core/fail.h"
#include "hub/model_store.h"
#include "hub/plain_folders.h"

namespace moxie::stores {
namespace {

PlainFolders folders(const StorePlaces& places) {
  return {.name = "lm studio", .prefix = "lmstudio:", .folders = places.lm_studio, .remedy = "download it: moxie pull"};
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

extern constinit const ModelStore lm_studio = {
    .name = "lm studio",
    .prefix = "lmstudio:",
    .summary = "lmstudio:PUBLISHER/NAME[:QUANTIZATION]",
    .list = list,
    .find = find,
    .plan_removal = plan_removal,
    .plan_unused = nullptr,
};

}  // namespace moxie::stores
