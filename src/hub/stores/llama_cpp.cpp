// The cache of llama.cpp's -hf and --hf-repo of 2025: files side by side.
#include "hub/plain_folders.h"

namespace moxie::stores {
namespace {

constexpr PlainFolders kFolders = {
    .name = "llama.cpp", .prefix = "llamacpp:", .summary = "llamacpp:FILE", .folders = &StorePlaces::llama_cpp};

}  // namespace

extern constinit const ModelStore llama_cpp = plain_store<kFolders>();

}  // namespace moxie::stores
