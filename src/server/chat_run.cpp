#include "server/chat_run.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/fail.h"
#include "server/answer_run.h"
#include "server/json_build.h"
#include "server/matched_stop.h"
#include "server/token_probs.h"
#include "server/wire_openai_chat.h"

namespace moxie::server {
namespace {

class ChatRun final : public AnswerRun {
 public:
  ChatRun(const ServiceLease& service, std::shared_ptr<HttpExchange> exchange, const ChatDialect& dialect,
          PreparedChat chat)
      : AnswerRun(service, std::move(exchange), chat.request.stream),
        dialect_(dialect),
        request_(std::move(chat.request)),
        identity_{.key = random_key(24),
                  .model = service->model_id,
                  .created = std::time(nullptr),
                  .prompt_tokens = static_cast<int64_t>(chat.prompt.ids.size())},
        special_(request_.generate.special),
        choices_(static_cast<size_t>(request_.choices)) {
    for (Choice& choice : choices_) {
      choice.parser = std::make_unique<AnswerParser>(chat.format->parser(chat.plan, chat.prompt.text, random_number()));
    }
  }

 private:
  struct Choice {
    std::unique_ptr<AnswerParser> parser;
    ChatChoice whole;
    std::vector<TokenLogprob> logprobs;  // of tokens whose text is still to come
    int64_t reasoning_tokens = 0;
  };

  void begin(std::string& out) override {
    if (std::exchange(begun_, true)) return;
    writer().begin(out);
  }

  // Made with what is known when the first piece is written.
  ChatStreamWriter& writer() {
    if (writer_ == nullptr) {
      for (const Generation& generation : generations()) {
        identity_.cached_tokens = std::max(identity_.cached_tokens, generation.cached_tokens);
      }
      writer_ = dialect_.stream(request_, identity_);
    }
    return *writer_;
  }

  void token(size_t index, const TokenStep& step, std::string& out) override {
    Choice& choice = choices_[index];
    if (request_.top_logprobs >= 0 && step.id >= 0 && !tokenizer().is_end(step.id)) {
      choice.logprobs.push_back(logprob_of(step, tokenizer()));
    }
    std::string_view text = step.text;
    if (special_ && step.id >= 0 && tokenizer().is_end(step.id)) {
      // Control tokens are shown to the parser, but the end is no part of the answer.
      const std::string end = tokenizer().bytes(step.id, true);
      if (text.ends_with(end)) text.remove_suffix(end.size());
    }
    if (text.empty()) return;
    std::vector<AnswerEvent> events;
    choice.parser->feed(text, events);
    give(index, std::move(events), out);
  }

  void ended(size_t index, std::string& out) override {
    Choice& choice = choices_[index];
    const GenerateResult& result = generations()[index].result;
    const bool cut = result.reason == StopReason::length || result.reason == StopReason::context_full;
    std::vector<AnswerEvent> events;
    choice.parser->finish(cut, events);
    give(index, std::move(events), out);
    FinishedChoice finished;
    if (cut) {
      finished.reason = FinishReason::length;
    } else if (!choice.whole.calls.empty()) {
      finished.reason = FinishReason::tool_calls;
    } else if (result.reason == StopReason::stop_text) {
      finished.stop_text = matched_stop(tokenizer(), result.ids, result.text, special_, request_.generate.stop);
      // A text of the form's own stands for the model's end.
      if (!finished.stop_text.empty()) finished.reason = FinishReason::stop_text;
    }
    // Tokens of a stop text are no part of the answer.
    if (result.reason == StopReason::stop_text) choice.logprobs.clear();
    choice.whole.finished = finished;
    emit({.choice = static_cast<int>(index), .what = finished, .logprobs = take_logprobs(choice)}, out);
  }

  void finish(std::string& out) override {
    const ChatAnswer answer = whole_answer();
    if (request_.stream) {
      begin(out);
      writer().end(answer, out);
    } else {
      out = to_text(dialect_.answer(request_, identity_, answer));
    }
  }

  void fail_stream(const Error& error, std::string& out) override { writer().failure(error, out); }
  HttpResponse fail_response(const RequestError& error) override {
    return dialect_error(dialect_, error, exchange().request());
  }

  void give(size_t index, std::vector<AnswerEvent> events, std::string& out) {
    Choice& choice = choices_[index];
    for (AnswerEvent& event : events) {
      add(choice, event);
      emit({.choice = static_cast<int>(index), .what = std::move(event), .logprobs = take_logprobs(choice)}, out);
    }
  }

  static void add(Choice& choice, const AnswerEvent& event) {
    using Kind = AnswerEvent::Kind;
    switch (event.kind) {
      case Kind::text:
        choice.whole.text += event.text;
        break;
      case Kind::reasoning:
        choice.whole.reasoning += event.text;
        ++choice.reasoning_tokens;
        break;
      case Kind::call_begin:
        choice.whole.calls.push_back({.id = event.id, .name = event.name, .arguments = {}});
        break;
      case Kind::call_arguments:
        if (!choice.whole.calls.empty()) choice.whole.calls.back().arguments += event.text;
        break;
      case Kind::call_end:
        break;
    }
  }

  static std::vector<TokenLogprob> take_logprobs(Choice& choice) {
    std::vector<TokenLogprob> taken = std::exchange(choice.logprobs, {});
    choice.whole.logprobs.insert(choice.whole.logprobs.end(), taken.begin(), taken.end());
    return taken;
  }

  void emit(ChatEvent event, std::string& out) {
    if (!request_.stream) return;
    begin(out);
    writer().event(event, out);
  }

  const Tokenizer& tokenizer() const { return service().prompts->tokenizer(); }

  ChatAnswer whole_answer() const {
    ChatAnswer answer;
    const RequestTimings sum = timings();
    answer.usage = {.prompt_tokens = identity_.prompt_tokens,
                    .cached_tokens = generations().front().timings.cached_tokens,
                    .completion_tokens = sum.generated_tokens};
    for (const Choice& choice : choices_) {
      answer.choices.push_back(choice.whole);
      answer.usage.reasoning_tokens += choice.reasoning_tokens;
    }
    answer.timings = timings_json();
    return answer;
  }

  const ChatDialect& dialect_;
  const ChatRequest request_;
  AnswerIdentity identity_;
  const bool special_;  // control tokens are in the text
  std::vector<Choice> choices_;
  std::unique_ptr<ChatStreamWriter> writer_;
  bool begun_ = false;
};

Json merged_variables(const Json& server, const ChatRequest& request) {
  Json merged = object();
  const auto add = [&](const Json& from) {
    if (from.object() == nullptr) return;
    for (const auto& [key, value] : *from.object()) put(merged, key, value);
  };
  add(server);
  if (request.reasoning) put(merged, "enable_thinking", *request.reasoning);
  if (!request.reasoning_effort.empty()) put(merged, "reasoning_effort", request.reasoning_effort);
  add(request.template_variables);
  return merged;
}

std::vector<GenerateRequest> generations_of(const PreparedChat& chat, const std::string& id) {
  std::vector<GenerateRequest> made;
  for (int i = 0; i < chat.request.choices; ++i) {
    GenerateRequest one;
    one.prompt = chat.prompt.ids;
    one.options = chat.request.generate;
    one.options.stop.insert(one.options.stop.end(), chat.prompt.stops.begin(), chat.prompt.stops.end());
    // Each choice has a seed of its own, else all would be the same.
    if (one.options.sampling.seed != 0xFFFFFFFFu) one.options.sampling.seed += static_cast<uint64_t>(i);
    one.logprobs = chat.request.top_logprobs >= 0;
    one.n_probs = std::max(0, chat.request.top_logprobs);
    one.cache_prompt = chat.request.cache_prompt;
    one.id = id;
    made.push_back(std::move(one));
  }
  return made;
}

}  // namespace

HttpResponse dialect_error(const ChatDialect& dialect, const RequestError& error, const HttpRequest& request) {
  const int status = error.status != 0 ? error.status : http_status(error.error.code);
  Json body = dialect.error(error.error, status, request.id);
  if (&dialect == &openai_chat && !error.code.empty()) body = error_body(status, error.error.message, error.code);
  HttpResponse response = json_response(body, status);
  response.headers = error.headers;
  return response;
}

Result<PreparedChat> prepare_chat(const Service& service, const Json& body, const ChatDialect& dialect) {
  MOXIE_TRY_VOID(service.tokenizer());
  PreparedChat chat;
  MOXIE_TRY(chat.request, dialect.read(body, service.options.generate));
  MOXIE_TRY_VOID(service.check_model(chat.request.model));
  const bool offers = chat.request.tools.array() != nullptr && !chat.request.tools.array()->empty();
  chat.format = offers && service.tool_format ? &*service.tool_format : &*service.chat_format;
  MOXIE_TRY(chat.plan,
            chat.format->plan({.messages = chat.request.messages,
                               .tools = chat.request.tools,
                               .tool_choice = chat.request.tool_choice,
                               .parallel_tool_calls = chat.request.parallel_tool_calls,
                               .extra = merged_variables(service.options.template_variables, chat.request)}));
  MOXIE_TRY(chat.prompt, service.prompts->write(chat.plan.input));
  if (chat.format->shows_control()) chat.request.generate.special = true;
  SamplingOptions& sampling = chat.request.generate.sampling;
  if (sampling.grammar.empty() && sampling.regex.empty()) {
    MOXIE_TRY(std::string structure, chat.format->structure(chat.plan, chat.prompt.text, sampling.json_schema));
    if (!structure.empty()) {
      sampling.structure = std::move(structure);
      sampling.json_schema.clear();
    }
  }
  return chat;
}

void answer_chat(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange,
                 const ChatDialect& dialect) {
  const auto refuse = [&](const RequestError& error) {
    exchange->respond(dialect_error(dialect, error, exchange->request()));
  };
  const auto body = body_json(exchange->request());
  if (!body.ok()) return refuse({.error = body.error()});
  auto chat = prepare_chat(*service, *body, dialect);
  if (!chat.ok()) return refuse({.error = chat.error()});
  if (const auto too_long = service->check_length(chat->prompt.ids.size())) return refuse(*too_long);
  std::vector<GenerateRequest> generations = generations_of(*chat, exchange->request().id);
  std::make_shared<ChatRun>(service, exchange, dialect, *std::move(chat))->start(std::move(generations));
}

}  // namespace moxie::server
