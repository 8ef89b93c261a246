// What lies beside safetensors: config.json as metadata, the files of the tokenizer. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/tokenizer_source.h"
#include "format/metadata.h"
#include "moxie/error.h"

namespace moxie {

// Parses the text of a config.json and flattens it with dots. `what` names it in errors.
Result<Metadata> parse_config(std::string_view text, std::string_view what);
// The text of folder/config.json. Errors: not_found, with what it is needed for.
Result<std::string> read_config(const std::string& folder);
// Every tokenizer file of the folder, and what `config` says that concerns it.
Result<TokenizerSource> read_tokenizer_files(const std::string& folder, const Metadata& config);
// The same where `source` has the files already; `folder` names where they are from.
Result<void> add_configured_tokens(const Metadata& config, const std::string& folder, TokenizerSource& source);

}  // namespace moxie
