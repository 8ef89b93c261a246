#include "engine/profiler.h"

#include <algorithm>
#include <numeric>

#include "core/fail.h"
#include "engine/engine_impl.h"

namespace moxie {
namespace {

// Counts choices, and keeps those of a chunk: [layer], (tokens, used).
class ChoiceCounter final : public RoutingObserver {
 public:
  ChoiceCounter(const Engine::Impl& engine, const ModelIdentity& model, bool router_only)
      : choices_(static_cast<size_t>(model.layers)) {
    profile_ = {
        .model = model.name, .fingerprint = model.fingerprint, .router_only = router_only, .experts_used = model.used};
    for (size_t layer = 0; layer < choices_.size(); ++layer) {
      const bool mixture = engine.model->hp().moe_layer[layer];
      profile_.uses.emplace_back(mixture ? static_cast<size_t>(model.experts) : 0);
      profile_.mass.emplace_back(mixture ? static_cast<size_t>(model.experts) : 0);
    }
  }

  void on_choice(const Choice& choice) override {
    const auto layer = static_cast<size_t>(choice.layer);
    const auto count = static_cast<size_t>(choice.tokens * choice.used);
    choices_[layer].insert(choices_[layer].end(), choice.ids, choice.ids + count);
    for (size_t i = 0; i < count; ++i) {
      ++profile_.uses[layer][static_cast<size_t>(choice.ids[i])];
      profile_.mass[layer][static_cast<size_t>(choice.ids[i])] += static_cast<double>(choice.weights[i]);
    }
  }
  void begin_chunk(size_t tokens) {
    profile_.tokens += static_cast<int64_t>(tokens);
    for (auto& layer : choices_) layer.clear();
  }

  const std::vector<std::vector<int32_t>>& choices() const { return choices_; }
  ExpertProfile& profile() { return profile_; }

 private:
  std::vector<std::vector<int32_t>> choices_;
  ExpertProfile profile_;
};

void compare(const std::vector<std::vector<int32_t>>& truth, const std::vector<std::vector<int32_t>>& guess,
             size_t used, RouterOnlyCheck& check) {
  for (size_t layer = 0; layer < truth.size(); ++layer) {
    check.choices[layer] += static_cast<int64_t>(truth[layer].size());
    for (size_t i = 0; i < truth[layer].size(); ++i) {
      const auto token = guess[layer].begin() + static_cast<ptrdiff_t>(i / used * used);
      check.found[layer] += std::count(token, token + static_cast<ptrdiff_t>(used), truth[layer][i]);
    }
  }
}

void compare_halves(const ExpertProfile& truth, const ExpertProfile& guess, RouterOnlyCheck& check) {
  for (size_t layer = 0; layer < truth.uses.size(); ++layer) {
    std::vector<int32_t> a = truth.ranked(layer), b = guess.ranked(layer);
    a.resize(a.size() / 2);
    b.resize(b.size() / 2);
    check.top.push_back(static_cast<int>(a.size()));
    check.top_found.push_back(static_cast<int>(
        std::count_if(a.begin(), a.end(), [&](int32_t id) { return std::count(b.begin(), b.end(), id) > 0; })));
  }
}

// Its blocks come from a pool that belongs to the engine's step.
struct Cache {
  Engine::Impl& engine;
  KvCache blocks;

  explicit Cache(Engine::Impl& of) : engine(of), blocks(*of.kv_pool, of.runtime.context_tokens) {}
  ~Cache() {
    const std::lock_guard lock(engine.step);
    static_cast<void>(blocks.truncate(0));
  }
};

template <typename T>
double ratio(const std::vector<T>& part, const std::vector<T>& whole) {
  const auto sum = [](const std::vector<T>& all) {
    return static_cast<double>(std::accumulate(all.begin(), all.end(), T{0}));
  };
  return sum(whole) > 0 ? sum(part) / sum(whole) : 0;
}

}  // namespace

double RouterOnlyCheck::recall() const {
  return ratio(found, choices);
}
double RouterOnlyCheck::top_recall() const {
  return ratio(top_found, top);
}

// One way of computing the text.
struct Profiler::Pass {
  Engine::Impl& engine;
  KvCache& cache;  // shared by all passes: each chunk begins with an empty one
  bool router_only;
  ChoiceCounter counter;

  Pass(Engine::Impl& of, KvCache& in, const ModelIdentity& model, bool without_experts)
      : engine(of), cache(in), router_only(without_experts), counter(of, model, without_experts) {}

  Result<void> compute(std::span<const int32_t> chunk, const std::atomic<bool>* stop) {
    const std::lock_guard lock(engine.step);
    MOXIE_TRY_VOID(cache.truncate(0));
    counter.begin_chunk(chunk.size());
    // What experts would be chosen without experts is nothing that others should hear of.
    std::vector<RoutingObserver*> others = router_only ? std::vector<RoutingObserver*>(1) : engine.observers;
    others.push_back(&counter);
    std::swap(others, engine.observers);
    engine.skip_experts = router_only;
    Result<void> done;
    while (done.ok() && !chunk.empty()) {
      const size_t count = std::min(chunk.size(), static_cast<size_t>(engine.workspace.max_tokens));
      done = engine.compute({.state = cache, .ids = chunk.first(count), .whole = true, .stop = stop});
      chunk = chunk.subspan(count);
    }
    engine.skip_experts = false;
    std::swap(others, engine.observers);
    return done;
  }
};

Result<ProfileResult> Profiler::run(Engine& engine, std::span<const int32_t> ids, const ProfileOptions& options,
                                    const std::function<void(int64_t, int64_t)>& on_chunk) {
  Engine::Impl& impl = *engine.impl_;
  const ModelIdentity model = identify(*impl.model, impl.model_info.path);
  if (model.experts == 0)
    return fail(ErrorCode::invalid_argument, "{}: has no experts to profile", impl.model_info.path);
  const bool start = engine.adds_bos() && engine.bos() >= 0;
  const int64_t room = options.chunk_tokens - (start ? 1 : 0);
  if (room < 1)
    return fail(ErrorCode::invalid_argument, "chunks of {} tokens hold no text; take 2 or more", options.chunk_tokens);
  if (options.chunk_tokens > impl.runtime.context_tokens) {
    return fail(ErrorCode::invalid_argument, "chunks of {} tokens do not fit into a context of {}",
                options.chunk_tokens, impl.runtime.context_tokens);
  }
  if (ids.empty()) return fail(ErrorCode::invalid_argument, "the text is empty; there is nothing to profile");

  Cache cache(impl);
  Pass main(impl, cache.blocks, model, options.router_only);
  std::optional<Pass> truth;
  if (options.router_only && options.check) truth.emplace(impl, cache.blocks, model, false);
  ProfileResult result;
  if (truth)
    result.check.emplace(RouterOnlyCheck{.choices = std::vector<int64_t>(static_cast<size_t>(model.layers)),
                                         .found = std::vector<int64_t>(static_cast<size_t>(model.layers))});
  const auto total = (std::ssize(ids) + room - 1) / room;
  std::vector<int32_t> chunk;
  for (; !ids.empty(); ++result.chunks) {
    chunk.assign(start ? 1 : 0, engine.bos());
    const auto text = ids.first(std::min(ids.size(), static_cast<size_t>(room)));
    chunk.insert(chunk.end(), text.begin(), text.end());
    ids = ids.subspan(text.size());
    MOXIE_TRY_VOID(main.compute(chunk, options.stop));
    if (truth) {
      MOXIE_TRY_VOID(truth->compute(chunk, options.stop));
      compare(truth->counter.choices(), main.counter.choices(), static_cast<size_t>(model.used), *result.check);
    }
    if (on_chunk) on_chunk(result.chunks + 1, total);
  }
  if (truth) compare_halves(truth->counter.profile(), main.counter.profile(), *result.check);
  result.profile = std::move(main.counter.profile());
  return result;
}

}  // namespace moxie
