// A tokenizer as the keys of a GGUF file, from the files beside safetensors. Stateless, thread-safe.
#pragma once

#include <cstdint>

#include "convert/gguf_header_builder.h"
#include "core/log.h"
#include "core/tokenizer_source.h"
#include "moxie/error.h"

namespace moxie {

// The vocabulary with one token for each of `rows` rows of the embedding: what is missing becomes unused tokens, and
// tokens beyond are dropped and said. Errors: what reading the source gives; unsupported for what GGUF has no words
// for.
Result<GgufVocabulary> make_gguf_vocabulary(const TokenizerSource& source, int64_t rows, Log& log);

// tokenizer.ggml.*, and the chat templates. A source without a tokenizer is written as one ("no_vocab").
Result<void> add_vocabulary_keys(GgufHeaderBuilder& builder, const TokenizerSource& source, int64_t rows, Log& log);

}  // namespace moxie
