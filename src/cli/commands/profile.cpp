#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/expert_watch.h"
#include "cli/generate_options.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/table.h"
#include "core/fail.h"
#include "core/terminal.h"
#include "engine/profiler.h"

namespace moxie::cli::commands {
namespace {

using Json = nlohmann::ordered_json;

std::string exact_percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

class Profile final : public Command {
 public:
  Profile() { model_.engine.ctx_size = 512; }

  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    prompt_.add_flags(flags, false);
    flags.group("output");
    flags.add("output", output_, "the profile; without it, the profile is what goes to stdout");
    flags.toggle("router-only", options_.router_only);
    flags.toggle("no-check", options_.check, false);
    flags.toggle("layers", layers_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    if (!options_.check && !options_.router_only) {
      return fail(ErrorCode::invalid_argument, "--no-check leaves out a comparison that only --router-only makes");
    }
    if (model_.engine.ctx_size <= 0) {
      return fail(ErrorCode::invalid_argument, "-c {} is no length of a chunk; give the number of tokens",
                  model_.engine.ctx_size);
    }
    Interruption interruption;
    MOXIE_TRY(const auto engine, open_engine(model_, &interruption.flag()));
    MOXIE_TRY(const std::string text, prompt_.read());
    MOXIE_TRY(const auto ids, engine->tokenize(text, false, false));
    options_.chunk_tokens = model_.engine.ctx_size;
    options_.stop = &interruption.flag();
    ExpertWatch watch;
    if (model_.watch) watch.start(*engine);
    const bool shows = is_terminal(StandardStream::error);
    auto result = Profiler::run(*engine, ids, options_, [&](int64_t done, int64_t total) {
      if (shows) diagnose(fmt::format("\rmoxie: chunk {} of {}{}", done, total, done == total ? "\n" : ""));
    });
    watch.stop();
    MOXIE_TRY_VOID(result);
    const std::string profile = profile_text(result->profile);
    if (output_.empty()) {
      MOXIE_TRY_VOID(print(profile));
      return 0;
    }
    MOXIE_TRY_VOID(write_text(output_, profile));
    MOXIE_TRY_VOID(print(json_ ? as_json(*result) : as_text(*result)));
    return 0;
  }

 private:
  // Layers with a mixture.
  static std::vector<size_t> mixtures(const ExpertProfile& profile) {
    std::vector<size_t> layers;
    for (size_t layer = 0; layer < profile.uses.size(); ++layer) {
      if (!profile.uses[layer].empty()) layers.push_back(layer);
    }
    return layers;
  }

  // A quarter, half and three quarters of a layer's experts.
  static std::vector<size_t> quarters(const ExpertProfile& profile, size_t layer) {
    const size_t experts = profile.uses[layer].size();
    std::vector<size_t> counts;
    for (const size_t quarter : {1, 2, 3}) counts.push_back(std::max<size_t>(1, experts * quarter / 4));
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    return counts;
  }

  static double mean_share(const ExpertProfile& profile, size_t n) {
    const auto layers = mixtures(profile);
    double sum = 0;
    for (const size_t layer : layers) sum += profile.share_of_top(layer, n);
    return sum / static_cast<double>(layers.size());
  }

  std::string as_text(const ProfileResult& result) const {
    const ExpertProfile& profile = result.profile;
    const size_t first = mixtures(profile).front();
    const auto experts = static_cast<double>(profile.uses[first].size());
    std::string out = fmt::format("{}: {} tokens in {} chunks, {} layers of {} experts, {} used{}\n", output_,
                                  profile.tokens, result.chunks, mixtures(profile).size(), experts,
                                  profile.experts_used, profile.router_only ? ", routers alone" : "");
    out += "share of a layer's uses that its most used experts take:";
    for (const size_t n : quarters(profile, first)) {
      out += fmt::format("{} {} experts {}", n == quarters(profile, first).front() ? "" : ",", n,
                         exact_percent(mean_share(profile, n)));
    }
    out += "\n";
    if (result.check) {
      out += fmt::format(
          "of the true choices, routers alone make {} ({} by chance); of the more used half of the experts, they find "
          "{}\n",
          exact_percent(result.check->recall()), exact_percent(profile.experts_used / experts),
          exact_percent(result.check->top_recall()));
    }
    return layers_ ? out + "\n" + layers_table(result) : out;
  }

  static std::string layers_table(const ProfileResult& result) {
    std::vector<std::string> headings = {">layer", ">top expert", ">its share", ">top half's share"};
    if (result.check) headings.insert(headings.end(), {">recall", ">of the top half"});
    Table table(std::move(headings));
    for (const size_t layer : mixtures(result.profile)) {
      const ExpertProfile& profile = result.profile;
      std::vector<std::string> cells = {fmt::format("{}", layer), fmt::format("{}", profile.ranked(layer).front()),
                                        exact_percent(profile.share_of_top(layer, 1)),
                                        exact_percent(profile.share_of_top(layer, profile.uses[layer].size() / 2))};
      if (result.check) {
        const RouterOnlyCheck& check = *result.check;
        cells.push_back(
            exact_percent(static_cast<double>(check.found[layer]) / static_cast<double>(check.choices[layer])));
        cells.push_back(fmt::format("{} of {}", check.top_found[layer], check.top[layer]));
      }
      table.row(std::move(cells));
    }
    return table.text();
  }

  std::string as_json(const ProfileResult& result) const {
    const ExpertProfile& profile = result.profile;
    Json shares = Json::array();
    for (const size_t n : quarters(profile, mixtures(profile).front())) {
      shares.push_back({{"experts", n}, {"share", mean_share(profile, n)}});
    }
    Json object = {{"output", output_},
                   {"routing", profile.router_only ? "router_only" : "exact"},
                   {"tokens", profile.tokens},
                   {"chunks", result.chunks},
                   {"top_shares", shares}};
    if (result.check) {
      object["recall"] = result.check->recall();
      object["top_half_recall"] = result.check->top_recall();
      object["layer_choices"] = result.check->choices;
      object["layer_found"] = result.check->found;
    }
    return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }

  ModelOptions model_;
  PromptOptions prompt_;
  ProfileOptions options_;
  std::string output_;
  bool layers_ = false, json_ = false;
};

}  // namespace

extern const CommandEntry profile = {
    .name = "profile",
    .summary = "count which experts a text uses, for --pin",
    .usage = "[MODEL] -f FILE [-o PROFILE] [--router-only] [-c N]",
    .detail =
        "The text is cut into chunks of -c tokens (512), each computed on its own. For every layer and expert the profile holds how\n"
        "many tokens chose it and with how much weight. --router-only leaves the chosen experts out, so that none is read: quick,\n"
        "and wrong where they matter. How wrong is measured by computing the true routing too, unless --no-check leaves that out.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Profile>(); },
};

}  // namespace moxie::cli::commands
