#include "format/formats/gguf_vocabulary.h"

#include <algorithm>
#include <cmath>

#include "core/fail.h"

namespace moxie {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

Error wrong_kind(const std::string& path, std::string_view key, std::string_view wanted) {
  return fail(ErrorCode::corrupt,
              "{}: {} is no array of {}: the file is damaged or was converted wrongly; get another conversion", path,
              key, wanted);
}

Result<void> take_texts(const std::string& path, std::string_view key, MetadataValue& value,
                        std::vector<std::string>& into) {
  auto* texts = std::get_if<std::vector<std::string>>(&value);
  if (texts == nullptr) return wrong_kind(path, key, "strings");
  into = std::move(*texts);
  return {};
}

Result<void> take_scores(const std::string& path, std::string_view key, const MetadataValue& value,
                         std::vector<float>& into) {
  const auto* scores = std::get_if<std::vector<double>>(&value);
  if (scores == nullptr) return wrong_kind(path, key, "floats");
  // Merging orders by score, which a NaN has no place in.
  if (std::any_of(scores->begin(), scores->end(), [](double score) { return std::isnan(score); })) {
    return wrong_kind(path, key, "numbers: it holds NaN");
  }
  into.assign(scores->begin(), scores->end());
  return {};
}

Result<void> take_types(const std::string& path, std::string_view key, const MetadataValue& value,
                        std::vector<int32_t>& into) {
  const auto* types = std::get_if<std::vector<int64_t>>(&value);
  const auto fits = [](int64_t type) { return type >= 0 && type <= INT32_MAX; };
  if (types == nullptr || !std::all_of(types->begin(), types->end(), fits)) return wrong_kind(path, key, "token types");
  for (const int64_t type : *types) into.push_back(static_cast<int32_t>(type));
  return {};
}

}  // namespace

Result<bool> take_vocabulary_key(const std::string& path, std::string_view key, MetadataValue& value,
                                 GgufVocabulary& vocabulary) {
  const std::string_view name = key.starts_with(kPrefix) ? key.substr(kPrefix.size()) : "";
  if (name == "tokens") {
    MOXIE_TRY_VOID(take_texts(path, key, value, vocabulary.tokens));
  } else if (name == "merges") {
    MOXIE_TRY_VOID(take_texts(path, key, value, vocabulary.merges));
  } else if (name == "scores") {
    MOXIE_TRY_VOID(take_scores(path, key, value, vocabulary.scores));
  } else if (name == "token_type") {
    MOXIE_TRY_VOID(take_types(path, key, value, vocabulary.types));
  } else {
    return false;
  }
  return true;
}

Result<void> finish_vocabulary(const std::string& path, const Metadata& metadata, GgufVocabulary& vocabulary,
                               std::vector<std::string>& notices) {
  const size_t tokens = vocabulary.tokens.size();
  const auto same_length = [&](std::string_view name, size_t length) -> Result<void> {
    if (length == 0 || length == tokens) return {};
    return fail(ErrorCode::corrupt,
                "{}: tokenizer.ggml.{} has {} entries for {} tokens: the file is damaged or was converted wrongly; "
                "download it again, or get another conversion",
                path, name, length, tokens);
  };
  MOXIE_TRY_VOID(same_length("scores", vocabulary.scores.size()));
  MOXIE_TRY_VOID(same_length("token_type", vocabulary.types.size()));
  vocabulary.model = metadata.text("tokenizer.ggml.model").value_or("");
  vocabulary.pre = metadata.text("tokenizer.ggml.pre").value_or("");
  vocabulary.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token");
  vocabulary.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token");
  vocabulary.add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix");
  constexpr std::string_view kSuffix = "_token_id";
  for (auto entry = metadata.all().lower_bound(kPrefix); entry != metadata.all().end(); ++entry) {
    const std::string& key = entry->first;
    if (!key.starts_with(kPrefix)) break;
    const std::optional<int64_t> id = metadata.integer(key);
    if (!key.ends_with(kSuffix) || !id) continue;
    std::string name = key.substr(kPrefix.size(), key.size() - kPrefix.size() - kSuffix.size());
    if (name == "seperator") name = "separator";  // as llama.cpp spells it
    if (*id < 0 || static_cast<uint64_t>(*id) >= tokens) {
      // Real files carry such ids for tokens they do not have; nothing else depends on them.
      if (tokens != 0) {
        notices.push_back(fmt::format("{} is {}, outside the vocabulary of {} tokens: ignored", key, *id, tokens));
      }
      continue;
    }
    vocabulary.special_ids[name] = *id;
  }
  return {};
}

}  // namespace moxie
