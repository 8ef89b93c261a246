// Where the bytes of a model go under a budget: by this ledger it is planned and opened. Plain data, plain functions;
// headers are enough, nothing is allocated.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "core/memory_info.h"
#include "engine/memory_budget.h"
#include "model/model.h"
#include "moxie/error.h"
#include "store/slot_layout.h"

namespace moxie {

struct LedgerSettings {
  uint64_t budget_bytes = kNoBudget;
  bool all_resident = false;  // every expert in memory, or an error
  int64_t expert_slots = -1;  // this many kept experts in every mixture, whatever that takes; -1: what the budget holds
  bool mmap = true;           // where everything fits, files are mapped; otherwise all is read into slots
  int64_t context_tokens = 4096;
  int64_t sequences = 1;        // that each hold so many tokens
  uint64_t extra_kv_bytes = 0;  // for prefixes that are kept beyond those
  int64_t batch_size = 2048;
  int64_t ubatch_size = 512;
  KvType cache_type = KvType::f16;
  uint64_t process_bytes = 0;  // of program, libraries and tokenizer: measured, or estimated_process_bytes
  uint64_t alignment = 4096;   // of direct reads
};

// Where the bytes go. Every figure is an upper bound: peak resident memory stays at or below total_bytes().
struct MemoryLedger {
  uint64_t budget_bytes = kNoBudget;
  uint64_t dense_bytes = 0;       // weights beside the experts, as they lie in memory
  uint64_t kv_bytes = 0;          // for context_tokens of each sequence, and what is kept beyond
  uint64_t activation_bytes = 0;  // rows of a batch, logits, what drawing a token takes
  uint64_t process_bytes = 0;
  uint64_t reserve_bytes = 0;  // page tables, allocator slack
  uint64_t expert_bytes = 0;   // pool.bytes, or, where all are mapped, their bytes as they lie in the files
  PoolLayout pool;             // pool.complete: everything is resident, no slots are needed

  int64_t context_tokens = 0;
  int64_t batch_tokens = 0;  // prompt tokens that go through a layer together
  int64_t chunk_tokens = 0;  // of these, tokens for which a block has working rows

  uint64_t minimum_bytes = 0;   // the least budget that works at all
  uint64_t complete_bytes = 0;  // the budget from which on everything is resident at full batch size

  uint64_t rest_bytes() const { return dense_bytes + kv_bytes + activation_bytes + process_bytes + reserve_bytes; }
  uint64_t total_bytes() const { return rest_bytes() + expert_bytes; }
};

// Where everything fits, everything is resident. Where not, experts stream through the pool, and a prompt goes layer by
// layer in batches that take about a twentieth of the budget; where memory is tight, batches shrink before anything
// else gives way. Errors: out_of_memory with the whole ledger and the least budget that works; invalid_argument for
// sizes that are none.
Result<MemoryLedger> make_ledger(const ModelPlan& plan, const LedgerSettings& settings);

// Tokens of a short step that sequences may take between two layers of a long prompt, where experts stream.
int64_t side_batch_tokens(int64_t sequences);

// "f32", "f16" or "q8_0". Errors: invalid_argument for another name; unsupported for q8_0 with a head size that is no
// multiple of 32.
Result<KvType> parse_cache_type(std::string_view name, const Hyperparameters& hp);

// One want per layer: its number of experts, and the slot that holds the largest of them.
std::vector<LayerNeed> layer_needs(const ModelPlan& plan, uint64_t alignment);

// What threads take beside what they compute in: the touched part of their stacks and allocator arenas.
uint64_t thread_bytes(int threads, const MemoryInfo& machine);
// Resident bytes of the program with its libraries, headers and tokenizer, with a margin. For plans; a process that
// runs measures itself.
uint64_t estimated_process_bytes(const Hyperparameters& hp, int threads, const MemoryInfo& machine);

}  // namespace moxie
