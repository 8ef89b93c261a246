#include "server/native_run.h"

#include "server/answer_run.h"
#include "server/json_build.h"
#include "server/matched_stop.h"
#include "server/settings_json.h"
#include "server/sse.h"
#include "server/token_probs.h"
#include "text/detokenizer.h"

namespace moxie::server {
namespace {

std::string_view stop_type(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "eos";
    case StopReason::stop_text:
      return "word";
    case StopReason::length:
    case StopReason::context_full:
      return "limit";
    default:
      return "none";
  }
}

Json alternative_json(const TokenAlternative& token) {
  Json bytes = array();
  for (const char byte : token.bytes) push(bytes, static_cast<int>(static_cast<unsigned char>(byte)));
  return object({{"id", token.id},
                 {"token", to_valid_utf8(token.bytes)},
                 {"bytes", std::move(bytes)},
                 {"logprob", static_cast<double>(token.logprob)}});
}

Json probability_json(const TokenLogprob& logprob) {
  Json made = alternative_json(logprob.token);
  Json top = array();
  for (const TokenAlternative& each : logprob.top) push(top, alternative_json(each));
  put(made, "top_logprobs", std::move(top));
  return made;
}

// "timings/predicted_n" lifts a member of a member.
Json picked(const Json& whole, const Json& fields) {
  Json made = object();
  for (const Json& field : *fields.array()) {
    if (field.text() == nullptr) continue;
    const Json* value = &whole;
    std::string_view path = *field.text();
    std::string_view name;
    while (value != nullptr && !path.empty()) {
      const size_t end = path.find('/');
      name = path.substr(0, end);
      value = value->find(name);
      path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
    }
    if (value != nullptr && !name.empty()) put(made, name, *value);
  }
  return made;
}

class NativeRun final : public AnswerRun {
 public:
  NativeRun(const ServiceLease& service, std::shared_ptr<HttpExchange> exchange, CompletionRequest request)
      : AnswerRun(service, std::move(exchange), request.stream),
        request_(std::move(request)),
        answers_(request_.prompts.prompts.size() * static_cast<size_t>(request_.choices)) {}

 private:
  struct One {
    std::string text;
    std::vector<TokenLogprob> probabilities;
    size_t sent_probabilities = 0;
    std::vector<int32_t> ids, unsent;
  };

  void begin(std::string&) override {}

  void progress(size_t index, int64_t done, int64_t total, std::string& out) override {
    if (!request_.return_progress || !request_.stream) return;
    Json made = piece(index, "");
    put(made, "prompt_progress",
        object({{"total", total}, {"processed", done}, {"cache", generations()[index].cached_tokens}}));
    append_event(out, made);
  }

  void token(size_t index, const TokenStep& step, std::string& out) override {
    One& one = answers_[index];
    const Tokenizer& tokenizer = service().prompts->tokenizer();
    if (step.id >= 0 && !tokenizer.is_end(step.id)) {
      one.ids.push_back(step.id);
      one.unsent.push_back(step.id);
      if (request_.n_probs >= 0) one.probabilities.push_back(logprob_of(step, tokenizer));
    }
    one.text += step.text;
    if (!request_.stream || step.text.empty()) return;
    Json made = piece(index, step.text);
    if (request_.n_probs >= 0) put(made, "completion_probabilities", unsent_probabilities(one));
    append_event(out, made);
  }

  Json unsent_probabilities(One& one) const {
    Json made = array();
    for (; one.sent_probabilities < one.probabilities.size(); ++one.sent_probabilities) {
      push(made, probability_json(one.probabilities[one.sent_probabilities]));
    }
    return made;
  }

  Json piece(size_t index, std::string_view text) {
    One& one = answers_[index];
    Json tokens = array();
    if (request_.return_tokens) {
      for (const int32_t id : one.unsent) push(tokens, id);
    }
    one.unsent.clear();
    return object(
        {{"index", index},
         {"content", text},
         {"tokens", std::move(tokens)},
         {"stop", false},
         {"id_slot", generations()[index].timings.slot},
         {"tokens_predicted", one.ids.size()},
         {"tokens_evaluated", request_.prompts.prompts[index / static_cast<size_t>(request_.choices)].size()}});
  }

  void ended(size_t index, std::string& out) override {
    if (request_.stream) append_event(out, whole(index));
  }

  // In a stream the last event repeats nothing of the text.
  Json whole(size_t index) {
    One& one = answers_[index];
    const Generation& generation = generations()[index];
    const GenerateResult& result = generation.result;
    Json tokens = array();
    if (request_.return_tokens) {
      for (const int32_t id : request_.stream ? one.unsent : one.ids) push(tokens, id);
    }
    const auto& prompt = request_.prompts.prompts[index / static_cast<size_t>(request_.choices)];
    Json made = object({{"index", index},
                        {"content", request_.stream ? std::string() : one.text},
                        {"tokens", std::move(tokens)},
                        {"id_slot", generation.timings.slot},
                        {"stop", true},
                        {"model", service().model_id},
                        {"tokens_predicted", generation.timings.generated_tokens},
                        {"tokens_evaluated", generation.timings.prompt_tokens},
                        {"generation_settings", settings_json(request_.generate, result.seed)},
                        {"prompt", decode(service().prompts->tokenizer(), prompt, {.with_special = true})},
                        {"has_new_line", one.text.find('\n') != std::string::npos},
                        {"truncated", false},
                        {"stop_type", stop_type(result.reason)},
                        {"stopping_word", result.reason == StopReason::stop_text
                                              ? matched_stop(service().prompts->tokenizer(), result.ids, result.text,
                                                             request_.generate.special, request_.generate.stop)
                                              : std::string()},
                        {"tokens_cached", generation.timings.cached_tokens},
                        {"timings", timings_json(index)}});
    if (request_.n_probs >= 0) put(made, "completion_probabilities", unsent_probabilities(one));
    return request_.response_fields.array() != nullptr ? picked(made, request_.response_fields) : made;
  }

  void finish(std::string& out) override {
    if (request_.stream) return;
    if (!request_.prompts.list && answers_.size() == 1) {
      out = to_text(whole(0));
      return;
    }
    Json list = array();
    for (size_t i = 0; i < answers_.size(); ++i) push(list, whole(i));
    out = to_text(list);
  }

  void fail_stream(const Error& error, std::string& out) override {
    append_event(out, error_body(http_status(error.code), error.message));
  }
  HttpResponse fail_response(const RequestError& error) override { return error_response(error); }

  const CompletionRequest request_;
  std::vector<One> answers_;
};

}  // namespace

void answer_native(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange,
                   CompletionRequest request) {
  for (const auto& prompt : request.prompts.prompts) {
    if (const auto too_long = service->check_length(prompt.size())) return exchange->respond(error_response(*too_long));
  }
  auto generations = generations_of(request, exchange->request().id);
  std::make_shared<NativeRun>(service, exchange, std::move(request))->start(std::move(generations));
}

}  // namespace moxie::server
