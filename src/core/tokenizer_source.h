// What a weight file says about its tokenizer, uninterpreted. Plain data in core, so that format and text need not know
// each other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moxie {

// The tokenizer.ggml.* keys of a GGUF file. tokens, scores and types have equal lengths where present (checked by the
// reader).
struct GgufVocabulary {
  std::string model;                // "llama", "gpt2", ...
  std::string pre;                  // pre-tokenizer name; empty when absent
  std::vector<std::string> tokens;  // may hold arbitrary bytes
  std::vector<float> scores;        // empty when absent
  std::vector<int32_t> types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty when absent
  std::vector<std::string> merges;  // "a b"; empty when absent
  std::map<std::string, int64_t>
      special_ids;  // "bos" -> 1, "eos" -> 2, "eot", "eom", "unknown", "padding", "fim_pre", ...
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

struct TokenizerSource {
  std::optional<GgufVocabulary> gguf;
  // Hugging Face files as they are, by file name: tokenizer.json, tokenizer.model, tokenizer_config.json,
  // added_tokens.json, special_tokens_map.json, generation_config.json, tekken.json, chat_template.jinja,
  // chat_template.json.
  std::map<std::string, std::string> files;
  // The chat template (key "") and its named variants, wherever they stood.
  std::map<std::string, std::string> chat_templates;
  // vocab_size of the configuration, to compare with; 0 when unknown.
  int64_t configured_vocab_size = 0;
  // bos/eos ids that config.json or generation_config.json name (lists possible), for models without other sources.
  std::vector<int64_t> configured_eos_ids;

  bool empty() const { return !gguf && files.empty(); }
};

}  // namespace moxie
