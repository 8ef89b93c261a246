// An endpoint: an entry in endpoints.inc, one file in endpoints/.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "moxie/error.h"
#include "server/http_exchange.h"
#include "server/service.h"

namespace moxie::server {

struct EndpointEntry {
  std::string_view name;
  std::string_view summary;
  std::string_view method;  // "GET", which answers HEAD too; "POST"
  // Separated by blanks. A last part {id} stands for any one, {name} for one or more.
  std::string_view paths;
  bool open = false;       // needs no key
  bool immediate = false;  // answers from what is at hand, on the network thread
  // One of them; an error becomes a response by its code. `look` needs no model. The others get the one that the
  // request names, once it is open.
  Result<HttpResponse> (*look)(ServerState& server, const HttpRequest& request) = nullptr;
  Result<HttpResponse> (*answer)(Service& service, const HttpRequest& request) = nullptr;
  void (*handle)(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) = nullptr;
};

std::span<const EndpointEntry* const> endpoint_entries();

struct Route {
  const EndpointEntry* entry = nullptr;  // null: no endpoint has this path
  bool other_method = false;             // one has, but not for this method
};
Route find_endpoint(std::string_view method, std::string_view path);
// What stands for the last part of a pattern: "3" of "/slots/3" for "/slots/{id}".
std::string_view last_part(std::string_view pattern, std::string_view path);

}  // namespace moxie::server
