#include "server/service.h"

#include <sys/random.h>

#include "core/fail.h"
#include "core/printable.h"
#include "server/fields.h"

namespace moxie::server {

Result<void> Service::check_model(std::string_view name) const {
  if (!options.strict_model || name.empty() || name == model_id) return {};
  return fail(ErrorCode::not_found, "'model' is '{}'; the model here is '{}'", printable(name.substr(0, 200)),
              model_id);
}

Result<const Tokenizer*> Service::tokenizer() const {
  if (!prompts) {
    return fail(ErrorCode::unsupported, "the model carries no tokenizer, so it cannot read or write text");
  }
  return &prompts->tokenizer();
}

RequestError Service::refused(Error error) const {
  RequestError made{.error = std::move(error)};
  if (made.error.code != ErrorCode::unavailable) return made;
  const bool ending = draining.load();
  made.status = ending ? 503 : 429;
  made.headers = {{"Retry-After", std::to_string(ending ? 5 : scheduler->retry_after_seconds())}};
  return made;
}

std::optional<RequestError> Service::check_length(size_t prompt_tokens) const {
  const int64_t context = engine.runtime().context_tokens;
  if (static_cast<int64_t>(prompt_tokens) < context) return std::nullopt;
  return RequestError{
      .error =
          fail(ErrorCode::invalid_argument,
               "the prompt has {} tokens, and the context holds {} with the answer; shorten it, or start the server "
               "with a larger -c",
               prompt_tokens, context),
      .code = "context_length_exceeded"};
}

Result<Json> body_json(const HttpRequest& request) {
  if (request.body.empty()) return fail(ErrorCode::invalid_argument, "the body is empty; it must be a JSON object");
  auto parsed = parse_json(request.body, "the body", {.bytes_max = request.body.size(), .depth_max = 100});
  if (!parsed.ok()) return fail(ErrorCode::invalid_argument, "{}", parsed.error().message);
  if (parsed->object() == nullptr) {
    return fail(ErrorCode::invalid_argument, "the body is {}; it must be a JSON object", shown(*parsed));
  }
  return parsed;
}

uint64_t random_number() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) == sizeof number) return number;
  static std::atomic<uint64_t> next{1};
  return next++;
}

std::string random_key(size_t length) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string key(length, '\0');
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    static std::atomic<uint64_t> next{0};
    key = fmt::format("{:0>{}}", next++, length);
  }
  for (char& c : key) c = kLetters[static_cast<unsigned char>(c) % kLetters.size()];
  return key;
}

}  // namespace moxie::server
