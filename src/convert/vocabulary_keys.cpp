#include "convert/vocabulary_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/fail.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

constexpr float kNoScore = -1e9f;  // merged last; SentencePiece writes it where a piece is not to be merged

int32_t gguf_type(TokenKind kind) {
  switch (kind) {
    case TokenKind::normal:
      return 1;
    case TokenKind::unknown:
      return 2;
    case TokenKind::control:
      return 3;
    case TokenKind::user_defined:
      return 4;
    case TokenKind::unused:
      return 5;
    case TokenKind::byte:
      return 6;
  }
  return 1;
}

// Those of tokenizer.json that tokenizer.model lacks: tokens of fine-tunes.
Result<void> add_missing_tokens(const TokenizerSpec& from, TokenizerSpec& spec) {
  for (const AddedToken& token : from.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id < spec.texts.size() && spec.texts[id] == token.content) continue;
    MOXIE_TRY_VOID(add_token(spec, token, from.texts.size()));
  }
  return {};
}

// What runs is tokenizer.json where there is one. A tokenizer.model beside it gives the scores that GGUF wants.
Result<TokenizerSpec> read_files(const TokenizerSource& source) {
  const auto file = [&](const char* name) -> const std::string* {
    const auto found = source.files.find(name);
    return found == source.files.end() ? nullptr : &found->second;
  };
  const std::string *json = file("tokenizer.json"), *model = file("tokenizer.model"), *tekken = file("tekken.json");
  TokenizerSpec spec;
  if (json != nullptr) {
    MOXIE_TRY(spec, read_huggingface_tokenizer(*json));
    if (model != nullptr && !spec.byte_level) {
      MOXIE_TRY(TokenizerSpec scored, read_sentencepiece_model(*model));
      MOXIE_TRY_VOID(add_missing_tokens(spec, scored));
      scored.normalizers = std::move(spec.normalizers);
      scored.pre_tokenizers = std::move(spec.pre_tokenizers);
      scored.prefix = std::move(spec.prefix);
      scored.suffix = std::move(spec.suffix);
      spec = std::move(scored);
    }
  } else if (model != nullptr) {
    MOXIE_TRY(spec, read_sentencepiece_model(*model));
  } else if (tekken != nullptr) {
    MOXIE_TRY(spec, read_tekken(*tekken));
  } else {
    return fail(ErrorCode::unsupported,
                "none of tokenizer.model, tokenizer.json and tekken.json lies beside the model");
  }
  MOXIE_TRY_VOID(apply_side_files(source, spec));
  return spec;
}

void set_id(GgufVocabulary& vocabulary, const char* name, int64_t id) {
  if (id >= 0 && id < static_cast<int64_t>(vocabulary.tokens.size())) vocabulary.special_ids[name] = id;
}

void set_special_ids(const TokenizerSpec& spec, const TokenizerSource& source, GgufVocabulary& vocabulary) {
  set_id(vocabulary, "bos", spec.bos);
  set_id(vocabulary, "eos", spec.eos);
  set_id(vocabulary, "unknown", spec.unknown);
  // GGUF has room for one more end of a turn.
  std::vector<int64_t> ends = spec.end_ids;
  ends.insert(ends.end(), source.configured_eos_ids.begin(), source.configured_eos_ids.end());
  for (const int64_t id : ends) {
    if (id != spec.eos && !vocabulary.special_ids.contains("eot")) set_id(vocabulary, "eot", id);
  }
  const auto holds = [](const std::vector<int32_t>& ids, int32_t id) {
    return id >= 0 && std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  vocabulary.add_bos = holds(spec.prefix, spec.bos);
  vocabulary.add_eos = holds(spec.suffix, spec.eos);
}

// ---- SentencePiece ----

// In a vocabulary that merges by rank, a token's score is the rank of the first merge that gives it. Both ways give the
// same ids if every two tokens that make a third may merge.
void scores_from_merges(const TokenizerSpec& spec, GgufVocabulary& vocabulary, Log& log) {
  vocabulary.scores.assign(spec.texts.size(), kNoScore);
  for (size_t rank = spec.merges.size(); rank-- > 0;) {
    vocabulary.scores[static_cast<size_t>(spec.merges[rank].result)] = -static_cast<float>(rank);
  }
  for (size_t id = 0; id < spec.texts.size(); ++id) {
    if (spec.kinds[id] != TokenKind::normal) vocabulary.scores[id] = 0;
  }
  log.write(LogLevel::info,
            "tokenizer.json names no scores: those of the GGUF file are made from the order of its merges");
}

Result<void> read_sentencepiece_steps(const TokenizerSpec& spec, GgufVocabulary& vocabulary, Log& log) {
  bool prefix = false;
  for (const Normalizer& step : spec.normalizers) {
    if (const auto* prepend = std::get_if<PrependText>(&step)) {
      if (prepend->text != " " && prepend->text != kSpaceMark) {
        return fail(ErrorCode::unsupported, "the tokenizer puts '{}' before every text; GGUF has no word for that",
                    prepend->text.substr(0, 40));
      }
      prefix = true;
    } else if (std::holds_alternative<ReplaceText>(step)) {
      const auto& replace = std::get<ReplaceText>(step);
      if (replace.from == " " && replace.to == kSpaceMark) continue;
      return fail(ErrorCode::unsupported, "the tokenizer replaces '{}' by '{}'; GGUF has no word for that",
                  replace.from.substr(0, 40), replace.to.substr(0, 40));
    } else {
      log.notice(
          "the tokenizer normalizes texts in a way that GGUF has no word for; unusual characters may get other "
          "tokens");
    }
  }
  for (const PreTokenizer& step : spec.pre_tokenizers) {
    const auto* metaspace = std::get_if<Metaspace>(&step);
    if (metaspace == nullptr || metaspace->mark != kSpaceMark) {
      return fail(ErrorCode::unsupported,
                  "the tokenizer merges like SentencePiece but splits texts before; GGUF has no word for that");
    }
    prefix = metaspace->prepend != Metaspace::Prepend::never;
    if (metaspace->prepend == Metaspace::Prepend::first) {
      log.notice(
          "the tokenizer puts a space before the start of a text alone; in GGUF files it stands behind special "
          "tokens too");
    }
  }
  vocabulary.add_space_prefix = prefix;
  return {};
}

// ---- byte-level ----

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += byte_level_alphabet()[static_cast<unsigned char>(c)];
  return text;
}

bool does_the_same(const PreTokenizerEntry& entry, const TokenizerSpec& spec) {
  if (entry.patterns.size() != spec.pre_tokenizers.size() || entry.ignore_merges != spec.ignore_merges) return false;
  for (size_t i = 0; i < entry.patterns.size(); ++i) {
    const auto* split = std::get_if<SplitRegex>(&spec.pre_tokenizers[i]);
    if (split == nullptr || split->pattern != entry.patterns[i] || split->behavior != SplitBehavior::isolated ||
        split->invert) {
      return false;
    }
  }
  return true;
}

Result<std::string> pre_tokenizer_name(const TokenizerSpec& spec, Log& log) {
  for (const Normalizer& step : spec.normalizers) {
    if (const auto* form = std::get_if<UnicodeForm>(&step); form != nullptr && *form == UnicodeForm::nfc) {
      log.write(LogLevel::info, "the tokenizer composes characters (NFC) first; readers of GGUF files do not");
      continue;
    }
    return fail(ErrorCode::unsupported,
                "tokenizer.json normalizes texts in a way that GGUF has no word for; the file cannot be written with "
                "this tokenizer");
  }
  const PreTokenizerEntry* same = nullptr;
  for (const PreTokenizerEntry& entry : pre_tokenizers()) {
    if (same == nullptr && does_the_same(entry, spec)) same = &entry;
  }
  if (same != nullptr) return std::string(same->names.front());
  return fail(ErrorCode::unsupported,
              "tokenizer.json splits texts in a way that has no name in GGUF (tokenizer.ggml.pre); the file cannot be "
              "written with this tokenizer");
}

// A vocabulary of bytes by rank says which tokens there are; which two made one is found by merging its bytes with the
// tokens before it.
void merges_from_ranks(const TokenizerSpec& spec, GgufVocabulary& vocabulary) {
  std::unordered_map<std::string_view, int32_t> ranks;
  std::vector<int32_t> order;
  for (int32_t id = 0; id < spec.size(); ++id) {
    if (spec.kinds[static_cast<size_t>(id)] != TokenKind::normal) continue;
    ranks.emplace(spec.texts[static_cast<size_t>(id)], static_cast<int32_t>(order.size()));
    order.push_back(id);
  }
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const std::string_view whole = spec.texts[static_cast<size_t>(order[rank])];
    std::vector<std::string_view> parts;
    for (size_t at = 0; at < whole.size(); ++at) parts.push_back(whole.substr(at, 1));
    while (parts.size() > 2) {
      size_t best = parts.size();
      int32_t best_rank = static_cast<int32_t>(rank);
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const std::string_view pair(parts[i].data(), parts[i].size() + parts[i + 1].size());
        const auto found = ranks.find(pair);
        if (found != ranks.end() && found->second < best_rank) {
          best_rank = found->second;
          best = i;
        }
      }
      if (best == parts.size()) break;
      parts[best] = {parts[best].data(), parts[best].size() + parts[best + 1].size()};
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    if (parts.size() == 2) vocabulary.merges.push_back(to_byte_level(parts[0]) + " " + to_byte_level(parts[1]));
  }
}

Result<void> read_byte_level(const TokenizerSpec& spec, GgufVocabulary& vocabulary, Log& log) {
  vocabulary.model = "gpt2";
  MOXIE_TRY(vocabulary.pre, pre_tokenizer_name(spec, log));
  if (spec.byte_level) {
    for (const MergeRule& merge : spec.merges) {
      vocabulary.merges.push_back(spec.texts[static_cast<size_t>(merge.left)] + " " +
                                  spec.texts[static_cast<size_t>(merge.right)]);
    }
    return {};
  }
  for (int32_t id = 0; id < spec.size(); ++id) {
    if (spec.kinds[static_cast<size_t>(id)] == TokenKind::normal)
      vocabulary.tokens[static_cast<size_t>(id)] = to_byte_level(spec.texts[static_cast<size_t>(id)]);
  }
  merges_from_ranks(spec, vocabulary);
  return {};
}

void fit_to_rows(int64_t rows, GgufVocabulary& vocabulary, Log& log) {
  const auto wanted = static_cast<size_t>(rows);
  const size_t found = vocabulary.tokens.size();
  if (found > wanted) {
    log.notice(fmt::format("the tokenizer has {} tokens, the model only {}; the last ones are left out", found, rows));
  }
  vocabulary.tokens.resize(wanted);
  vocabulary.types.resize(wanted, gguf_type(TokenKind::unused));
  if (!vocabulary.scores.empty()) vocabulary.scores.resize(wanted, kNoScore);
  // Readers want every token to have a text of its own.
  for (size_t id = 0; id < wanted; ++id) {
    if (vocabulary.tokens[id].empty()) vocabulary.tokens[id] = fmt::format("[PAD{}]", id);
  }
}

}  // namespace

Result<GgufVocabulary> make_gguf_vocabulary(const TokenizerSource& source, int64_t rows, Log& log) {
  if (source.gguf) return *source.gguf;
  MOXIE_TRY(const TokenizerSpec spec, read_files(source));
  for (const std::string& notice : spec.notices) log.notice(notice);
  GgufVocabulary vocabulary;
  vocabulary.tokens = spec.texts;
  for (const TokenKind kind : spec.kinds) vocabulary.types.push_back(gguf_type(kind));
  if (spec.byte_symbols) {
    MOXIE_TRY_VOID(read_byte_level(spec, vocabulary, log));
  } else {
    vocabulary.model = "llama";
    vocabulary.pre = "default";
    if (spec.merge_by_score) {
      vocabulary.scores = spec.scores;
    } else {
      scores_from_merges(spec, vocabulary, log);
    }
    MOXIE_TRY_VOID(read_sentencepiece_steps(spec, vocabulary, log));
  }
  fit_to_rows(rows, vocabulary, log);
  set_special_ids(spec, source, vocabulary);
  return vocabulary;
}

Result<void> add_vocabulary_keys(GgufHeaderBuilder& builder, const TokenizerSource& source, int64_t rows, Log& log) {
  if (source.empty()) {
    builder.text("tokenizer.ggml.model", "no_vocab");
    log.notice("the model carries no tokenizer; the file is written without one");
  } else {
    MOXIE_TRY(const GgufVocabulary vocabulary, make_gguf_vocabulary(source, rows, log));
    builder.text("tokenizer.ggml.model", vocabulary.model);
    builder.text("tokenizer.ggml.pre", vocabulary.pre);
    builder.texts("tokenizer.ggml.tokens", vocabulary.tokens);
    if (!vocabulary.scores.empty()) builder.f32s("tokenizer.ggml.scores", vocabulary.scores);
    builder.i32s("tokenizer.ggml.token_type", vocabulary.types);
    if (!vocabulary.merges.empty()) builder.texts("tokenizer.ggml.merges", vocabulary.merges);
    for (const auto& [name, id] : vocabulary.special_ids)
      builder.u32("tokenizer.ggml." + name + "_token_id", static_cast<uint32_t>(id));
    builder.boolean("tokenizer.ggml.add_bos_token", vocabulary.add_bos.value_or(false));
    builder.boolean("tokenizer.ggml.add_eos_token", vocabulary.add_eos.value_or(false));
    if (vocabulary.add_space_prefix) builder.boolean("tokenizer.ggml.add_space_prefix", *vocabulary.add_space_prefix);
  }
  std::vector<std::string> names;
  for (const auto& [name, text] : source.chat_templates) {
    builder.text(name.empty() ? "tokenizer.chat_template" : "tokenizer.chat_template." + name, text);
    if (!name.empty()) names.push_back(name);
  }
  if (!names.empty()) builder.texts("tokenizer.chat_templates", names);
  return {};
}

}  // namespace moxie
