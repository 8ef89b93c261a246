#include "text/tokenizer.h"

#include <algorithm>

#include "core/fail.h"
#include "text/bpe_tokenizer.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

// A model may compute more logits than its tokenizer has tokens (padding); ids up to this much further get empty
// tokens.
constexpr int64_t kPaddingMax = 1 << 20;

void fit_to_model(int64_t configured, TokenizerSpec& spec) {
  if (configured <= 0 || configured == spec.size()) return;
  if (configured < spec.size()) {
    spec.notices.push_back(fmt::format("the tokenizer has {} tokens, the model only {}; the last ones cannot be used",
                                       spec.size(), configured));
    return;
  }
  if (configured - spec.size() > kPaddingMax) return;
  spec.texts.resize(static_cast<size_t>(configured));
  spec.kinds.resize(static_cast<size_t>(configured), TokenKind::unused);
  if (!spec.scores.empty()) spec.scores.resize(static_cast<size_t>(configured));
}

Result<TokenizerSpec> read_source(const TokenizerSource& source) {
  if (source.gguf) return read_gguf_vocabulary(*source.gguf);
  struct Reader {
    const char* file;
    Result<TokenizerSpec> (*read)(std::string_view);
  };
  static constexpr Reader kReaders[] = {
      {"tokenizer.json", read_huggingface_tokenizer},
      {"tokenizer.model", read_sentencepiece_model},
      {"tekken.json", read_tekken},
  };
  for (const Reader& reader : kReaders) {
    const auto file = source.files.find(reader.file);
    if (file == source.files.end()) continue;
    MOXIE_TRY(TokenizerSpec spec, reader.read(file->second));
    MOXIE_TRY_VOID(apply_side_files(source, spec));
    return spec;
  }
  return fail(ErrorCode::unsupported,
              "the model carries no tokenizer: none of tokenizer.json, tokenizer.model, tekken.json lies beside it, "
              "and it has no "
              "tokenizer.ggml keys; give token ids (--ids) instead of text");
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const TokenizerSource& source) {
  MOXIE_TRY(TokenizerSpec spec, read_source(source));
  spec.end_ids.insert(spec.end_ids.end(), source.configured_eos_ids.begin(), source.configured_eos_ids.end());
  fit_to_model(source.configured_vocab_size, spec);
  return BpeTokenizer::create(std::move(spec));
}

bool Tokenizer::is_end(int32_t id) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), id);
}

}  // namespace moxie
