#include "text/pre_tokenizers.h"

#include <algorithm>

namespace moxie {

std::span<const PreTokenizerEntry> pre_tokenizers() {
  static const PreTokenizerEntry kEntries[] = {
#include "text/pre_tokenizers.inc"
  };
  return kEntries;
}

const PreTokenizerEntry* find_pre_tokenizer(std::string_view name) {
  for (const PreTokenizerEntry& entry : pre_tokenizers()) {
    if (std::find(entry.names.begin(), entry.names.end(), name) != entry.names.end()) return &entry;
  }
  return nullptr;
}

}  // namespace moxie
