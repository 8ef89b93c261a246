// How byte-level BPE models split a text into words before merging, by the name that GGUF files give
// (tokenizer.ggml.pre).
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace moxie {

// One row of pre_tokenizers.inc.
struct PreTokenizerEntry {
  std::vector<std::string_view> names;     // the first is the one shown
  std::vector<std::string_view> patterns;  // each splits the pieces that the one before left
  bool ignore_merges = false;              // a word that is a token is taken whole
  bool adds_bos = false;                   // unless the file says otherwise
};

std::span<const PreTokenizerEntry> pre_tokenizers();
const PreTokenizerEntry* find_pre_tokenizer(std::string_view name);  // null when there is none of that name

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace moxie
