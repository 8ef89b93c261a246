// Errors as HTTP responses, in the shape that OpenAI's and llama.cpp's clients read. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"
#include "moxie/error.h"
#include "server/http_exchange.h"

namespace moxie::server {

struct RequestError {
  Error error;
  int status = 0;    // 0: that of the error's code
  std::string code;  // "context_length_exceeded"; empty: the status
  HttpHeaders headers = {};
};

int http_status(ErrorCode code);
std::string_view error_type(int status);
// {"error": {"code", "message", "type", "param"}}.
Json error_body(int status, std::string_view message, std::string_view code = {});
HttpResponse error_response(const RequestError& error);
HttpResponse error_response(int status, std::string_view message);
// In the shape that the clients of this route read: Anthropic's for /v1/messages and what lies below it, and for who
// sends `anthropic-version`.
HttpResponse refusal(const HttpRequest& request, const RequestError& error);
// 503, while the model that would answer is being opened.
HttpResponse loading_response(const HttpRequest& request);
bool speaks_anthropic(const HttpRequest& request);
HttpResponse json_response(const Json& body, int status = 200);

}  // namespace moxie::server
