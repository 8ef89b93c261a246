// Routing traces in all their forms: what is read is written in our own form and read again as the same events, and
// small ones are replayed.
#include <algorithm>

#include "core/check.h"
#include "store/replay.h"
#include "store/trace_writer.h"

using namespace moxie;

namespace {

void check_replay(const RoutingTrace& trace) {
  const int slots = trace.shape.experts / 2;
  uint64_t best = 0;
  for (const LayerCounts& layer : replay_belady(trace, slots)) best += layer.total().hits;
  for (const PolicyEntry* policy : policy_entries()) {
    CacheCounts counts;
    for (const LayerCounts& layer : replay(trace, *policy, slots)) counts += layer.total();
    MOXIE_CHECK(counts.hits <= best);
    MOXIE_CHECK(counts.hits + counts.misses == trace.all_ids.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto trace = parse_routing_trace(std::string_view(reinterpret_cast<const char*>(data), size), "trace");
  if (!trace.ok()) return 0;
  std::string text = trace_header(trace->shape);
  for (const TraceEvent& event : trace->events) {
    append_trace_line(text, event.step, event.kind, event.layer, trace->ids(event));
  }
  const auto again = parse_routing_trace(text, "again");
  MOXIE_CHECK(again.ok());
  MOXIE_CHECK(again->shape == trace->shape && again->all_ids == trace->all_ids);
  MOXIE_CHECK(again->events.size() == trace->events.size());
  for (size_t i = 0; i < trace->events.size(); ++i) {
    const TraceEvent &a = trace->events[i], &b = again->events[i];
    MOXIE_CHECK(a.step == b.step && a.layer == b.layer && a.kind == b.kind && a.first == b.first && a.count == b.count);
  }
  if (trace->shape.layers * trace->shape.experts <= 1024) check_replay(*trace);
  return 0;
}
