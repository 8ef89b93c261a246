// What --quantize-cache kept: moxie's own files, made anew when they are wanted and not there.
#include "hub/plain_folders.h"

namespace moxie::stores {
namespace {

constexpr PlainFolders kFolders = {.name = "moxie's cache",
                                   .prefix = "quantized:",
                                   .summary = "quantized:FILE",
                                   .folders = &StorePlaces::quantized,
                                   .remedy = "make it: run its source with --quantize TYPE --quantize-cache"};

}  // namespace

extern constinit const ModelStore quantized = plain_store<kFolders>();

}  // namespace moxie::stores
