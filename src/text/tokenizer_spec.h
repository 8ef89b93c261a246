// What a tokenizer does, read from whatever source and put in one form; BpeTokenizer runs it. Plain data.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/tokenizer_source.h"
#include "moxie/error.h"
#include "text/token_table.h"
#include "text/tokenizer.h"

namespace moxie {

inline constexpr std::string_view kSpaceMark = "\u2581";  // ▁: how SentencePiece writes a space

// Ids may leave gaps, but no table is made large by one absurd id.
inline constexpr size_t kIdGapsMax = 1 << 16;

// ---- Steps before merging ----
// Each works on the text between special tokens.
struct PrependText {
  std::string text;
};  // before every piece that is not empty
struct ReplaceText {
  std::string from, to;
};  // literal
struct ReplaceRegex {
  std::string pattern, to;
};
enum class UnicodeForm { nfc, nfd, nfkc, nfkd, lowercase, strip_accents };
struct StripSpaces {
  bool left, right;
};
struct CollapseSpaces {};  // runs of U+0020 become one, none at the ends
using Normalizer = std::variant<PrependText, ReplaceText, ReplaceRegex, UnicodeForm, StripSpaces, CollapseSpaces>;

// What becomes of the matches of a pattern when a text is split at them.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
struct SplitRegex {
  std::string pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // the pattern matches what is between the separators
};
struct Metaspace {
  enum class Prepend { always, first, never };
  std::string mark;
  Prepend prepend = Prepend::always;
  bool split = true;
};
struct PrependSpace {};  // one space before a piece that begins with none
using PreTokenizer = std::variant<SplitRegex, Metaspace, PrependSpace>;

// ---- The model ----
struct MergeRule {
  int32_t left, right, result;
};

// A token that is cut out of the text before anything else.
struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;                 // only cut out when special tokens are asked for
  bool lstrip = false, rstrip = false;  // takes the white space beside it
  bool single_word = false;             // only between characters that belong to no word
  bool normalized = false;              // looked for after normalizing
};

struct TokenizerSpec {
  std::string scheme;
  std::vector<std::string> texts;
  std::vector<TokenKind> kinds;
  std::vector<AddedToken> added;

  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> pre_tokenizers;

  bool byte_level = false;    // texts are spelled in the byte-level alphabet; else as they are
  bool byte_symbols = false;  // merging begins with bytes; else with characters
  bool merge_by_score =
      false;  // neighbours merge when their concatenation is a token, best score first; else by `merges`
  std::vector<float> scores;         // REQUIRED for merge_by_score
  std::vector<MergeRule> merges;     // best first
  bool ignore_merges = false;        // a word that is a token is taken whole
  bool byte_fallback = false;        // what is no token becomes byte tokens
  bool fuse_unknown = true;          // several unknown characters in a row give one unknown token
  bool frozen_user_defined = false;  // user-defined tokens are found while merging (SentencePiece), not cut out before
  bool resegment_unused = false;     // a merged token of kind unused falls apart again (SentencePiece)
  // Token spelling for decoding when not byte-level: the mark that stands for a space.
  bool space_mark = true;

  int32_t bos = -1, eos = -1, unknown = -1;
  std::vector<int64_t> end_ids;         // beside eos; may be out of range, then they are dropped
  std::vector<int32_t> prefix, suffix;  // what add_special puts around a text
  bool strip_leading_space = false;
  std::vector<std::string> notices;

  int32_t size() const { return static_cast<int32_t>(texts.size()); }
};

// The 256 characters of the byte-level alphabet, as UTF-8, by byte.
const std::array<std::string, 256>& byte_level_alphabet();
// Its inverse. nullopt when a character of `text` is not of the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);
// The value of "<0xHH>"; -1 for any other text.
int byte_token_value(std::string_view text);

// Turns pairs of texts into merge rules. Pairs whose parts or whole are no tokens can never apply: they are counted,
// not kept.
class MergeReader {
 public:
  explicit MergeReader(TokenizerSpec& spec);  // REQUIRES: the texts of spec are complete
  void add(std::string_view left, std::string_view right);
  void finish();  // notes what was dropped

 private:
  TokenizerSpec* spec_;
  TokenTable table_;
  std::string whole_;
  size_t given_ = 0;
};

// Readers. Each checks everything it uses; none trusts a number in its source.
Result<TokenizerSpec> read_gguf_vocabulary(const GgufVocabulary& vocabulary);
Result<TokenizerSpec> read_sentencepiece_model(std::string_view file);
Result<TokenizerSpec> read_huggingface_tokenizer(std::string_view tokenizer_json);
Result<TokenizerSpec> read_tekken(std::string_view tekken_json);

// tokenizer_config.json, special_tokens_map.json, added_tokens.json and generation_config.json: names of BOS and EOS,
// whether they are added, further tokens.
Result<void> apply_side_files(const TokenizerSource& source, TokenizerSpec& spec);
// Puts a token into the list of added ones and gives it its place in the vocabulary.
Result<void> add_token(TokenizerSpec& spec, AddedToken token, size_t ids_max);

}  // namespace moxie
