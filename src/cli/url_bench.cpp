#include "cli/url_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <thread>

#include "cli/version.h"
#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"
#include "hub/http_client.h"

namespace moxie::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Body = nlohmann::ordered_json;

constexpr uint64_t kReplyMax = uint64_t{16} << 20;
constexpr size_t kEventMax = size_t{1} << 20;
constexpr int kSilentSeconds = 600;
constexpr double kTokensPerWord = 1.3;  // of everyday English words, about

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Everyday words in an order of its own for each number, so that no two prompts begin alike.
std::string prompt_of(uint64_t number, int64_t tokens) {
  static constexpr std::string_view kWords[] = {"the",   "old",   "house",  "by",     "water", "was",   "never",
                                                "quite", "empty", "people", "came",   "with",  "small", "boats",
                                                "and",   "left",  "again",  "before", "night", "some",  "said",
                                                "that",  "a",     "light",  "would",  "stay"};
  std::mt19937_64 random(number);
  std::string text = fmt::format("Story {}.", random() % 1'000'000'000);
  const auto words = static_cast<int64_t>(static_cast<double>(tokens) / kTokensPerWord) - 8;
  for (int64_t i = 0; i < words; ++i) {
    text += ' ';
    text += kWords[random() % std::size(kWords)];
  }
  return text + "\nGo on with it.";
}

const Json* at(const Json* json, std::initializer_list<std::string_view> path) {
  for (const std::string_view key : path) {
    if (json == nullptr) return nullptr;
    json = json->find(key);
  }
  return json;
}

const Json* first_of(const Json* json, std::string_view key) {
  const Json* list = json == nullptr ? nullptr : json->find(key);
  return list == nullptr || list->array() == nullptr || list->array()->empty() ? nullptr : &list->array()->front();
}

int64_t number_at(const Json* json, std::initializer_list<std::string_view> path) {
  const Json* found = at(json, path);
  return found == nullptr ? 0 : std::max<int64_t>(found->integer().value_or(0), 0);
}

Body chat(std::string_view model, const std::string& prompt, int64_t max_tokens) {
  return {{"model", model},
          {"messages", Body::array({{{"role", "user"}, {"content", prompt}}})},
          {"max_tokens", max_tokens},
          {"temperature", 0}};
}

Body weather_tool() {
  return {{"type", "function"},
          {"function",
           {{"name", "get_weather"},
            {"description", "The weather in a city now."},
            {"parameters",
             {{"type", "object"},
              {"properties", {{"city", {{"type", "string"}, {"maxLength", 40}}}}},
              {"required", Body::array({"city"})},
              {"additionalProperties", false}}}}}};
}

// What keeps a reply from being one call of get_weather; empty: nothing.
std::string call_problem(const Json& reply) {
  const Json* message = at(first_of(&reply, "choices"), {"message"});
  if (message == nullptr) return "the reply has no message";
  const Json* function = at(first_of(message, "tool_calls"), {"function"});
  if (function == nullptr) return "the answer has no tool_calls";
  const Json* name = function->find("name");
  if (name == nullptr || name->text() == nullptr || *name->text() != "get_weather")
    return "the call names another function";
  const Json* arguments = function->find("arguments");
  if (arguments == nullptr || arguments->text() == nullptr) return "the call's arguments are no text";
  const auto parsed = parse_json(*arguments->text(), "arguments");
  if (!parsed.ok() || parsed->object() == nullptr) return "the call's arguments are no JSON object";
  const Json* city = parsed->find("city");
  return city == nullptr || city->text() == nullptr ? "the call's arguments have no text 'city'" : "";
}

class UrlBench {
 public:
  UrlBench(const UrlBenchOptions& options, const std::atomic<bool>* cancelled)
      : options_(options), cancelled_(cancelled), base_(api_base(options.url)), http_(cancelled, options.trusted) {
    report_.url = base_;
    report_.version = std::string(version());
    report_.repetitions = options.repetitions;
    report_.max_tokens = options.max_tokens;
    std::random_device device;
    next_prompt_ = (uint64_t{device()} << 32) | device();  // unlike those of another run, which the server may remember
  }

  Result<UrlReport> run() {
    MOXIE_TRY_VOID(choose_model());
    MOXIE_TRY_VOID(settle_fields());
    for (int64_t i = 0; i < options_.repetitions; ++i) {
      const std::string prompt = prompt_of(next_prompt_++, options_.prompt_tokens);
      for (UrlFigures* figures : {&report_.cold, &report_.repeated}) {
        MOXIE_TRY(const UrlAnswer answer, stream(http_, prompt));
        add(answer, *figures);
      }
    }
    if (options_.tools) MOXIE_TRY_VOID(call_tools());
    for (const int64_t clients : options_.clients) MOXIE_TRY_VOID(many(clients));
    for (UrlFigures* figures : {&report_.cold, &report_.repeated}) {
      std::sort(figures->first_token_seconds.begin(), figures->first_token_seconds.end());
      std::sort(figures->tokens_per_s.begin(), figures->tokens_per_s.end());
    }
    if (report_.cold.prompt_tokens == 0)
      report_.notices.push_back("the server does not say how many tokens a prompt has (stream_options.include_usage)");
    return std::move(report_);
  }

 private:
  HttpRequest request_of(const std::string& path) const {
    HttpRequest request;
    request.url = base_ + path;
    request.token = options_.api_key;
    request.silent_seconds = kSilentSeconds;
    return request;
  }
  HttpRequest post_of(const std::string& path, const Body& body) const {
    HttpRequest request = request_of(path);
    request.method = "POST";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = body.dump(-1, ' ', false, Body::error_handler_t::replace);
    return request;
  }

  static Error refused(const HttpReply& reply, const std::string& body) {
    std::string said = body.substr(0, 300);
    if (const auto parsed = parse_json(body, "reply"); parsed.ok()) {
      const Json* message = at(&*parsed, {"error", "message"});
      if (message != nullptr && message->text() != nullptr) said = *message->text();
    }
    return fail(ErrorCode::unavailable, "{} answers {}: {}{}", reply.url, reply.status, printable(said),
                reply.status == 401   ? "; give its key with --api-key"
                : reply.status == 404 ? "; give the address that clients of OpenAI take as base URL, such as "
                                        "http://127.0.0.1:8080/v1, and a model that it has with -m"
                                      : "");
  }

  Result<void> choose_model() {
    report_.model = options_.model;
    if (!report_.model.empty()) return {};
    MOXIE_TRY(const HttpClient::Text models, http_.fetch(request_of("/models"), kReplyMax));
    if (models.reply.status != 200) return refused(models.reply, models.body);
    MOXIE_TRY(const Json json, parse_json(models.body, base_ + "/models"));
    const Json* id = at(first_of(&json, "data"), {"id"});
    if (id == nullptr || id->text() == nullptr)
      return fail(ErrorCode::unavailable, "{}/models lists no model; name one with -m", base_);
    report_.model = *id->text();
    return {};
  }

  // Answers of full length need a field that not every server knows; the first request shows whether this one does. It
  // is not counted: pages and caches become warm.
  Result<void> settle_fields() {
    const auto first = stream(http_, prompt_of(next_prompt_++, options_.prompt_tokens));
    if (first.ok()) return {};
    if (!bad_request_) return first.error();
    ignore_eos_ = false;
    MOXIE_TRY_VOID(stream(http_, prompt_of(next_prompt_++, options_.prompt_tokens)));
    report_.notices.push_back("the server refuses 'ignore_eos': answers end where the model ends them");
    return {};
  }

  Result<UrlAnswer> stream(HttpClient& http, const std::string& prompt) {
    Body body = chat(report_.model, prompt, options_.max_tokens);
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    if (ignore_eos_) body["ignore_eos"] = true;
    UrlAnswer answer;
    EventReader reader;
    std::string refusal;
    int64_t pieces = 0;
    double last = 0;
    const auto start = Clock::now();
    const auto take = [&](const std::string& data) -> Result<void> {
      if (data == "[DONE]") return {};
      MOXIE_TRY(const Json event, parse_json(data, "an event of the stream"));
      if (const Json* error = at(&event, {"error", "message"}); error != nullptr && error->text() != nullptr)
        return fail(ErrorCode::unavailable, "{}: the answer broke off: {}", base_, printable(*error->text()));
      if (const Json* usage = event.find("usage"); usage != nullptr && usage->object() != nullptr) {
        answer.prompt_tokens = number_at(usage, {"prompt_tokens"});
        answer.cached_tokens = number_at(usage, {"prompt_tokens_details", "cached_tokens"});
        answer.tokens = number_at(usage, {"completion_tokens"});
      }
      const Json* delta = at(first_of(&event, "choices"), {"delta"});
      if (delta == nullptr) return {};
      for (const char* key : {"content", "reasoning_content", "reasoning"}) {
        const Json* text = delta->find(key);
        if (text == nullptr || text->text() == nullptr || text->text()->empty()) continue;
        last = seconds_since(start);
        if (++pieces == 1) answer.first_token_seconds = last;
      }
      return {};
    };
    const auto sink = [&](const HttpReply& reply, std::string_view piece) -> Result<void> {
      if (reply.status != 200) {
        if (refusal.size() < kEventMax) refusal += piece;
        return {};
      }
      std::vector<std::string> events;
      reader.feed(piece, events);
      for (const std::string& event : events) MOXIE_TRY_VOID(take(event));
      return {};
    };
    MOXIE_TRY(const HttpReply reply, http.send(post_of("/chat/completions", body), sink));
    if (reply.status != 200) {
      bad_request_ = reply.status == 400 || reply.status == 422;
      return refused(reply, refusal);
    }
    answer.seconds = seconds_since(start);
    if (pieces == 0)
      return fail(ErrorCode::unavailable, "{}: the answer has no text; is it a chat model, and -n large enough?",
                  base_);
    if (answer.tokens == 0) answer.tokens = pieces;
    if (answer.tokens > 1 && last > answer.first_token_seconds)
      answer.tokens_per_s = static_cast<double>(answer.tokens - 1) / (last - answer.first_token_seconds);
    return answer;
  }

  static void add(const UrlAnswer& answer, UrlFigures& figures) {
    figures.first_token_seconds.push_back(answer.first_token_seconds);
    if (answer.tokens_per_s > 0) figures.tokens_per_s.push_back(answer.tokens_per_s);
    figures.prompt_tokens = answer.prompt_tokens;
    figures.cached_tokens = answer.cached_tokens;
    figures.tokens = answer.tokens;
  }

  Result<void> call_tools() {
    for (int64_t i = 0; i < options_.repetitions; ++i) {
      Body body = chat(report_.model, "What is the weather in Lisbon?", std::max<int64_t>(options_.max_tokens, 256));
      body["tools"] = Body::array({weather_tool()});
      body["parallel_tool_calls"] = false;
      body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
      const auto start = Clock::now();
      MOXIE_TRY(const HttpClient::Text text, http_.fetch(post_of("/chat/completions", body), kReplyMax));
      const double seconds = seconds_since(start);
      ++report_.tools.asked;
      std::string problem;
      if (text.reply.status != 200) {
        problem = refused(text.reply, text.body).message;
      } else {
        const auto reply = parse_json(text.body, "the reply");
        problem = reply.ok() ? call_problem(*reply) : reply.error().message;
      }
      if (problem.empty()) {
        ++report_.tools.well_formed;
        report_.tools.seconds.push_back(seconds);
      } else {
        report_.tools.problem = problem;
      }
    }
    std::sort(report_.tools.seconds.begin(), report_.tools.seconds.end());
    return {};
  }

  // Each client asks once, all at the same time; prompts are new.
  Result<void> many(int64_t clients) {
    UrlClients out{.clients = clients};
    const auto count = static_cast<size_t>(clients);
    std::vector<HttpClient> connections;
    for (size_t i = 0; i < count; ++i) connections.emplace_back(cancelled_, options_.trusted);
    for (int64_t repetition = 0; repetition < options_.repetitions; ++repetition) {
      std::vector<std::optional<Result<UrlAnswer>>> answers(count);
      std::vector<std::thread> threads;
      const uint64_t first = next_prompt_;
      next_prompt_ += count;
      const auto start = Clock::now();
      for (size_t i = 0; i < count; ++i) {
        threads.emplace_back(
            [&, i] { answers[i] = stream(connections[i], prompt_of(first + i, options_.prompt_tokens)); });
      }
      for (std::thread& thread : threads) thread.join();
      const double seconds = seconds_since(start);
      int64_t tokens = 0;
      for (const auto& answer : answers) {
        if (!answer->ok()) return answer->error();
        tokens += (*answer)->tokens;
        out.first_token_seconds.push_back((*answer)->first_token_seconds);
      }
      out.tokens_per_s.push_back(static_cast<double>(tokens) / seconds);
    }
    std::sort(out.first_token_seconds.begin(), out.first_token_seconds.end());
    std::sort(out.tokens_per_s.begin(), out.tokens_per_s.end());
    report_.clients.push_back(std::move(out));
    return {};
  }

  const UrlBenchOptions& options_;
  const std::atomic<bool>* cancelled_;
  const std::string base_;
  HttpClient http_;
  UrlReport report_;
  uint64_t next_prompt_ = 0;
  bool ignore_eos_ = true;
  std::atomic<bool> bad_request_{false};
};

}  // namespace

std::string api_base(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  if (url.find("://") == std::string::npos) url.insert(0, "http://");
  if (url.find('/', url.find("://") + 3) == std::string::npos) url += "/v1";
  return url;
}

void EventReader::feed(std::string_view piece, std::vector<std::string>& data) {
  for (const char c : piece) {
    if (c != '\n') {
      if (line_.size() < kEventMax) line_ += c;
      continue;
    }
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    if (line_.empty()) {
      if (has_data_) data.push_back(std::move(data_));
      data_.clear();
      has_data_ = false;
    } else if (line_.starts_with("data:") && data_.size() < kEventMax) {
      if (has_data_) data_ += '\n';
      data_ += line_.substr(line_.starts_with("data: ") ? 6 : 5);
      has_data_ = true;
    }
    line_.clear();
  }
}

Result<UrlReport> bench_url(const UrlBenchOptions& options, const std::atomic<bool>* cancelled) {
  return UrlBench(options, cancelled).run();
}

}  // namespace moxie::cli
