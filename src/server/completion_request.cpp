#include "server/completion_request.h"

#include "core/fail.h"
#include "server/fields.h"
#include "server/sampling_fields.h"
#include "server/wire_openai_chat.h"

namespace moxie::server {
namespace {

constexpr int64_t kTokensMax = int64_t{1} << 40;
constexpr int kChoicesMax = 16, kProbsMax = 100, kGenerationsMax = 128;

void read_native(Fields& fields, CompletionRequest& request) {
  fields.flag("return_tokens", request.return_tokens);
  fields.flag("return_progress", request.return_progress);
  fields.flag("timings_per_token", request.timings_per_token);
  fields.flag("post_sampling_probs", request.post_sampling_probs);
  fields.integer("id_slot", request.slot, -1, std::numeric_limits<int>::max());
  fields.integer("n_keep", request.generate.keep, -1, kTokensMax);
  fields.array("response_fields", request.response_fields);
  int probs = 0;
  fields.integer("n_probs", probs, 0, kProbsMax);
  if (probs > 0) request.n_probs = probs;
  if (request.post_sampling_probs) {
    fields.fail_with(fail(ErrorCode::unsupported,
                          "'post_sampling_probs' is true; probabilities here are those before sampling alone"));
  }
}

void read_openai(Fields& fields, CompletionRequest& request) {
  fields.flag("echo", request.echo);
  fields.integer("n", request.choices, 1, kChoicesMax);
  int best_of = request.choices;
  fields.integer("best_of", best_of, 1, kChoicesMax);
  if (best_of != request.choices) {
    fields.fail_with(
        fail(ErrorCode::invalid_argument, "'best_of' is {}; it must be n, which is {}", best_of, request.choices));
  }
  std::string suffix;
  fields.text("suffix", suffix);
  if (!suffix.empty()) {
    fields.fail_with(fail(ErrorCode::invalid_argument, "'suffix' is not taken here; /infill fills a gap"));
  }
  // The older form is a number, that of the chat a flag.
  if (const Json* logprobs = fields.find("logprobs"); logprobs != nullptr && logprobs->get_if<bool>() == nullptr) {
    int top = 0;
    fields.integer("logprobs", top, 0, kProbsMax);
    request.n_probs = top;
  }
  Json stream_options;
  fields.object("stream_options", stream_options);
  if (stream_options.object() == nullptr) return;
  Fields inner(stream_options, "stream_options.");
  inner.flag("include_usage", request.include_usage);
  if (auto done = inner.done(); !done.ok()) fields.fail_with(std::move(done).error());
}

}  // namespace

Result<CompletionRequest> read_completion(const Service& service, const Json& body, CompletionStyle style) {
  MOXIE_TRY(const Tokenizer* tokenizer, service.tokenizer());
  const Json* prompt = body.find("prompt");
  MOXIE_TRY(auto prompts, read_prompts(prompt, "prompt", *tokenizer));
  MOXIE_TRY(auto request, read_completion(service, body, style, std::move(prompts)));
  if (prompt->text() != nullptr) request.prompt_text = *prompt->text();
  return request;
}

Result<CompletionRequest> read_completion(const Service& service, const Json& body, CompletionStyle style,
                                          PromptInputs prompts) {
  MOXIE_TRY(const Tokenizer* tokenizer, service.tokenizer());
  CompletionRequest request;
  request.prompts = std::move(prompts);
  request.generate = service.options.generate;
  Fields fields(body);
  fields.text("model", request.model);
  fields.flag("stream", request.stream);
  fields.flag("cache_prompt", request.cache_prompt);
  for (const std::string_view name : {"n_predict", "max_tokens", "max_completion_tokens"}) {
    fields.integer(name, request.generate.max_tokens, -1, kTokensMax);
  }
  read_stops(fields, request.generate.stop);
  if (style == CompletionStyle::openai) read_openai(fields, request);
  read_native(fields, request);
  read_sampling(fields, request.generate.sampling,
                [tokenizer](std::string_view text) { return tokenizer->encode(text, {.continues = true}); });
  Json format;
  fields.object("response_format", format);
  MOXIE_TRY_VOID(fields.done());
  MOXIE_TRY_VOID(apply_response_format(format, request.generate.sampling));
  MOXIE_TRY_VOID(service.check_model(request.model));
  const size_t generations = request.prompts.prompts.size() * static_cast<size_t>(request.choices);
  if (generations > kGenerationsMax) {
    return fail(ErrorCode::invalid_argument, "'n' makes {} answers of {} prompts; at most {} are made at once",
                generations, request.prompts.prompts.size(), kGenerationsMax);
  }
  return request;
}

std::vector<GenerateRequest> generations_of(const CompletionRequest& request, const std::string& id) {
  std::vector<GenerateRequest> made;
  for (const auto& prompt : request.prompts.prompts) {
    for (int i = 0; i < request.choices; ++i) {
      GenerateRequest one;
      one.prompt = prompt;
      one.options = request.generate;
      if (one.options.sampling.seed != 0xFFFFFFFFu) one.options.sampling.seed += static_cast<uint64_t>(i);
      one.logprobs = request.n_probs >= 0;
      one.n_probs = std::max(0, request.n_probs);
      one.cache_prompt = request.cache_prompt;
      one.slot = request.slot;
      one.id = id;
      made.push_back(std::move(one));
    }
  }
  return made;
}

}  // namespace moxie::server
