// OpenAI's completions: text that goes on with a prompt.
#include <ctime>

#include "server/answer_run.h"
#include "server/completion_request.h"
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/sse.h"
#include "server/token_probs.h"
#include "server/wire_openai_chat.h"
#include "text/detokenizer.h"

namespace moxie::server::endpoints {
namespace {

class CompletionsRun final : public AnswerRun {
 public:
  CompletionsRun(const ServiceLease& service, std::shared_ptr<HttpExchange> exchange, CompletionRequest request)
      : AnswerRun(service, std::move(exchange), request.stream),
        request_(std::move(request)),
        id_("cmpl-" + random_key(24)),
        created_(std::time(nullptr)),
        choices_(request_.prompts.prompts.size() * static_cast<size_t>(request_.choices)) {
    if (!request_.echo) return;
    for (size_t i = 0; i < choices_.size(); ++i) choices_[i].text = choices_[i].echo = prompt_text(i);
  }

 private:
  struct Choice {
    std::string echo;  // the prompt, where it is wanted
    std::string text;
    std::vector<TokenLogprob> logprobs;
    size_t sent_logprobs = 0;
    size_t offset = 0;  // of the text that the next logprob belongs to
  };

  std::string prompt_text(size_t index) const {
    const auto& ids = request_.prompts.prompts[index / static_cast<size_t>(request_.choices)];
    return decode(service().prompts->tokenizer(), ids, {.at_start_of_text = true});
  }

  void begin(std::string& out) override {
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (!choices_[i].echo.empty()) append_event(out, chunk(i, choices_[i].echo, nullptr, nullptr));
    }
  }

  void token(size_t index, const TokenStep& step, std::string& out) override {
    Choice& choice = choices_[index];
    if (request_.n_probs >= 0 && step.id >= 0 && !service().prompts->tokenizer().is_end(step.id)) {
      choice.logprobs.push_back(logprob_of(step, service().prompts->tokenizer()));
    }
    choice.text += step.text;
    if (!request_.stream || step.text.empty()) return;
    append_event(out, chunk(index, step.text, nullptr, logprobs_json(choice)));
  }

  void ended(size_t index, std::string& out) override {
    if (request_.stream) append_event(out, chunk(index, "", finish_of(index), logprobs_json(choices_[index])));
  }

  void finish(std::string& out) override {
    if (request_.stream) {
      if (request_.include_usage) {
        Json made = envelope();
        put(made, "choices", array());
        put(made, "usage", usage());
        put(made, "timings", timings_json());
        append_event(out, made);
      }
      out += "data: [DONE]\n\n";
      return;
    }
    Json choices = array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      push(choices, object({{"text", choices_[i].text},
                            {"index", i},
                            {"logprobs", logprobs_json(choices_[i])},
                            {"finish_reason", finish_of(i)}}));
    }
    Json made = envelope();
    put(made, "choices", std::move(choices));
    put(made, "usage", usage());
    put(made, "timings", timings_json());
    out = to_text(made);
  }

  void fail_stream(const Error& error, std::string& out) override {
    append_event(out, error_body(http_status(error.code), error.message));
  }
  HttpResponse fail_response(const RequestError& error) override { return error_response(error); }

  std::string_view finish_of(size_t index) const {
    const StopReason reason = generations()[index].result.reason;
    return reason == StopReason::length || reason == StopReason::context_full ? "length" : "stop";
  }

  Json usage() const {
    const RequestTimings sum = timings();
    // Prompts count once, however many choices each has.
    ChatUsage usage{.completion_tokens = sum.generated_tokens};
    for (size_t i = 0; i < choices_.size(); i += static_cast<size_t>(request_.choices)) {
      usage.prompt_tokens += generations()[i].timings.prompt_tokens;
      usage.cached_tokens += generations()[i].timings.cached_tokens;
    }
    return openai_usage(usage);
  }

  Json envelope() const {
    return object({{"id", id_},
                   {"object", "text_completion"},
                   {"created", created_},
                   {"model", service().model_id},
                   {"system_fingerprint", "moxie"}});
  }

  Json chunk(size_t index, std::string_view text, JsonPart finish, JsonPart logprobs) const {
    Json made = envelope();
    put(made, "choices",
        array({object({{"text", text},
                       {"index", index},
                       {"logprobs", std::move(logprobs)},
                       {"finish_reason", std::move(finish)}})}));
    return made;
  }

  // Those that were not given yet, in the form of the older models.
  Json logprobs_json(Choice& choice) const {
    if (request_.n_probs < 0) return {};
    Json tokens = array(), values = array(), tops = array(), offsets = array();
    for (; choice.sent_logprobs < choice.logprobs.size(); ++choice.sent_logprobs) {
      const TokenLogprob& one = choice.logprobs[choice.sent_logprobs];
      Json top = object();
      for (const TokenAlternative& each : one.top)
        put(top, to_valid_utf8(each.bytes), static_cast<double>(each.logprob));
      push(tokens, to_valid_utf8(one.token.bytes));
      push(values, static_cast<double>(one.token.logprob));
      push(tops, std::move(top));
      push(offsets, choice.offset);
      choice.offset += one.token.bytes.size();
    }
    return object({{"tokens", std::move(tokens)},
                   {"token_logprobs", std::move(values)},
                   {"top_logprobs", std::move(tops)},
                   {"text_offset", std::move(offsets)}});
  }

  const CompletionRequest request_;
  const std::string id_;
  const std::time_t created_;
  std::vector<Choice> choices_;
};

void handle(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) {
  const auto body = body_json(exchange->request());
  if (!body.ok()) return exchange->respond(error_response({.error = body.error()}));
  auto request = read_completion(*service, *body, CompletionStyle::openai);
  if (!request.ok()) return exchange->respond(error_response({.error = request.error()}));
  for (const auto& prompt : request->prompts.prompts) {
    if (const auto too_long = service->check_length(prompt.size())) return exchange->respond(error_response(*too_long));
  }
  auto generations = generations_of(*request, exchange->request().id);
  std::make_shared<CompletionsRun>(service, exchange, *std::move(request))->start(std::move(generations));
}

}  // namespace

extern const EndpointEntry completions = {
    .name = "completions",
    .summary = "text that goes on with a prompt (OpenAI)",
    .method = "POST",
    .paths = "/v1/completions",
    .handle = handle,
};

}  // namespace moxie::server::endpoints
