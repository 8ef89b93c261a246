// The tokenizer.ggml.* keys of a GGUF file, read as a TokenizerSpec.
#include <algorithm>

#include "core/edit_distance.h"
#include "core/fail.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

Result<TokenKind> kind_of(int32_t type, size_t id) {
  switch (type) {
    case 0:  // undefined: some converters leave it so
    case 1:
      return TokenKind::normal;
    case 2:
      return TokenKind::unknown;
    case 3:
      return TokenKind::control;
    case 4:
      return TokenKind::user_defined;
    case 5:
      return TokenKind::unused;
    case 6:
      return TokenKind::byte;
    default:
      return fail(ErrorCode::corrupt, "tokenizer.ggml.token_type: token {} has type {}, known are 1 to 6", id, type);
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

// The id that a key gives. Without the key: `otherwise`, if that token looks like a special one.
Result<int32_t> special_id(const GgufVocabulary& vocabulary, const TokenizerSpec& spec, const char* name,
                           int32_t otherwise) {
  const auto found = vocabulary.special_ids.find(name);
  if (found == vocabulary.special_ids.end()) {
    if (otherwise < 0 || otherwise >= spec.size()) return -1;
    const TokenKind kind = spec.kinds[static_cast<size_t>(otherwise)];
    return kind == TokenKind::control || kind == TokenKind::unknown || kind == TokenKind::user_defined ? otherwise : -1;
  }
  if (found->second < 0 || found->second == 0xFFFFFFFF) return -1;
  if (found->second >= spec.size()) {
    return fail(ErrorCode::corrupt, "tokenizer.ggml.{}_token_id is {}, the vocabulary has {} tokens", name,
                found->second, spec.size());
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

// Without types the byte tokens and the special tokens are recognised by what they are.
Result<void> fill_kinds(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  spec.kinds.assign(spec.texts.size(), TokenKind::normal);
  for (size_t i = 0; i < vocabulary.types.size(); ++i) {
    MOXIE_TRY(spec.kinds[i], kind_of(vocabulary.types[i], i));
  }
  if (!vocabulary.types.empty()) return {};
  for (size_t i = 0; i < spec.texts.size(); ++i) {
    if (!spec.byte_level && byte_token_value(spec.texts[i]) >= 0) spec.kinds[i] = TokenKind::byte;
    if (!spec.byte_level && spec.texts[i] == "<unk>") spec.kinds[i] = TokenKind::unknown;
    if (spec.texts[i] == "<s>" || spec.texts[i] == "</s>") spec.kinds[i] = TokenKind::control;
  }
  for (const auto& [name, id] : vocabulary.special_ids) {
    if (id < 0 || id >= spec.size() || spec.kinds[static_cast<size_t>(id)] != TokenKind::normal) continue;
    spec.kinds[static_cast<size_t>(id)] = TokenKind::control;
  }
  return {};
}

void add_around(const GgufVocabulary& vocabulary, bool bos_default, TokenizerSpec& spec) {
  if (vocabulary.add_bos.value_or(bos_default) && spec.bos >= 0) spec.prefix = {spec.bos};
  if (vocabulary.add_eos.value_or(false) && spec.eos >= 0) spec.suffix = {spec.eos};
}

void read_sentencepiece(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  spec.scheme = "sentencepiece bpe";
  spec.merge_by_score = true;
  spec.byte_fallback = true;
  fill_scores(vocabulary, spec);
  add_around(vocabulary, true, spec);
  spec.strip_leading_space = vocabulary.add_space_prefix.value_or(true);
  if (spec.strip_leading_space) spec.normalizers.emplace_back(PrependText{" "});
  spec.normalizers.emplace_back(ReplaceText{" ", std::string(kSpaceMark)});
}

Result<const PreTokenizerEntry*> choose_pre_tokenizer(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  if (vocabulary.pre.empty() || vocabulary.pre == "default") {
    spec.notices.push_back(
        "the file names no pre-tokenizer (tokenizer.ggml.pre); texts are split as for gpt-2, which may give "
        "other token ids than the model was trained with");
    return find_pre_tokenizer("gpt-2");
  }
  if (const PreTokenizerEntry* entry = find_pre_tokenizer(vocabulary.pre)) return entry;
  std::vector<std::string_view> names;
  std::string known;
  for (const PreTokenizerEntry& entry : pre_tokenizers()) {
    for (const std::string_view name : entry.names) {
      names.push_back(name);
      known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
    }
  }
  const std::string_view near = nearest_name(vocabulary.pre, names);
  return fail(ErrorCode::unsupported, "tokenizer.ggml.pre is '{}', a pre-tokenizer moxie does not know{}; known: {}",
              vocabulary.pre.substr(0, 80), near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near), known);
}

void read_merges(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  MergeReader reader(spec);
  spec.merges.reserve(vocabulary.merges.size());
  for (const std::string& merge : vocabulary.merges) {
    const size_t space = std::min(merge.find(' ', 1), merge.size());
    reader.add(std::string_view(merge).substr(0, space),
               std::string_view(merge).substr(std::min(space + 1, merge.size())));
  }
  reader.finish();
}

Result<void> read_byte_level(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  if (vocabulary.merges.empty()) {
    return fail(ErrorCode::corrupt,
                "the vocabulary is byte-level BPE (gpt2) but tokenizer.ggml.merges is missing or empty; convert the "
                "model again, "
                "with its tokenizer.json");
  }
  MOXIE_TRY(const PreTokenizerEntry* entry, choose_pre_tokenizer(vocabulary, spec));
  spec.scheme = fmt::format("byte-level bpe ({})", vocabulary.pre.empty() ? "gpt-2" : vocabulary.pre);
  spec.ignore_merges = entry->ignore_merges;
  for (const std::string_view pattern : entry->patterns)
    spec.pre_tokenizers.emplace_back(SplitRegex{std::string(pattern)});
  read_merges(vocabulary, spec);
  add_around(vocabulary, entry->adds_bos, spec);
  return {};
}

}  // namespace

Result<TokenizerSpec> read_gguf_vocabulary(const GgufVocabulary& vocabulary) {
  TokenizerSpec spec;
  const size_t size = vocabulary.tokens.size();
  if (vocabulary.model != "llama" && vocabulary.model != "gpt2") {
    return fail(ErrorCode::unsupported,
                "tokenizer.ggml.model is '{}'; moxie reads 'llama' (SentencePiece BPE) and 'gpt2' (byte-level BPE)",
                vocabulary.model.substr(0, 80));
  }
  if (size == 0) return fail(ErrorCode::corrupt, "tokenizer.ggml.tokens is empty: the file carries no vocabulary");
  for (const auto& [what, count] :
       {std::pair{"scores", vocabulary.scores.size()}, {"token_type", vocabulary.types.size()}}) {
    if (count != 0 && count != size) {
      return fail(ErrorCode::corrupt, "tokenizer.ggml.{} has {} entries, tokenizer.ggml.tokens {}", what, count, size);
    }
  }
  const bool byte_level = vocabulary.model == "gpt2";
  spec.byte_level = spec.byte_symbols = byte_level;
  spec.texts = vocabulary.tokens;
  MOXIE_TRY_VOID(fill_kinds(vocabulary, spec));
  MOXIE_TRY(spec.bos, special_id(vocabulary, spec, "bos", byte_level ? 11 : 1));
  MOXIE_TRY(spec.eos, special_id(vocabulary, spec, "eos", byte_level ? 11 : 2));
  MOXIE_TRY(spec.unknown, special_id(vocabulary, spec, "unknown", byte_level ? -1 : 0));
  for (const char* name : {"eot", "eom"}) {
    MOXIE_TRY(const int32_t id, special_id(vocabulary, spec, name, -1));
    spec.end_ids.push_back(id);
  }
  if (byte_level) {
    MOXIE_TRY_VOID(read_byte_level(vocabulary, spec));
  } else {
    read_sentencepiece(vocabulary, spec);
  }
  collect_added(spec);
  return spec;
}

}  // namespace moxie
