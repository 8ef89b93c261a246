// tekken.json of Mistral's own checkpoints: tokens are byte strings, merged by their rank.
#include <algorithm>
#include <array>

#include "core/fail.h"
#include "core/json.h"
#include "text/json_fields.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

constexpr int64_t kTokensMax = 1 << 22;

// The names of the special tokens in files that do not list them; ids are their places.
constexpr std::string_view kSpecials[] = {"<unk>",
                                          "<s>",
                                          "</s>",
                                          "[INST]",
                                          "[/INST]",
                                          "[AVAILABLE_TOOLS]",
                                          "[/AVAILABLE_TOOLS]",
                                          "[TOOL_RESULTS]",
                                          "[/TOOL_RESULTS]",
                                          "[TOOL_CALLS]",
                                          "[IMG]",
                                          "<pad>",
                                          "[IMG_BREAK]",
                                          "[IMG_END]",
                                          "[PREFIX]",
                                          "[MIDDLE]",
                                          "[SUFFIX]",
                                          "[SYSTEM_PROMPT]",
                                          "[/SYSTEM_PROMPT]",
                                          "[TOOL_CONTENT]"};

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

// Padding is optional; nullopt for anything that is not base64.
std::optional<std::string> from_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return count >= 6 ? std::nullopt : std::optional(bytes);
}

struct Sizes {
  int64_t vocabulary = 0, specials = 0;
};

Result<Sizes> read_sizes(const Json& config, size_t entries) {
  Sizes sizes;
  sizes.specials = id_field(config, "default_num_special_tokens");
  sizes.vocabulary = id_field(config, "default_vocab_size");
  const int64_t words = sizes.vocabulary - sizes.specials;
  if (sizes.specials < 3 || sizes.vocabulary > kTokensMax || words <= 0 || words > static_cast<int64_t>(entries)) {
    return fail(
        ErrorCode::corrupt,
        "tekken.json: default_vocab_size {} and default_num_special_tokens {} do not fit the {} entries of vocab",
        sizes.vocabulary, sizes.specials, entries);
  }
  // The number of special tokens comes from the file: the ordinary ones, which are there, bound it.
  if (sizes.specials > words + (1 << 16)) {
    return fail(ErrorCode::corrupt, "tekken.json: {} special tokens for {} ordinary ones", sizes.specials, words);
  }
  return sizes;
}

Result<void> read_specials(const Json& file, TokenizerSpec& spec) {
  const auto put = [&spec](int64_t id, std::string text) { spec.texts[static_cast<size_t>(id)] = std::move(text); };
  const int64_t count = spec.size();
  for (int64_t id = 0; id < count; ++id) {
    put(id,
        static_cast<size_t>(id) < std::size(kSpecials) ? std::string(kSpecials[id]) : fmt::format("<SPECIAL_{}>", id));
  }
  const Json* list = file.find("special_tokens");
  if (list != nullptr && list->array() != nullptr) {
    for (const Json& entry : *list->array()) {
      const int64_t id = id_field(entry, "rank");
      if (id < 0 || id >= count) {
        return fail(ErrorCode::corrupt, "tekken.json: special token '{}' has rank {}, there are {}",
                    text_field(entry, "token_str").substr(0, 80), id, count);
      }
      put(id, text_field(entry, "token_str"));
    }
  }
  spec.kinds.assign(spec.texts.size(), TokenKind::control);
  spec.kinds[0] = TokenKind::unknown;
  for (int32_t id = 0; id < spec.size(); ++id) {
    spec.added.push_back({.content = spec.texts[static_cast<size_t>(id)], .id = id, .special = true});
  }
  return {};
}

Result<void> read_words(const Json::Array& entries, int64_t specials, int64_t words, TokenizerSpec& spec) {
  spec.texts.resize(static_cast<size_t>(specials + words));
  spec.kinds.resize(spec.texts.size(), TokenKind::normal);
  spec.scores.assign(spec.texts.size(), 0.0f);
  std::vector<bool> seen(static_cast<size_t>(words));
  for (const Json& entry : entries) {
    const int64_t rank = id_field(entry, "rank");
    if (rank >= words) continue;
    auto bytes = from_base64(text_field(entry, "token_bytes"));
    if (rank < 0 || !bytes || bytes->empty() || seen[static_cast<size_t>(rank)]) {
      return fail(ErrorCode::corrupt,
                  "tekken.json: vocab has an entry with rank {} that is doubled or has no base64 token_bytes", rank);
    }
    seen[static_cast<size_t>(rank)] = true;
    spec.texts[static_cast<size_t>(specials + rank)] = std::move(*bytes);
    spec.scores[static_cast<size_t>(specials + rank)] = -static_cast<float>(rank);
  }
  if (const auto gap = std::find(seen.begin(), seen.end(), false); gap != seen.end()) {
    return fail(ErrorCode::corrupt, "tekken.json: vocab has no entry with rank {}", gap - seen.begin());
  }
  return {};
}

}  // namespace

Result<TokenizerSpec> read_tekken(std::string_view tekken_json) {
  MOXIE_TRY(const Json file, parse_json(tekken_json, "tekken.json"));
  const Json* config = file.find("config");
  const Json* vocabulary = file.find("vocab");
  if (config == nullptr || vocabulary == nullptr || vocabulary->array() == nullptr) {
    return fail(ErrorCode::corrupt, "tekken.json: has no config or no vocab");
  }
  MOXIE_TRY(const Sizes sizes, read_sizes(*config, vocabulary->array()->size()));
  const std::string pattern = text_field(*config, "pattern");
  if (pattern.empty()) return fail(ErrorCode::corrupt, "tekken.json: config has no pattern");
  TokenizerSpec spec;
  spec.texts.resize(static_cast<size_t>(sizes.specials));
  MOXIE_TRY_VOID(read_specials(file, spec));
  MOXIE_TRY_VOID(read_words(*vocabulary->array(), sizes.specials, sizes.vocabulary - sizes.specials, spec));
  spec.scheme = "byte-level bpe (tekken)";
  spec.byte_symbols = true;
  spec.space_mark = false;
  spec.merge_by_score = true;
  spec.ignore_merges = true;
  spec.pre_tokenizers.emplace_back(SplitRegex{pattern});
  spec.unknown = 0;
  spec.bos = 1;
  spec.eos = 2;
  spec.prefix = {spec.bos};
  return spec;
}

}  // namespace moxie
