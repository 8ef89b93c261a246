// Tokenizers from whatever bytes: tokenizer.json, tekken.json, tokenizer.model, or a GGUF header's vocabulary. What can
// be created encodes and decodes the input's end: ids lie in the vocabulary, a stream gives what the whole gives, and
// no byte is lost where every byte has a token.
#include <algorithm>
#include <string>
#include <string_view>

#include "core/byte_reader.h"
#include "core/check.h"
#include "format/formats/gguf_header.h"
#include "text/detokenizer.h"
#include "text/instruct.h"
#include "text/tokenizer.h"

using namespace moxie;

namespace {

void use(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, {.add_special = special, .parse_special = special});
    std::string whole;
    Detokenizer stream(tokenizer, {.with_special = special});
    std::string streamed;
    for (const int32_t id : ids) {
      MOXIE_CHECK(id >= 0 && id < tokenizer.vocabulary_size());
      whole += tokenizer.bytes(id, special);
      const std::string piece = stream.push(id);
      MOXIE_CHECK(complete_utf8_prefix(piece) == piece.size());
      streamed += piece;
    }
    streamed += stream.finish();
    MOXIE_CHECK(streamed == to_valid_utf8(whole));
  }
  for (const int32_t id : tokenizer.end_ids()) MOXIE_CHECK(tokenizer.is_end(id));
  MOXIE_CHECK(!tokenizer.is_end(-1));
  for (const int32_t id :
       turn_ids(tokenizer, choose_wrapping(tokenizer, text, "").wrapping, {.user = text, .first = true})) {
    MOXIE_CHECK(id >= 0 && id < tokenizer.vocabulary_size());
  }
}

void create(const TokenizerSource& source, std::string_view text) {
  const auto tokenizer = Tokenizer::create(source);
  if (tokenizer.ok()) {
    use(**tokenizer, text);
  } else {
    MOXIE_CHECK(!tokenizer.error().message.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view text = bytes.substr(size - std::min<size_t>(size, 96));
  for (const char* name : {"tokenizer.json", "tekken.json", "tokenizer.model"}) {
    TokenizerSource source;
    source.files[name] = bytes;
    create(source, text);
  }
  const MemorySource file("fuzz", bytes);
  if (auto header = read_gguf_header(file); header.ok()) {
    TokenizerSource source;
    source.gguf = std::move(header->vocabulary);
    create(source, text);
  }
  return 0;
}
