// LM Studio's models: PUBLISHER/REPOSITORY/FILE under their own names.
#include "hub/plain_folders.h"

namespace moxie::stores {
namespace {

constexpr PlainFolders kFolders = {.name = "lm studio",
                                   .prefix = "lmstudio:",
                                   .summary = "lmstudio:PUBLISHER/NAME[:QUANTIZATION]",
                                   .folders = &StorePlaces::lm_studio};

}  // namespace

extern constinit const ModelStore lm_studio = plain_store<kFolders>();

}  // namespace moxie::stores
