#include "engine/memory_ledger.h"

#include <algorithm>
#include <set>

#include "core/byte_units.h"
#include "core/fail.h"
#include "core/printable.h"
#include "model/forward.h"
#include "model/kv_cache.h"

namespace moxie {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr double kTotalBytesMax = 9.2e18;  // below 2^63

// Pages of the program that are touched late, small vectors, rounding by the allocator: 1 to 2 MiB measured on small
// models.
constexpr uint64_t kSlackBytes = 12 * kMiB;
// A page of 4 KiB needs 8 bytes of page table; tables count in a control group. Huge pages need less, but none is sure
// to be had.
constexpr uint64_t kBytesPerTableByte = 512;
constexpr int64_t kLogitRows = 32;  // positions whose logits are computed at once
constexpr int64_t kMinBatchTokens = 16;
constexpr int64_t kPromptTokens = 512;  // a prompt in one batch, if at all possible
constexpr uint64_t kBatchShare = 20;    // a streamed prompt's rows take 1/20 of the budget
constexpr int64_t kCountedContextMax = int64_t{1} << 30;
constexpr int64_t kMaxSequences = 1024;
constexpr int64_t kSideTokens = 16;  // beside a token of each sequence

uint64_t reserve_for(uint64_t bytes) {
  return kSlackBytes + (bytes + kBytesPerTableByte - 1) / kBytesPerTableByte;
}

// The most that leaves room for its reserve: b + reserve_for(b) <= budget.
uint64_t without_reserve(uint64_t budget) {
  if (budget <= kSlackBytes) return 0;
  const uint64_t left = budget - kSlackBytes;
  return left - (left + kBytesPerTableByte) / (kBytesPerTableByte + 1);
}

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Bytes of whole blocks around a range.
uint64_t blocks_around(uint64_t offset, uint64_t bytes, uint64_t alignment) {
  return align_up(offset + bytes, alignment) - offset / alignment * alignment;
}

bool decoded_at_load(Role role) {
  switch (role) {
    case Role::output_norm:
    case Role::rope_freqs:
    case Role::attn_norm:
    case Role::ffn_norm:
    case Role::attn_q_norm:
    case Role::attn_k_norm:
    case Role::router:
    case Role::shared_router:
      return true;
    default:
      return false;
  }
}

// What asks for memory, whatever the budget.
struct Wants {
  const ModelPlan& plan;
  const LedgerSettings& settings;
  std::vector<LayerNeed> layers{};
  uint64_t kv_bytes = 0;
  uint64_t dense_bytes = 0;        // stored form in whole blocks, and floats beside it where decoded
  uint64_t file_expert_bytes = 0;  // experts as they lie in the files, in whole pages
  uint64_t rounding_bytes = 0;     // slots of one size fill whole huge pages together

  int used() const { return static_cast<int>(plan.hp.router.used); }
  int most_experts() const {
    int most = 0;
    for (const LayerNeed& layer : layers) most = std::max(most, layer.experts);
    return most;
  }

  void add_dense() {
    std::set<const TensorInfo*> seen;
    for (size_t r = 0; r < plan.roles.size(); ++r) {
      for (const RoleTensor& tensor : plan.roles[r]) {
        add_tensor(tensor.weight, decoded_at_load(static_cast<Role>(r)), seen);
        add_tensor(tensor.bias, true, seen);
      }
    }
  }
  void add_tensor(const TensorInfo* tensor, bool decoded, std::set<const TensorInfo*>& seen) {
    if (tensor == nullptr || !seen.insert(tensor).second) return;
    for (const TensorPart& part : tensor->parts())
      dense_bytes += blocks_around(part.offset, part.bytes, settings.alignment);
    if (decoded) dense_bytes += align_up(static_cast<uint64_t>(tensor->elements()) * sizeof(float), kPageBytes);
  }

  void add_experts() {
    layers = layer_needs(plan, settings.alignment);
    std::set<uint64_t> sizes;
    for (const LayerNeed& layer : layers) {
      if (layer.slot_bytes % kHugePageBytes != 0 && sizes.insert(layer.slot_bytes).second)
        rounding_bytes += kHugePageBytes;
    }
    std::set<const TensorInfo*> seen;
    for (const std::vector<ExpertRecord>& layer : plan.experts.experts) {
      for (const ExpertRecord& expert : layer) {
        file_expert_bytes += expert.bytes();
        // Blocks at a tensor's ends may be its own.
        for (const ProjectionRecord* p : {&expert.gate, &expert.up, &expert.down}) {
          if (seen.insert(p->tensor).second) file_expert_bytes += p->parts() * 2 * kPageBytes;
        }
      }
    }
  }

  Result<void> add_kv() {
    const Hyperparameters& hp = plan.hp;
    const KvLayout layout = {
        .type = settings.cache_type, .layers = hp.layers, .kv_heads = hp.kv_heads, .head_dim = hp.head_dim};
    const auto blocks =
        static_cast<uint64_t>((settings.context_tokens + KvLayout::kBlockTokens - 1) / KvLayout::kBlockTokens);
    const double wanted = static_cast<double>(blocks) * static_cast<double>(layout.block_bytes()) *
                              static_cast<double>(settings.sequences) +
                          static_cast<double>(settings.extra_kv_bytes);
    if (wanted > kTotalBytesMax) {
      return fail(ErrorCode::invalid_argument,
                  "the KV cache for {} tokens would take more than any machine has; take a smaller -c",
                  settings.context_tokens);
    }
    kv_bytes = blocks * layout.block_bytes() * static_cast<uint64_t>(settings.sequences) + settings.extra_kv_bytes;
    return {};
  }

  uint64_t activation_bytes(int64_t batch, int64_t chunk) const {
    const Hyperparameters& hp = plan.hp;
    const int64_t vocabulary = hp.vocabulary;
    // Logits and their quantized inputs; a sequence's own logits, candidates of 12 bytes and a copy to sort; ids and
    // the samplers' history.
    const int64_t drawing = kLogitRows * (vocabulary * 4 + hp.hidden * 13 / 2) +
                            settings.sequences * (vocabulary * (4 + 12 + 16) + settings.context_tokens * 12);
    const int64_t angles = batch * hp.rope.dims * 4;
    const int64_t side = settings.sequences > 1 ? side_batch_tokens(settings.sequences) : 0;
    const uint64_t side_bytes = side > 0 ? Workspace::bytes_for(hp, side, side) : 0;
    return Workspace::bytes_for(hp, batch, std::min(batch, chunk)) + side_bytes +
           static_cast<uint64_t>(drawing + angles);
  }

  // The ledger but for experts and reserve.
  MemoryLedger start(int64_t batch, int64_t chunk) const {
    return {.budget_bytes = settings.budget_bytes,
            .dense_bytes = dense_bytes,
            .kv_bytes = kv_bytes,
            .activation_bytes = activation_bytes(batch, chunk),
            .process_bytes = settings.process_bytes,
            .context_tokens = settings.context_tokens,
            .batch_tokens = batch,
            .chunk_tokens = std::min(batch, chunk)};
  }

  // The reserve, once all else is known.
  void finish(MemoryLedger& ledger) const {
    ledger.reserve_bytes = rounding_bytes + reserve_for(rounding_bytes + ledger.total_bytes());
  }
  // What a budget leaves for all but the reserve.
  uint64_t room(uint64_t budget) const {
    const uint64_t left = without_reserve(budget);
    return left - std::min(left, rounding_bytes);
  }
};

// Everything resident.
Result<MemoryLedger> complete_ledger(const Wants& wants, int64_t batch) {
  MemoryLedger ledger = wants.start(batch, batch);
  MOXIE_TRY(ledger.pool, fixed_pool(wants.layers, wants.used(), std::max(wants.used(), wants.most_experts())));
  ledger.expert_bytes = wants.settings.mmap ? wants.file_expert_bytes : ledger.pool.bytes;
  wants.finish(ledger);
  return ledger;
}

MemoryLedger minimum_ledger(const Wants& wants) {
  const int64_t batch = std::min(kMinBatchTokens, wants.settings.context_tokens);
  MemoryLedger ledger = wants.start(batch, batch);
  ledger.expert_bytes = minimum_pool_bytes(wants.layers, wants.used());
  wants.finish(ledger);
  return ledger;
}

std::string in_words(const MemoryLedger& ledger, std::string_view experts) {
  return fmt::format(
      "{} of weights beside the experts, {} of KV cache for {} tokens, {} of activations for {} tokens at once, {} of "
      "program, {} of "
      "reserve and {} of experts ({}) are {}",
      human_bytes(ledger.dense_bytes), human_bytes(ledger.kv_bytes), ledger.context_tokens,
      human_bytes(ledger.activation_bytes), ledger.batch_tokens, human_bytes(ledger.process_bytes),
      human_bytes(ledger.reserve_bytes), human_bytes(ledger.expert_bytes), experts, human_bytes(ledger.total_bytes()));
}

// As --memory takes it, rounded up.
std::string as_flag(uint64_t bytes) {
  return fmt::format("--memory {}M", (bytes + kMiB - 1) / kMiB);
}

Error too_small(const Wants& wants, const MemoryLedger& needed, std::string_view experts) {
  std::string smaller = wants.settings.cache_type == KvType::q8_0 ? "a smaller context (-c) needs less"
                                                                  : "a smaller context (-c) or -ctk q8_0 needs less";
  if (wants.settings.all_resident && needed.minimum_bytes < needed.total_bytes()) {
    smaller += fmt::format("; with experts read from disk {} is enough", as_flag(needed.minimum_bytes));
  }
  return fail(ErrorCode::out_of_memory, "a memory budget of {} is too small: {}; the least that works is {}; {}",
              human_bytes(wants.settings.budget_bytes), in_words(needed, experts), as_flag(needed.total_bytes()),
              smaller);
}

// Tokens of a prompt that go through a layer together.
int64_t streamed_batch(const Wants& wants, uint64_t budget, int64_t chunk) {
  const int64_t context = wants.settings.context_tokens;
  const int64_t least = std::min(kPromptTokens, context);
  constexpr int64_t kSample = 1024;  // rows are linear in the tokens, but for rounding
  const uint64_t per_token = (wants.activation_bytes(chunk + kSample, chunk) - wants.activation_bytes(chunk, chunk)) /
                             static_cast<uint64_t>(kSample);
  const uint64_t tokens = budget / kBatchShare / std::max<uint64_t>(1, per_token);
  return std::clamp(static_cast<int64_t>(std::min<uint64_t>(tokens, kCountedContextMax)), least, context);
}

Result<MemoryLedger> fixed_ledger(const Wants& wants, int64_t chunk) {
  MOXIE_TRY(PoolLayout pool, fixed_pool(wants.layers, wants.used(), static_cast<int>(wants.settings.expert_slots)));
  const int64_t least = std::min(kPromptTokens, wants.settings.context_tokens);
  const MemoryLedger small = wants.start(least, chunk);
  const int64_t batch =
      streamed_batch(wants, std::min(wants.settings.budget_bytes, small.rest_bytes() + pool.bytes), chunk);
  MemoryLedger ledger = wants.start(batch, chunk);
  ledger.expert_bytes = pool.bytes;
  ledger.pool = std::move(pool);
  wants.finish(ledger);
  return ledger;
}

Result<MemoryLedger> streamed_ledger(const Wants& wants, int64_t chunk) {
  const uint64_t room = wants.room(wants.settings.budget_bytes);
  const uint64_t pool_bytes = minimum_pool_bytes(wants.layers, wants.used());
  int64_t batch = streamed_batch(wants, wants.settings.budget_bytes, chunk);
  for (;;) {
    MemoryLedger ledger = wants.start(batch, chunk);
    if (const uint64_t rest = ledger.rest_bytes(); rest <= room && room - rest >= pool_bytes) {
      // One byte less than all of them: what is complete has been tried.
      MOXIE_TRY(const PoolLayout all, fixed_pool(wants.layers, wants.used(), wants.most_experts()));
      MOXIE_TRY(ledger.pool, divide_pool(wants.layers, wants.used(), std::min(room - rest, all.bytes - 1)));
      ledger.expert_bytes = ledger.pool.bytes;
      wants.finish(ledger);
      return ledger;
    }
    if (batch <= kMinBatchTokens) break;
    batch = std::max(kMinBatchTokens, std::min(batch, wants.settings.context_tokens) / 2);
    chunk = std::min(chunk, batch);
  }
  const MemoryLedger least = minimum_ledger(wants);
  return too_small(wants, least, fmt::format("the {} that a token uses in a layer", wants.used()));
}

Result<MemoryLedger> choose(const Wants& wants) {
  const LedgerSettings& settings = wants.settings;
  const int64_t chunk = std::min({settings.ubatch_size, settings.batch_size, settings.context_tokens});
  const bool experts = wants.most_experts() > 0;
  const bool fixed =
      experts && settings.expert_slots >= 0 && settings.expert_slots < wants.most_experts() && !settings.all_resident;
  if (fixed) {
    MOXIE_TRY(MemoryLedger ledger, fixed_ledger(wants, std::min(settings.ubatch_size, settings.context_tokens)));
    if (ledger.total_bytes() <= settings.budget_bytes) return ledger;
    ledger.minimum_bytes = ledger.total_bytes();
    return too_small(wants, ledger, fmt::format("{} in every layer", settings.expert_slots));
  }
  // Smaller batches first: nothing makes up for experts that are not there.
  for (int64_t batch = chunk;; batch = std::max(kMinBatchTokens, batch / 2)) {
    MOXIE_TRY(MemoryLedger ledger, complete_ledger(wants, batch));
    if (ledger.total_bytes() <= settings.budget_bytes) return ledger;
    if (batch > kMinBatchTokens) continue;
    if (experts && !settings.all_resident && settings.expert_slots < 0) break;
    ledger.minimum_bytes = experts ? minimum_ledger(wants).total_bytes() : ledger.total_bytes();
    return too_small(wants, ledger, experts ? "all of them" : "it has none");
  }
  return streamed_ledger(wants, std::min(settings.ubatch_size, settings.context_tokens));
}

}  // namespace

Result<MemoryLedger> make_ledger(const ModelPlan& plan, const LedgerSettings& settings) {
  if (settings.context_tokens < 1 || settings.batch_size < 1 || settings.ubatch_size < 1) {
    return fail(ErrorCode::invalid_argument,
                "a context of {} tokens in batches of {} and {} is none; all must be positive", settings.context_tokens,
                settings.batch_size, settings.ubatch_size);
  }
  if (settings.sequences < 1 || settings.sequences > kMaxSequences) {
    return fail(ErrorCode::invalid_argument, "{} sequences at once are out of range; give 1 to {}", settings.sequences,
                kMaxSequences);
  }
  if (settings.context_tokens > kCountedContextMax) {
    return fail(ErrorCode::invalid_argument, "a context of {} tokens is more than any model has; the limit is {}",
                settings.context_tokens, kCountedContextMax);
  }
  Wants wants{.plan = plan, .settings = settings};
  wants.add_dense();
  wants.add_experts();
  MOXIE_TRY_VOID(wants.add_kv());
  MOXIE_TRY(MemoryLedger ledger, choose(wants));
  MOXIE_TRY(const MemoryLedger complete,
            complete_ledger(wants, std::min({settings.ubatch_size, settings.batch_size, settings.context_tokens})));
  ledger.complete_bytes = complete.total_bytes();
  ledger.minimum_bytes = wants.most_experts() > 0 ? minimum_ledger(wants).total_bytes() : ledger.total_bytes();
  return ledger;
}

int64_t side_batch_tokens(int64_t sequences) {
  return sequences + kSideTokens;
}

Result<KvType> parse_cache_type(std::string_view name, const Hyperparameters& hp) {
  if (name == "f32") return KvType::f32;
  if (name == "f16") return KvType::f16;
  if (name != "q8_0") {
    return fail(ErrorCode::invalid_argument, "cache type '{}' is not known; take f32, f16 or q8_0", printable(name));
  }
  if (hp.head_dim % 32 != 0) {
    return fail(ErrorCode::unsupported,
                "cache type q8_0 needs a head size that is a multiple of 32; this model's is {}; take f16",
                hp.head_dim);
  }
  return KvType::q8_0;
}

std::vector<LayerNeed> layer_needs(const ModelPlan& plan, uint64_t alignment) {
  std::vector<LayerNeed> needs(static_cast<size_t>(plan.hp.layers));
  for (size_t layer = 0; layer < needs.size() && layer < plan.experts.experts.size(); ++layer) {
    needs[layer].experts = static_cast<int>(plan.experts.experts[layer].size());
    for (const ExpertRecord& expert : plan.experts.experts[layer]) {
      needs[layer].slot_bytes = std::max(needs[layer].slot_bytes, shape_slot(file_ranges(expert), alignment).bytes);
    }
  }
  return needs;
}

uint64_t thread_bytes(int threads, const MemoryInfo& machine) {
  // Where every mapping gets huge pages unasked, a touched stack is one.
  const uint64_t each = machine.huge_pages == HugePages::always ? 2 * kMiB : 256 * kKiB;
  return static_cast<uint64_t>(std::max(1, threads)) * each;
}

uint64_t estimated_process_bytes(const Hyperparameters& hp, int threads, const MemoryInfo& machine) {
  // Measured: `moxie version` peaks at 13.6 MiB, with libcurl and libmicrohttpd; a token of vocabularies of 4096, 32000
  // and 50257 takes 180 to 290 bytes.
  return 16 * kMiB + static_cast<uint64_t>(hp.vocabulary) * 384 + thread_bytes(threads, machine);
}

}  // namespace moxie
