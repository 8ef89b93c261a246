// One line for each request. Pure function.
#pragma once

#include <string>

#include "server/http_exchange.h"

namespace moxie::server {

struct RequestFacts {
  std::string time;  // "2026-01-31T12:34:56.789Z"
  double seconds = 0;
  int status = 0;  // 0: the client went before there was one
  uint64_t bytes = 0;
};

// As text for people, or as one JSON object.
std::string request_line(const HttpRequest& request, const RequestNotes& notes, const RequestFacts& facts, bool json);
// Now, in UTC.
std::string time_text();

}  // namespace moxie::server
