// The tokenizer files that go with safetensors: those of the source, or made from the vocabulary of a GGUF file.
// Stateless, thread-safe.
#pragma once

#include <map>
#include <string>

#include "core/log.h"
#include "core/tokenizer_source.h"

namespace moxie {

// By file name. What cannot be made is left out and said.
std::map<std::string, std::string> hugging_face_tokenizer(const TokenizerSource& source, Log& log);

}  // namespace moxie
