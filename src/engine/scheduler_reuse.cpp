// What a prompt need not compute: its beginning from the prefix cache, from disk, or from a neighbour that computes it.
#include <algorithm>

#include "core/fail.h"
#include "core/printable.h"
#include "engine/kv_identity.h"
#include "engine/scheduler_impl.h"
#include "engine/slot_file.h"

namespace moxie {
namespace {

constexpr int64_t kBlock = KvLayout::kBlockTokens;
// How long blocks from disk may hold up the others in one step.
constexpr auto kReadPause = std::chrono::milliseconds(100);

}  // namespace

// A prompt that begins like one that is being computed waits for that one's blocks.
void Scheduler::Impl::find_leader(Job& job) const {
  for (const JobPtr& other : order) {
    if (other.get() == &job || other->drawing || !may_reuse(*other)) continue;
    const auto same = static_cast<int64_t>(common_beginning(job.request.prompt, other->request.prompt));
    const int64_t led = std::min(same, job.timings.prompt_tokens - 1) / kBlock * kBlock;
    if (led <= job.led_tokens) continue;
    job.led_tokens = led;
    job.leader = other;
  }
}

bool Scheduler::Impl::waits_for_leader(const Job& job) const {
  if (job.led_tokens <= job.state->tokens()) return false;
  const JobPtr leader = job.leader.lock();
  return leader != nullptr && leader->state != nullptr && !leader->drawing && leader->state->tokens() < job.led_tokens;
}

void Scheduler::Impl::look_for_prefixes() {
  if (cache == nullptr) return;
  const auto deadline = SchedulerClock::now() + kReadPause;
  for (const JobPtr& job : order) {
    if (job->passing || job->drawing || !may_reuse(*job)) continue;
    bool more = job->restoring && store != nullptr;
    while (more && SchedulerClock::now() < deadline) {
      more = cache->load_next(job->ids, static_cast<int64_t>(job->ids.size()) - 1);
    }
    if (!more) reuse(*job);
  }
}

void Scheduler::Impl::reuse(Job& job) {
  const auto match = cache->find(job.ids, static_cast<int64_t>(job.ids.size()) - 1);
  const int64_t before = job.state->tokens();
  if (match.tokens > before) {
    job.state->adopt(match.blocks, match.tokens);
    job.timings.cached_tokens += match.tokens - before;
  }
  if (!std::exchange(job.restoring, false)) return;
  job.timings.reuse = describe(job, match);
  engine.log.write(LogLevel::info, job.timings.reuse);
  {
    const std::lock_guard lock(seen_mutex);
    ++(match.tokens > 0 ? seen.prefix_cache_hits : seen.prefix_cache_misses);
  }
  if (match.tokens > 0) job.listener->on_prompt_progress(match.tokens, job.timings.prompt_tokens);
}

std::string Scheduler::Impl::describe(const Job& job, const PrefixCache::Match& match) const {
  const auto text = [&](int32_t id) {
    const Tokenizer* tokenizer = engine.tokenizer.get();
    const bool known = tokenizer != nullptr && id >= 0 && id < tokenizer->vocabulary_size();
    return known ? fmt::format("'{}' ({})", printable(tokenizer->text(id)), id) : fmt::format("{}", id);
  };
  std::string why;
  switch (match.end) {
    case PrefixCache::End::whole:
      why = "all but the last token, whose logits are wanted";
      break;
    case PrefixCache::End::differs:
      why = fmt::format("there the prompt has token {} and the cached text {}", text(match.wanted), text(match.cached));
      break;
    case PrefixCache::End::unknown:
      why = "nothing that goes on from there is cached";
      break;
    case PrefixCache::End::empty:
      why = "the cache is empty";
      break;
  }
  const std::string name = job.request.id.empty() ? fmt::format("slot {}", job.slot) : printable(job.request.id);
  return fmt::format("{}: {} of {} prompt tokens are reused: {}", name, match.tokens, job.timings.prompt_tokens, why);
}

// What the job has computed is there for others from now on.
void Scheduler::Impl::keep(Job& job, bool at_end) {
  if (!may_reuse(job)) return;
  cache->insert(job.ids, *job.state, at_end);
  if (!at_end) return;
  const auto held = job.ids.begin() + job.state->tokens();
  slot_ids[static_cast<size_t>(job.slot)].assign(job.ids.begin(), held);
}

Result<void> Scheduler::Impl::check_slot(int slot) const {
  if (slot < 0 || slot >= options.parallel) {
    return fail(ErrorCode::invalid_argument, "there is no slot {}; there are {}", slot, options.parallel);
  }
  if (slots[static_cast<size_t>(slot)]) return fail(ErrorCode::unavailable, "slot {} is busy; try again later", slot);
  if (cache == nullptr) {
    return fail(ErrorCode::invalid_argument, "without a prefix cache slots keep nothing; give it some bytes");
  }
  return {};
}

Result<SlotFileResult> Scheduler::Impl::save(int slot, const std::string& path) {
  MOXIE_TRY_VOID(check_slot(slot));
  const auto start = SchedulerClock::now();
  const std::vector<int32_t>& ids = slot_ids[static_cast<size_t>(slot)];
  const auto match = cache->find(ids, static_cast<int64_t>(ids.size()));
  KvCache state(*engine.kv_pool);
  if (match.tokens > 0) state.adopt(match.blocks, match.tokens);
  MOXIE_TRY(const uint64_t bytes, save_slot_file(path, fingerprint, ids, state));
  return SlotFileResult{
      .tokens = match.tokens, .bytes = bytes, .seconds = seconds_between(start, SchedulerClock::now())};
}

Result<SlotFileResult> Scheduler::Impl::restore(int slot, const std::string& path) {
  MOXIE_TRY_VOID(check_slot(slot));
  const auto start = SchedulerClock::now();
  const SlotFileLimits limits = {
      .fingerprint = fingerprint, .tokens = engine.runtime.context_tokens, .vocabulary = engine.model->hp().vocabulary};
  KvCache state(*engine.kv_pool);
  auto saved = load_slot_file(path, limits, state);
  while (!saved.ok() && saved.error().code == ErrorCode::out_of_memory && cache->free_one()) {
    saved = load_slot_file(path, limits, state);
  }
  if (!saved.ok()) return std::move(saved).error();
  cache->insert(saved->ids, state, true);
  slot_ids[static_cast<size_t>(slot)] = saved->ids;
  const auto tokens = static_cast<int64_t>(saved->ids.size());
  {
    const std::lock_guard lock(seen_mutex);
    seen_slots[static_cast<size_t>(slot)].tokens = tokens;
  }
  return SlotFileResult{
      .tokens = tokens, .bytes = saved->bytes, .seconds = seconds_between(start, SchedulerClock::now())};
}

Result<int64_t> Scheduler::Impl::erase(int slot) {
  MOXIE_TRY_VOID(check_slot(slot));
  std::vector<int32_t>& ids = slot_ids[static_cast<size_t>(slot)];
  const auto tokens = static_cast<int64_t>(ids.size());
  cache->erase(ids);
  ids.clear();
  const std::lock_guard lock(seen_mutex);
  seen_slots[static_cast<size_t>(slot)].tokens = 0;
  return tokens;
}

}  // namespace moxie
