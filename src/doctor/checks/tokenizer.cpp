// Vocabulary and chat template: without them the model computes, and text is another matter.
#include "text/tokenizer.h"

#include <fmt/format.h>

#include "chat/chat_template.h"
#include "doctor/check.h"

namespace moxie::checks {
namespace {

void run(const CheckInput& input, Findings& findings) {
  const TokenizerSource& source = input.files.tokenizer;
  const bool gguf = input.files.scheme == NameScheme::gguf;
  const bool only_side_files = !source.gguf && !source.files.contains("tokenizer.json") &&
                               !source.files.contains("tokenizer.model") && !source.files.contains("tekken.json");
  if (only_side_files) {
    findings.add({.code = "no-tokenizer",
                  .found = "none",
                  .expected = gguf ? "tokenizer.ggml.tokens" : "tokenizer.json, tokenizer.model or tekken.json"});
    return;
  }
  if (model_templates(source).empty()) {
    findings.add({.code = "no-template",
                  .found = "none",
                  .expected = gguf ? "tokenizer.chat_template" : "chat_template in tokenizer_config.json"});
  }
  if (source.gguf && source.gguf->model == "gpt2" && source.gguf->pre.empty()) {
    findings.add({.code = "no-pre-tokenizer", .found = "none", .expected = "tokenizer.ggml.pre"});
  }
  const auto created = Tokenizer::create(source);
  if (!created.ok()) {
    findings.add({.code = "tokenizer-unusable", .found = created.error().message});
    return;
  }
  if (input.plan == nullptr) return;
  const int64_t tokens = (*created)->vocabulary_size(), rows = input.plan->hp.vocabulary;
  if (tokens != rows) {
    findings.add({.code = "vocabulary-differs",
                  .found = fmt::format("{} rows in the embedding", rows),
                  .expected = fmt::format("{} tokens", tokens)});
  }
}

}  // namespace

extern constinit const ModelCheck tokenizer = {.name = "tokenizer", .run = run};

}  // namespace moxie::checks
