// Finds the tokens that are cut out of a text before anything else: leftmost, then longest. Immutable once built.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/token_table.h"
#include "text/tokenizer_spec.h"

namespace moxie {

class AddedTokens {
 public:
  struct Match {
    size_t begin = 0, end = 0;  // with the white space that lstrip and rstrip take
    int32_t id = -1;            // -1: none found
  };

  // REQUIRES: called once.
  void build(std::vector<AddedToken> tokens);
  bool empty() const { return tokens_.empty(); }
  // The first token at or after `from`, special ones only when asked for.
  Match find(std::string_view text, size_t from, bool special) const;

 private:
  const AddedToken* token_at(std::string_view text, size_t at, bool special) const;

  std::vector<AddedToken> tokens_;
  TokenTable table_;                          // content to index in tokens_
  std::vector<std::vector<size_t>> lengths_;  // by first byte: the lengths there are, longest first
};

}  // namespace moxie
