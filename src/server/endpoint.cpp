#include "server/endpoint.h"

#include <algorithm>
#include <array>

namespace moxie::server {
namespace endpoints {
#define MOXIE_ENTRY(name) extern const EndpointEntry name;
#include "server/endpoints.inc"
#undef MOXIE_ENTRY
}  // namespace endpoints

std::span<const EndpointEntry* const> endpoint_entries() {
  static constexpr auto kEntries = std::to_array<const EndpointEntry*>({
#define MOXIE_ENTRY(name) &endpoints::name,
#include "server/endpoints.inc"
#undef MOXIE_ENTRY
  });
  return kEntries;
}

std::string_view last_part(std::string_view pattern, std::string_view path) {
  return path.substr(std::min(path.size(), pattern.rfind('/') + 1));
}

namespace {

bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with("}")) return pattern == path;
  const std::string_view before = pattern.substr(0, pattern.rfind('/') + 1);
  if (!path.starts_with(before) || path.size() == before.size()) return false;
  return pattern.ends_with("/{name}") || path.find('/', before.size()) == path.npos;
}

}  // namespace

Route find_endpoint(std::string_view method, std::string_view path) {
  Route route;
  if (method == "HEAD") method = "GET";
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  for (const EndpointEntry* entry : endpoint_entries()) {
    std::string_view paths = entry->paths;
    while (!paths.empty()) {
      const size_t end = paths.find(' ');
      const bool found = matches(paths.substr(0, end), path);
      paths = end == paths.npos ? std::string_view() : paths.substr(end + 1);
      if (!found) continue;
      if (entry->method == method) return {.entry = entry};
      route.other_method = true;
    }
  }
  return route;
}

}  // namespace moxie::server
