// What an engine's experts begin with: pins, and what is known from a profile or from the last run.
#include "core/fail.h"
#include "engine/engine_impl.h"
#include "engine/expert_profile.h"

namespace moxie {

Result<void> Engine::Impl::start_experts(const PolicyEntry& policy) {
  StreamedExperts* streamed = model->streamed();
  if (streamed != nullptr && streamed->layout().complete) streamed = nullptr;
  const bool keeps = streamed != nullptr && options.warm && !options.cache_folder.empty();
  if (options.pin.empty() && !keeps) return {};
  const ModelIdentity identity = identify(*model, model_info.path);

  PinChoice choice;
  if (!options.pin.empty()) {
    MOXIE_TRY(choice, read_pins(options.pin, options.pin_top, identity, model->hp().moe_layer));
    if (streamed == nullptr) {
      log.notice("pins have no effect: every expert stays in memory");
      return {};
    }
    // First, so that no other expert takes their places.
    MOXIE_TRY_VOID(streamed->pin(choice.pins, identity.used));
    pins = choice.pins;
    log.write(LogLevel::info, fmt::format("{} experts are pinned", pins.size()));
  }

  std::vector<KnownExpert> known;
  if (choice.profile) known = known_from(*choice.profile, policy);
  if (keeps) {
    warm = std::make_unique<WarmStart>(options.cache_folder, identity, policy, warm_pace);
    // A profile says what this run is for, the last run only what that one was for.
    auto saved = choice.profile ? Result<std::vector<KnownExpert>>(std::vector<KnownExpert>()) : warm->read();
    if (!saved.ok()) {
      log.notice(fmt::format("{}; this run starts without, and replaces it", saved.error().message));
    } else if (!choice.profile) {
      known = std::move(saved).value();
    }
  }
  const int64_t reading = streamed->restore(best_first(std::move(known), policy));
  if (reading > 0)
    log.write(LogLevel::info, fmt::format("{} experts known from {} are read in the background", reading,
                                          choice.profile ? "the profile" : "the last run"));
  return {};
}

void Engine::Impl::save_warm_state() {
  if (auto saved = warm->save(model->streamed()->known()); !saved.ok()) {
    log.notice(fmt::format("{}; the next run starts without the experts of this one (--no-warm keeps none)",
                           saved.error().message));
  }
}

}  // namespace moxie
