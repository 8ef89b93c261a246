// Recorded choices of a router: which experts each event of each layer used (docs/routing.md). What was read is
// plain data; the functions are thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "store/cache_table.h"

namespace moxie {

inline constexpr std::string_view kTraceVersion = "1";

struct TraceShape {
  int layers = 0;
  int experts = 0;  // of a layer
  int top_k = 0;

  bool operator==(const TraceShape&) const = default;
};

// One use of a layer's experts, as CacheTable::event takes it.
struct TraceEvent {
  int64_t step = 0;
  int32_t layer = 0;
  EventKind kind = EventKind::decode;
  uint32_t count = 0;  // of its ids
  size_t first = 0;    // of its ids in RoutingTrace::ids
};

struct RoutingTrace {
  std::string name;
  TraceShape shape;
  std::vector<TraceEvent> events;
  std::vector<int32_t> all_ids;
  uint64_t lost = 0;  // records that the recorder marked as lost; they are left out

  std::span<const int32_t> ids(const TraceEvent& event) const {
    return std::span(all_ids).subspan(event.first, event.count);
  }
};

// Our own form, and two others in which traces are published (docs/routing.md). Errors: corrupt, naming line, value,
// limit and remedy; unsupported for another version.
Result<RoutingTrace> parse_routing_trace(std::string_view text, std::string_view name);
Result<RoutingTrace> read_routing_trace(const std::string& path);

}  // namespace moxie
