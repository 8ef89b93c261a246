// Merges the characters (or bytes) of a piece of text into tokens. Immutable once built; encode() is thread-safe with a
// scratch of its own per thread. O(n log n) in the length of a piece.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/token_table.h"
#include "text/tokenizer_spec.h"

namespace moxie {

// Buffers kept between calls.
struct BpeScratch {
  struct Symbol {
    size_t begin, bytes;
    int32_t id;              // -1: no token
    int32_t previous, next;  // -1: none
    bool frozen;             // never merges
  };
  struct Candidate {
    int32_t rank;  // lower merges first
    int32_t left;  // its symbol
    int32_t right;
    int32_t result;
    size_t bytes;  // of both; another length means that one of them changed since
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::unordered_map<int32_t, size_t>
      unused_halves;  // SentencePiece: bytes of the left part that an unused token was made of
};

class BpeModel {
 public:
  // `table` maps the texts of `spec`; both must outlive the model.
  BpeModel(const TokenizerSpec& spec, const TokenTable& table);

  // Appends the ids of one piece.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank, result;
  };

  bool merge_of(std::string_view piece, const BpeScratch::Symbol& left, const BpeScratch::Symbol& right,
                Merge& merge) const;
  void encode_part(std::string_view part, BpeScratch& scratch, std::vector<int32_t>& ids, bool& after_unknown) const;
  void split_to_symbols(std::string_view part, BpeScratch& scratch) const;
  void merge_all(std::string_view part, BpeScratch& scratch) const;
  void consider(std::string_view part, int32_t left, int32_t right, BpeScratch& scratch) const;
  void emit(std::string_view text, int32_t id, const BpeScratch& scratch, std::vector<int32_t>& ids,
            bool& after_unknown) const;
  int32_t mergeable(std::string_view text) const;
  size_t frozen_at(std::string_view part, size_t at, int32_t& id) const;
  void index_merges();
  void rank_scores();
  void find_space_boundary();

  const TokenizerSpec* spec_;
  const TokenTable* table_;
  std::array<int32_t, 256> byte_tokens_;    // "<0xHH>"; -1: missing
  std::array<int32_t, 256> first_symbols_;  // the token of a byte, or of an ASCII character
  std::vector<int32_t> ranks_;              // by id, from the scores
  std::vector<uint64_t> merge_keys_;        // open addressing: left << 32 | right
  std::vector<Merge> merge_values_;
  std::vector<size_t> frozen_lengths_;  // of the user-defined tokens, longest first
  bool all_bytes_ = false;
  bool splits_at_space_ = false;  // no token reaches over the beginning of a word
};

}  // namespace moxie
