#include "cli/session.h"

#include <chrono>

#include "core/fail.h"

namespace moxie::cli {

Result<void> Session::open(ModelOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  MOXIE_TRY(engine_, open_engine(options, &interruption_.flag()));
  MOXIE_TRY(sequence_, engine_->new_sequence());
  stats_.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  interruption_.attach(sequence_.get());
  if (options.watch) watch_.start(*engine_);
  return {};
}

Result<void> Session::show(std::string_view text, Colour colour) {
  if (text.empty()) return {};
  const std::string_view on = colour == Colour::normal ? "" : colour_sequence(colour, colour_);
  MOXIE_TRY_VOID(print(fmt::format("{}{}{}", on, text, on.empty() ? "" : colour_sequence(Colour::normal, colour_))));
  at_line_start_ = text.back() == '\n';
  return {};
}

Result<void> Session::end_line() {
  if (at_line_start_) return {};
  at_line_start_ = true;
  return print("\n");
}

Result<GenerateResult> Session::generate(std::span<const int32_t> prompt, const GenerateOptions& options) {
  if (interruption_.happened()) return GenerateResult{.reason = StopReason::cancelled};
  Result<void> printed;
  auto result = sequence_->generate(prompt, options, [&](const TokenEvent& event) {
    printed = show(event.text, Colour::normal);
    return printed.ok() && !interruption_.happened();
  });
  MOXIE_TRY_VOID(printed);
  if (!result.ok()) return result;
  if (interruption_.happened()) result->reason = StopReason::cancelled;
  stats_.add(*result);
  return result;
}

}  // namespace moxie::cli
