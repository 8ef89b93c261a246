#include "text/bpe_tokenizer.h"

#include <algorithm>

#include "core/fail.h"
#include "text/utf8.h"

namespace moxie {
namespace {

// Tokens that end an answer wherever they occur, whatever the metadata says of them.
constexpr std::string_view kEndTexts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>",        "<end_of_turn>", "<|endoftext|>",
    "<|eom_id|>", "<EOT>",      "[EOT]",   "[EOS]",      "<|end_of_text|>", "</s>",          "<｜end▁of▁sentence｜>",
};

std::string with_spaces(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    if (text.compare(at, kSpaceMark.size(), kSpaceMark) == 0) {
      result += ' ';
      at += kSpaceMark.size();
    } else {
      result += text[at++];
    }
  }
  return result;
}

Result<void> check(const TokenizerSpec& spec) {
  const int32_t size = spec.size();
  if (size == 0) return fail(ErrorCode::corrupt, "the tokenizer's vocabulary is empty");
  for (const auto& [what, id] : {std::pair{"bos", spec.bos}, {"eos", spec.eos}, {"unknown", spec.unknown}}) {
    if (id >= size)
      return fail(ErrorCode::corrupt, "tokenizer: {} token id {} is not below the vocabulary size {}", what, id, size);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::create(TokenizerSpec spec) {
  MOXIE_TRY_VOID(check(spec));
  MOXIE_TRY(TextSteps steps, TextSteps::create(spec.normalizers, spec.pre_tokenizers));
  return std::unique_ptr<Tokenizer>(new BpeTokenizer(std::move(spec), std::move(steps)));
}

BpeTokenizer::BpeTokenizer(TokenizerSpec spec, TextSteps steps) : spec_(std::move(spec)), steps_(std::move(steps)) {
  scheme_ = spec_.scheme;
  notices_ = spec_.notices;
  bos_ = spec_.bos;
  eos_ = spec_.eos;
  unknown_ = spec_.unknown;
  add_bos_ = bos_ >= 0 && std::find(spec_.prefix.begin(), spec_.prefix.end(), bos_) != spec_.prefix.end();
  add_eos_ = eos_ >= 0 && std::find(spec_.suffix.begin(), spec_.suffix.end(), eos_) != spec_.suffix.end();
  strip_leading_space_ = spec_.strip_leading_space;
  table_.reserve(spec_.texts.size());
  for (size_t i = 0; i < spec_.texts.size(); ++i) table_.insert(spec_.texts[i], static_cast<int32_t>(i));
  collect_end_ids();
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : spec_.added) {
    if (token.normalized && !spec_.normalizers.empty()) {
      token.content = steps_.normalize(token.content);
      normalized.push_back(std::move(token));
    } else {
      raw.push_back(std::move(token));
    }
  }
  raw_added_.build(std::move(raw));
  normalized_added_.build(std::move(normalized));
  model_ = std::make_unique<BpeModel>(spec_, table_);
  kinds_ = spec_.kinds;
  note_missing();
  texts_ = std::move(spec_.texts);  // the strings stay where they are, and so do the table's pointers to them
  spec_.added.clear();
  spec_.merges = {};
  spec_.scores = {};
}

// Says so when some texts have no tokens at all.
void BpeTokenizer::note_missing() {
  const bool fallback = spec_.byte_fallback && std::find(kinds_.begin(), kinds_.end(), TokenKind::byte) != kinds_.end();
  if (unknown_ >= 0 || fallback) return;
  if (!spec_.byte_level) {
    notices_.push_back(
        "the vocabulary has neither byte tokens nor an unknown token: characters that no token holds are dropped");
    return;
  }
  const auto& alphabet = byte_level_alphabet();
  const auto missing =
      std::count_if(alphabet.begin(), alphabet.end(), [this](const std::string& letter) { return find(letter) < 0; });
  if (missing > 0)
    notices_.push_back(fmt::format("{} of the 256 bytes have no token in the vocabulary and are dropped", missing));
}

void BpeTokenizer::collect_end_ids() {
  std::vector<int64_t> ids = spec_.end_ids;
  ids.push_back(eos_);
  for (const std::string_view text : kEndTexts) {
    const int32_t id = table_.find(text);
    if (id < 0) continue;
    TokenKind& kind = spec_.kinds[static_cast<size_t>(id)];
    if (kind == TokenKind::normal) {
      if (text == "</s>") continue;  // also a piece of HTML: only a token of its own when the file says so
      kind = TokenKind::control;
      spec_.added.push_back({.content = std::string(text), .id = id, .special = true});
      notices_.push_back(fmt::format("token {} '{}' is not marked as a control token; it is taken as one", id, text));
    }
    ids.push_back(id);
  }
  for (const int64_t id : ids) {
    if (id < 0) continue;
    if (id >= spec_.size()) {
      notices_.push_back(
          fmt::format("end token {} is not below the vocabulary size {}; it is ignored", id, spec_.size()));
      continue;
    }
    end_ids_.push_back(static_cast<int32_t>(id));
  }
  std::sort(end_ids_.begin(), end_ids_.end());
  end_ids_.erase(std::unique(end_ids_.begin(), end_ids_.end()), end_ids_.end());
}

std::string BpeTokenizer::bytes(int32_t id, bool with_special) const {
  if (id < 0 || id >= vocabulary_size()) return {};
  const std::string& text = texts_[static_cast<size_t>(id)];
  switch (kinds_[static_cast<size_t>(id)]) {
    case TokenKind::control:
    case TokenKind::unknown:
      return with_special ? text : std::string();
    case TokenKind::byte: {
      const int value = byte_token_value(text);
      return value >= 0 ? std::string(1, static_cast<char>(value)) : text;
    }
    case TokenKind::user_defined:
      return spec_.byte_level || !spec_.space_mark ? text : with_spaces(text);
    case TokenKind::normal:
    case TokenKind::unused:
      break;
  }
  if (!spec_.byte_level) return spec_.space_mark ? with_spaces(text) : text;
  return from_byte_level(text).value_or(text);
}

void BpeTokenizer::encode_text(std::string_view text, bool first, bool special, BpeScratch& scratch,
                               std::vector<int32_t>& ids) const {
  const auto encode_pieces = [&](std::string_view normal, bool begins) {
    const TextPieces pieces = steps_.split(std::string(normal), begins);
    for (const TextPieces::Range& range : pieces.ranges) {
      model_->encode(std::string_view(pieces.text).substr(range.begin, range.end - range.begin), scratch, ids);
    }
  };
  const std::string normal = steps_.normalize(text);
  size_t at = 0;
  while (at < normal.size()) {
    const AddedTokens::Match match = normalized_added_.find(normal, at, special);
    const size_t end = match.id < 0 ? normal.size() : match.begin;
    if (end > at) encode_pieces(std::string_view(normal).substr(at, end - at), first && at == 0);
    if (match.id < 0) break;
    ids.push_back(match.id);
    at = match.end;
  }
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  BpeScratch scratch;
  for (size_t at = 0; at < text.size();) {
    const AddedTokens::Match match = raw_added_.find(text, at, options.parse_special);
    const size_t end = match.id < 0 ? text.size() : match.begin;
    if (end > at)
      encode_text(text.substr(at, end - at), at == 0 && !options.continues, options.parse_special, scratch, ids);
    if (match.id < 0) break;
    ids.push_back(match.id);
    at = match.end;
  }
  if (options.add_special) {
    const bool there =
        ids.size() >= spec_.prefix.size() && std::equal(spec_.prefix.begin(), spec_.prefix.end(), ids.begin());
    if (!there) ids.insert(ids.begin(), spec_.prefix.begin(), spec_.prefix.end());
    ids.insert(ids.end(), spec_.suffix.begin(), spec_.suffix.end());
  }
  return ids;
}

}  // namespace moxie
