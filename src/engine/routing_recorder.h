// Writes what the routers choose to a trace file (docs/routing.md), step by step. Belongs to the thread that computes.
#pragma once

#include <memory>
#include <string>

#include "core/fail.h"
#include "model/forward.h"
#include "moxie/error.h"
#include "store/trace_writer.h"

namespace moxie {

class RoutingRecorder final : public RoutingObserver {
 public:
  static Result<std::unique_ptr<RoutingRecorder>> create(const std::string& path, const Hyperparameters& hp) {
    const TraceShape shape = {.layers = static_cast<int>(hp.layers),
                              .experts = static_cast<int>(hp.router.experts),
                              .top_k = static_cast<int>(hp.router.used)};
    MOXIE_TRY(TraceWriter writer, TraceWriter::create(path, shape));
    return std::unique_ptr<RoutingRecorder>(new RoutingRecorder(std::move(writer)));
  }
  // A prompt's layer is one event of all it wants, then one of what its last token chose; a step of several sequences
  // is one event: the same that the expert store sees.
  void on_choice(const Choice& choice) override {
    if (choice.decoding) return writer_.record(step_, EventKind::decode, choice.layer, choice.distinct);
    writer_.record(step_, EventKind::prefill, choice.layer, choice.distinct);
    const auto used = static_cast<size_t>(choice.used);
    writer_.record(step_, EventKind::decode, choice.layer,
                   {choice.ids + static_cast<size_t>(choice.tokens - 1) * used, used});
  }
  // After every step. Errors (disk full): once, now and then; recording has stopped by then.
  Result<void> end_step() {
    if (++step_ % kFlushSteps != 0 || failed_) return {};
    return keep(writer_.flush());
  }
  Result<void> finish() { return failed_ ? Result<void>() : keep(writer_.finish()); }

 private:
  static constexpr int64_t kFlushSteps = 32;

  explicit RoutingRecorder(TraceWriter writer) : writer_(std::move(writer)) {}
  Result<void> keep(Result<void> result) {
    failed_ = !result.ok();
    return result;
  }

  TraceWriter writer_;
  int64_t step_ = 0;
  bool failed_ = false;
};

}  // namespace moxie
