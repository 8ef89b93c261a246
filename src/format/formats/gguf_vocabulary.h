// The tokenizer.ggml.* keys of a GGUF file, checked and put into a GgufVocabulary. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer_source.h"
#include "format/metadata.h"
#include "moxie/error.h"

namespace moxie {

// Takes the value of `key` where it is one of the vocabulary's long arrays; false where it is something else. `path`
// names the file.
Result<bool> take_vocabulary_key(const std::string& path, std::string_view key, MetadataValue& value,
                                 GgufVocabulary& vocabulary);
// Once all keys are read: the rest of the vocabulary from the metadata, and what must agree.
Result<void> finish_vocabulary(const std::string& path, const Metadata& metadata, GgufVocabulary& vocabulary,
                               std::vector<std::string>& notices);

}  // namespace moxie
