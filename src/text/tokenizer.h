// Text to token ids and back. Immutable once created; all functions are thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer_source.h"
#include "moxie/error.h"
#include "text/token_table.h"

namespace moxie {

struct EncodeOptions {
  bool add_special = false;    // BOS (and EOS) as the tokenizer itself says
  bool parse_special = false;  // control tokens written out in the text ("[INST]", "<|im_end|>") become their ids
  bool continues = false;  // the text goes on after other tokens: no space mark that only the start of an input gets
};

enum class TokenKind : uint8_t { normal, unknown, control, user_defined, unused, byte };

class Tokenizer {
 public:
  // Picks the scheme from what the source holds (GGUF keys; else tokenizer.json, tokenizer.model, tekken.json in that
  // order).
  static Result<std::unique_ptr<Tokenizer>> create(const TokenizerSource& source);
  virtual ~Tokenizer() = default;

  // Never adds a second BOS: with add_special and a text that begins with the BOS token's text (parse_special), it
  // stays one.
  virtual std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const = 0;
  // The raw bytes a token stands for in running text (▁ and byte-level characters resolved; a leading space kept).
  // Control tokens give nothing unless with_special. May be part of a UTF-8 character.
  virtual std::string bytes(int32_t id, bool with_special = false) const = 0;

  int32_t vocabulary_size() const { return static_cast<int32_t>(kinds_.size()); }
  // kind() and text() REQUIRE: 0 <= id < vocabulary_size().
  TokenKind kind(int32_t id) const { return kinds_[static_cast<size_t>(id)]; }
  // The token as the file writes it ("▁the", "Ġthe", "<0x0A>"), for showing.
  const std::string& text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  // The id whose text this is, the last of several; -1 when there is none.
  int32_t find(std::string_view text) const { return table_.find(text); }

  int32_t bos() const { return bos_; }  // -1: none
  int32_t eos() const { return eos_; }
  int32_t unknown() const { return unknown_; }
  bool adds_bos() const { return add_bos_; }
  bool adds_eos() const { return add_eos_; }
  // The decoded text of a whole sequence drops one space at its very start (SentencePiece's dummy prefix).
  bool strips_leading_space() const { return strip_leading_space_; }
  // Ends of generation: the union of eos, eot, eom, configured ids and well-known texts; ascending.
  std::span<const int32_t> end_ids() const { return end_ids_; }
  bool is_end(int32_t id) const;
  std::string_view scheme() const { return scheme_; }  // "sentencepiece bpe", "byte-level bpe (gpt-2)"
  // What is odd about the source, one sentence each ("no pre-tokenizer named; split as gpt-2").
  std::span<const std::string> notices() const { return notices_; }

 protected:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;  // the table points into the texts
  Tokenizer& operator=(const Tokenizer&) = delete;

  TokenTable table_;  // over texts_
  std::vector<TokenKind> kinds_;
  std::vector<std::string> texts_;
  std::vector<int32_t> end_ids_;
  std::vector<std::string> notices_;
  std::string scheme_;
  int32_t bos_ = -1, eos_ = -1, unknown_ = -1;
  bool add_bos_ = false, add_eos_ = false, strip_leading_space_ = false;
};

}  // namespace moxie
