// The tokenizer for everything that merges pairs: SentencePiece BPE and byte-level BPE, as a TokenizerSpec describes
// it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/text_steps.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"

namespace moxie {

class BpeTokenizer final : public Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string bytes(int32_t id, bool with_special) const override;

 private:
  BpeTokenizer(TokenizerSpec spec, TextSteps steps);
  void collect_end_ids();
  void note_missing();
  // The text between two added tokens. `first`: it begins the whole input.
  void encode_text(std::string_view text, bool first, bool special, BpeScratch& scratch,
                   std::vector<int32_t>& ids) const;

  TokenizerSpec spec_;
  TextSteps steps_;
  AddedTokens raw_added_, normalized_added_;
  std::unique_ptr<BpeModel> model_;
};

}  // namespace moxie
