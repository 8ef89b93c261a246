// The tokenizer.ggml.* keys of a GGUF file, read as a TokenizerSpec.
#include <algorithm>

#include "core/fail.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

Result<TokenKind> kind_of(int32_t type, size_t id) {
  switch (type) {
    case 0:  // undefined: some converters leave it so
    case 1: return TokenKind::normal;
    case 2: return TokenKind::unknown;
    case 3: return TokenKind::control;
    case 4: return TokenKind::user_defined;
    case 5: return TokenKind::unused;
    case 6: return TokenKind::byte;
    default: return fail(ErrorCode::corrupt, "tokenizer.ggml.token_type: token {} has type {}, known are 1 to 6", id, type);
  }
}

std::string replace_marks(std::string text) {
  for (size_t at = text.find(kSpaceMark); at != std::string::npos; at = text.find(kSpaceMark, at + 1)) {
    text.replace(at, kSpaceMark.size(), " ");
  }
  return text;
}

// Tokens cut out of the text: control ones when asked for, user-defined ones always.
void collect_added(TokenizerSpec& spec) {
  for (int32_t id = 0; id < spec.size(); ++id) {
    const TokenKind kind = spec.kinds[static_cast<size_t>(id)];
    const std::string& text = spec.texts[static_cast<size_t>(id)];
    if (kind == TokenKind::control || kind == TokenKind::unknown) {
      spec.added.push_back({.content = text, .id = id, .special = true});
    } else if (kind == TokenKind::user_defined) {
      spec.added.push_back({.content = spec.byte_level ? text : replace_marks(text), .id = id, .special = false});
    }
  }
}

Result<int32_t> special_id(const GgufVocabulary& vocabulary, const char* name, int32_t otherwise) {
  const auto found = vocabulary.special_ids.find(name);
  const int64_t size = static_cast<int64_t>(vocabulary.tokens.size());
  if (found == vocabulary.special_ids.end()) return otherwise < size ? otherwise : -1;
  if (found->second < 0 || found->second == 0xFFFFFFFF) return -1;
  if (found->second >= size) {
    return fail(ErrorCode::corrupt, "tokenizer.ggml.{}_token_id is {}, the vocabulary has {} tokens", name, found->second, size);
  }
  return static_cast<int32_t>(found->second);
}

// SentencePiece leaves scores of a BPE vocabulary as minus the rank; a file without them can only mean that order.
void fill_scores(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  spec.scores = vocabulary.scores;
  if (!spec.scores.empty()) return;
  for (size_t i = 0; i < spec.texts.size(); ++i) spec.scores.push_back(-static_cast<float>(i));
  spec.notices.push_back("the vocabulary has no scores; tokens are merged in the order of their ids");
}

// Without types the byte tokens and the special ids are recognised by what they are.
void fill_kinds(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  spec.kinds.assign(spec.texts.size(), TokenKind::normal);
  for (size_t i = 0; i < spec.texts.size(); ++i) {
    if (!spec.byte_level && byte_token_value(spec.texts[i]) >= 0) spec.kinds[i] = TokenKind::byte;
  }
  for (const auto& [name, id] : vocabulary.special_ids) {
    if (id >= 0 && id < spec.size()) spec.kinds[static_cast<size_t>(id)] = TokenKind::control;
  }
  if (!spec.byte_level && spec.unknown >= 0) spec.kinds[static_cast<size_t>(spec.unknown)] = TokenKind::unknown;
}

void add_around(const GgufVocabulary& vocabulary, bool bos_default, TokenizerSpec& spec) {
  if (vocabulary.add_bos.value_or(bos_default) && spec.bos >= 0) spec.prefix = {spec.bos};
  if (vocabulary.add_eos.value_or(false) && spec.eos >= 0) spec.suffix = {spec.eos};
}

}  // namespace

Result<TokenizerSpec> read_gguf_vocabulary(const GgufVocabulary& vocabulary) {
  TokenizerSpec spec;
  const size_t size = vocabulary.tokens.size();
  if (size == 0) return fail(ErrorCode::corrupt, "tokenizer.ggml.tokens is empty: the file carries no vocabulary");
  for (const auto& [what, count] : {std::pair{"scores", vocabulary.scores.size()}, {"token_type", vocabulary.types.size()}}) {
    if (count != 0 && count != size) {
      return fail(ErrorCode::corrupt, "tokenizer.ggml.{} has {} entries, tokenizer.ggml.tokens {}", what, count, size);
    }
  }
  if (vocabulary.model != "llama") {
    return fail(ErrorCode::unsupported, "tokenizer.ggml.model is '{}'; moxie reads 'llama' (SentencePiece BPE)", vocabulary.model);
  }
  MOXIE_TRY(spec.bos, special_id(vocabulary, "bos", 1));
  MOXIE_TRY(spec.eos, special_id(vocabulary, "eos", 2));
  MOXIE_TRY(spec.unknown, special_id(vocabulary, "unknown", 0));
  spec.texts = vocabulary.tokens;
  fill_kinds(vocabulary, spec);
  for (size_t i = 0; i < vocabulary.types.size(); ++i) {
    MOXIE_TRY(spec.kinds[i], kind_of(vocabulary.types[i], i));
  }
  for (const char* name : {"eot", "eom"}) {
    MOXIE_TRY(const int32_t id, special_id(vocabulary, name, -1));
    spec.end_ids.push_back(id);
  }
  spec.scheme = "sentencepiece bpe";
  spec.merge_by_score = true;
  spec.byte_fallback = true;
  fill_scores(vocabulary, spec);
  collect_added(spec);
  add_around(vocabulary, true, spec);
  spec.strip_leading_space = vocabulary.add_space_prefix.value_or(true);
  if (spec.strip_leading_space) spec.normalizers.emplace_back(PrependText{" "});
  spec.normalizers.emplace_back(ReplaceText{" ", std::string(kSpaceMark)});
  return spec;
}

}  // namespace moxie
