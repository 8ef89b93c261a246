#include "server/request_error.h"

#include "server/fields.h"
#include "server/json_build.h"
#include "server/wire_anthropic.h"

namespace moxie::server {

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::corrupt:      // of what the client sent
    case ErrorCode::unsupported:  // that this model or a schema cannot do; a 5xx would be tried again in vain
      return 400;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::unavailable:
      return 429;
    case ErrorCode::out_of_memory:
    case ErrorCode::cancelled:
      return 503;
    case ErrorCode::io:
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
    case 405:
      return "not_found_error";
    case 429:
      return "rate_limit_exceeded";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

Json error_body(int status, std::string_view message, std::string_view code) {
  const std::string field = field_of(message);
  return object({{"error", object({
                               {"code", code.empty() ? JsonPart(status) : JsonPart(code)},
                               {"message", message},
                               {"type", error_type(status)},
                               {"param", field.empty() ? JsonPart(nullptr) : JsonPart(field)},
                           })}});
}

HttpResponse error_response(const RequestError& error) {
  const int status = error.status != 0 ? error.status : http_status(error.error.code);
  HttpResponse response = json_response(error_body(status, error.error.message, error.code), status);
  response.headers = error.headers;
  return response;
}

HttpResponse error_response(int status, std::string_view message) {
  return json_response(error_body(status, message), status);
}

bool speaks_anthropic(const HttpRequest& request) {
  const std::string_view path = request.path;
  return path == "/v1/messages" || path.starts_with("/v1/messages/") || !request.header("anthropic-version").empty();
}

HttpResponse refusal(const HttpRequest& request, const RequestError& error) {
  if (!speaks_anthropic(request)) return error_response(error);
  const int status = error.status != 0 ? error.status : http_status(error.error.code);
  HttpResponse response = json_response(anthropic_messages.error(error.error, status, request.id), status);
  response.headers = error.headers;
  return response;
}

HttpResponse loading_response(const HttpRequest& request) {
  return refusal(
      request, {.error = {ErrorCode::unavailable, "Loading model"}, .status = 503, .headers = {{"Retry-After", "1"}}});
}

HttpResponse json_response(const Json& body, int status) {
  return {.status = status, .body = to_text(body)};
}

}  // namespace moxie::server
