#include "engine/memory_ledger.h"

#include <gtest/gtest.h>

#include <deque>

#include "core/byte_units.h"
#include "support/paths.h"

namespace moxie {
namespace {

// Headers of a Mixtral 8x7B in one merged file of one type, built here: 32 layers, hidden 4096, FFN 14336, 32 heads
// over 8, 8 experts.
class Mixtral {
 public:
  ModelPlan plan;

  explicit Mixtral(std::string_view type) : type_(find_quant_type(type, "baseline")) {
    Hyperparameters& hp = plan.hp;
    hp.layers = 32;
    hp.hidden = 4096;
    hp.vocabulary = 32000;
    hp.heads = 32;
    hp.kv_heads = 8;
    hp.head_dim = 128;
    hp.expert_ffn = 14336;
    hp.rope.dims = 128;
    hp.router = {.experts = 8, .used = 2};
    add(Role::token_embd, 32000, 4096);
    add(Role::output, 32000, 4096);
    add_float(Role::output_norm, 4096);
    plan.experts.experts.resize(32);
    for (size_t layer = 0; layer < 32; ++layer) {
      add(Role::attn_q, 4096, 4096);
      add(Role::attn_k, 1024, 4096);
      add(Role::attn_v, 1024, 4096);
      add(Role::attn_output, 4096, 4096);
      add_float(Role::attn_norm, 4096);
      add_float(Role::ffn_norm, 4096);
      add_float(Role::router, 8 * 4096);
      const TensorInfo* gate = tensor(type_, 8 * 14336, 4096);
      const TensorInfo* up = tensor(type_, 8 * 14336, 4096);
      const TensorInfo* down = tensor(type_, 8 * 4096, 14336);
      for (int64_t e = 0; e < 8; ++e) {
        plan.experts.experts[layer].push_back({.gate = {gate, e * 14336, 14336, 4096},
                                               .up = {up, e * 14336, 14336, 4096},
                                               .down = {down, e * 4096, 4096, 14336}});
      }
    }
  }

  uint64_t file_bytes() const { return end_; }

 private:
  const TensorInfo* tensor(const QuantType* type, int64_t rows, int64_t columns) {
    TensorInfo& info = tensors_.emplace_back();
    info.type = type;
    info.shape = {rows, columns};
    info.offset = end_;
    info.bytes = static_cast<uint64_t>(rows * type->row_bytes(columns));
    end_ += (info.bytes + 31) / 32 * 32;
    return &info;
  }
  void add(Role role, int64_t rows, int64_t columns) {
    plan.roles[static_cast<size_t>(role)].push_back({.weight = tensor(type_, rows, columns)});
  }
  void add_float(Role role, int64_t values) {
    plan.roles[static_cast<size_t>(role)].push_back({.weight = tensor(find_quant_type("f32", "baseline"), 1, values)});
  }

  const QuantType* type_;
  std::deque<TensorInfo> tensors_;
  uint64_t end_ = 1'234'592;  // of the header: not a whole block
};

LedgerSettings with_budget(uint64_t bytes) {
  return {.budget_bytes = bytes, .context_tokens = 4096, .process_bytes = 20 * kMiB};
}

TEST(MemoryLedger, EverythingResidentWithoutBudget) {
  const Mixtral mixtral("q4_0");
  const auto ledger = make_ledger(mixtral.plan, with_budget(kNoBudget));
  ASSERT_TRUE(ledger.ok()) << ledger.error().message;
  EXPECT_TRUE(ledger->pool.complete);
  EXPECT_EQ(ledger->batch_tokens, 512);
  EXPECT_EQ(ledger->chunk_tokens, 512);
  EXPECT_EQ(ledger->kv_bytes, 512 * kMiB);  // 128 KiB for a token
  // 46.7 billion weights of 4.5 bits; padding and the decoded norms and routers are small.
  const uint64_t weights = ledger->dense_bytes + ledger->expert_bytes;
  EXPECT_GE(weights, mixtral.file_bytes() - 1'234'592);
  EXPECT_LE(weights, mixtral.file_bytes() + 16 * kMiB);
  EXPECT_EQ(ledger->total_bytes(), ledger->complete_bytes);
  EXPECT_LT(ledger->total_bytes(), mixtral.file_bytes() + 2'500'000'000) << "what model cards allow beside the file";
}

TEST(MemoryLedger, EverySequenceHasItsContext) {
  const Mixtral mixtral("q4_0");
  LedgerSettings settings = with_budget(kNoBudget);
  const auto one = make_ledger(mixtral.plan, settings);
  settings.sequences = 4;
  settings.extra_kv_bytes = 100 * kMiB;
  const auto four = make_ledger(mixtral.plan, settings);
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(four->kv_bytes, 4 * 512 * kMiB + 100 * kMiB);
  EXPECT_GT(four->activation_bytes, one->activation_bytes);
  EXPECT_GT(four->minimum_bytes, one->minimum_bytes + 3 * 512 * kMiB);
  // In a budget that one just fits, four are refused with the least that works.
  settings.budget_bytes = one->minimum_bytes;
  const auto refused = make_ledger(mixtral.plan, settings);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  for (const int64_t none : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
    settings.sequences = none;
    EXPECT_EQ(make_ledger(mixtral.plan, settings).error().code, ErrorCode::invalid_argument);
  }
}

TEST(MemoryLedger, SlotsOrFilesWhenAllIsResident) {
  const Mixtral mixtral("q4_0");
  LedgerSettings settings = with_budget(kNoBudget);
  settings.mmap = false;
  const auto read = make_ledger(mixtral.plan, settings);
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->pool.complete);
  EXPECT_EQ(read->expert_bytes, read->pool.bytes);
  EXPECT_EQ(read->expert_bytes, 256 * 96 * kMiB);
  settings.mmap = true;
  EXPECT_LT(make_ledger(mixtral.plan, settings)->expert_bytes, 256 * 95 * kMiB);
}

TEST(MemoryLedger, KeepsItsPromiseAtEveryBudget) {
  const Mixtral mixtral("q4_0");
  const auto all = make_ledger(mixtral.plan, with_budget(kNoBudget));
  ASSERT_TRUE(all.ok());
  int64_t kept_before = 0;
  bool streamed = false, floored = false;
  for (uint64_t budget = all->minimum_bytes; budget < all->complete_bytes + kGiB; budget += 97 * kMiB) {
    const auto ledger = make_ledger(mixtral.plan, with_budget(budget));
    ASSERT_TRUE(ledger.ok()) << ledger.error().message;
    EXPECT_LE(ledger->total_bytes(), budget);
    EXPECT_EQ(ledger->minimum_bytes, all->minimum_bytes);
    EXPECT_EQ(ledger->complete_bytes, all->complete_bytes);
    EXPECT_LE(ledger->chunk_tokens, ledger->batch_tokens);
    EXPECT_LE(ledger->batch_tokens, 4096);
    int64_t kept = 0;
    for (const int k : ledger->pool.kept) kept += k;
    EXPECT_GE(kept + (ledger->pool.complete ? 0 : 4), kept_before)
        << budget;  // batches grow with the budget, by less than 4 slots
    kept_before = kept;
    if (ledger->pool.complete) continue;
    EXPECT_EQ(ledger->expert_bytes, ledger->pool.bytes);
    EXPECT_LT(kept, 256);
    // What is left over is less than two more slots.
    if (budget + kGiB < all->complete_bytes && ledger->pool.streaming_layers == 0) {
      EXPECT_LT(budget - ledger->total_bytes(), 200 * kMiB);
    }
    streamed = streamed || ledger->pool.streaming_layers > 0;
    floored = floored || ledger->pool.streaming_layers == 0;
  }
  EXPECT_EQ(kept_before, 256);
  EXPECT_TRUE(streamed);
  EXPECT_TRUE(floored);
}

TEST(MemoryLedger, RefusesBelowTheMinimumWithNumbers) {
  const Mixtral mixtral("q4_0");
  const auto all = make_ledger(mixtral.plan, with_budget(kNoBudget));
  ASSERT_TRUE(all.ok());
  // 0.83 GiB beside the experts, half a GiB of KV cache, two experts of 94.5 MiB.
  EXPECT_GT(all->minimum_bytes, 1500 * kMiB);
  EXPECT_LT(all->minimum_bytes, 1700 * kMiB);
  const auto least = make_ledger(mixtral.plan, with_budget(all->minimum_bytes));
  ASSERT_TRUE(least.ok()) << least.error().message;
  EXPECT_EQ(least->total_bytes(), all->minimum_bytes);
  EXPECT_EQ(least->batch_tokens, 16);
  EXPECT_EQ(least->pool.transit, 2);
  EXPECT_EQ(least->pool.streaming_layers, 32);

  const auto refused = make_ledger(mixtral.plan, with_budget(all->minimum_bytes - 1));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  const std::string flag = "--memory " + std::to_string((all->minimum_bytes + kMiB - 1) / kMiB) + "M";
  EXPECT_NE(refused.error().message.find(flag), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("-ctk q8_0"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(make_ledger(mixtral.plan, with_budget(0)).ok());
  EXPECT_FALSE(make_ledger(mixtral.plan, with_budget(1)).ok());

  LedgerSettings quantized = with_budget(all->minimum_bytes - 1);
  quantized.cache_type = KvType::q8_0;
  EXPECT_TRUE(make_ledger(mixtral.plan, quantized).ok());
  LedgerSettings shorter = with_budget(all->minimum_bytes - 1);
  shorter.context_tokens = 2048;
  EXPECT_TRUE(make_ledger(mixtral.plan, shorter).ok());
}

TEST(MemoryLedger, AWholePromptGoesLayerByLayerWhenExpertsStream) {
  const Mixtral mixtral("q4_0");
  LedgerSettings settings = with_budget(14 * kGiB);
  const auto fourteen = make_ledger(mixtral.plan, settings);
  ASSERT_TRUE(fourteen.ok());
  EXPECT_EQ(fourteen->batch_tokens, 4096);  // a twentieth of 14 GiB holds more rows than the context has
  EXPECT_EQ(fourteen->chunk_tokens, 512);
  EXPECT_GE(fourteen->pool.kept_per_layer(), 3.5);
  settings.context_tokens = 32768;
  settings.budget_bytes = 16 * kGiB;
  const auto longer = make_ledger(mixtral.plan, settings);
  ASSERT_TRUE(longer.ok());
  EXPECT_GT(longer->batch_tokens, 8192);
  EXPECT_LT(longer->batch_tokens, 16384);
  // Never less than 512 tokens where there is room for that.
  settings = with_budget(4 * kGiB);
  EXPECT_GE(make_ledger(mixtral.plan, settings)->batch_tokens, 512);
  settings.context_tokens = 100;
  EXPECT_EQ(make_ledger(mixtral.plan, settings)->batch_tokens, 100);
}

TEST(MemoryLedger, SmallerBatchesRatherThanMissingExperts) {
  const Mixtral mixtral("q4_0");
  const auto all = make_ledger(mixtral.plan, with_budget(kNoBudget));
  ASSERT_TRUE(all.ok());
  const auto tight = make_ledger(mixtral.plan, with_budget(all->complete_bytes - 1));
  ASSERT_TRUE(tight.ok());
  EXPECT_TRUE(tight->pool.complete);
  EXPECT_EQ(tight->batch_tokens, 256);
}

TEST(MemoryLedger, SlotsAsAsked) {
  const Mixtral mixtral("q4_0");
  for (const int slots : {0, 2, 4, 6}) {
    LedgerSettings settings = with_budget(kNoBudget);
    settings.expert_slots = slots;
    const auto ledger = make_ledger(mixtral.plan, settings);
    ASSERT_TRUE(ledger.ok()) << ledger.error().message;
    EXPECT_FALSE(ledger->pool.complete);
    EXPECT_EQ(ledger->pool.kept, std::vector<int>(32, slots));
    EXPECT_EQ(ledger->expert_bytes,
              (32 * static_cast<uint64_t>(slots) + 2) * 96 * kMiB);  // 94.5 MiB in whole huge pages
    settings.budget_bytes = ledger->total_bytes();
    EXPECT_TRUE(make_ledger(mixtral.plan, settings).ok());
    settings.budget_bytes -= 1;
    const auto refused = make_ledger(mixtral.plan, settings);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  }
  LedgerSettings settings = with_budget(kNoBudget);
  settings.expert_slots = 8;
  EXPECT_TRUE(make_ledger(mixtral.plan, settings)->pool.complete);
  settings.expert_slots = 1;
  EXPECT_EQ(make_ledger(mixtral.plan, settings).error().code, ErrorCode::invalid_argument);
}

TEST(MemoryLedger, AllOrNothing) {
  const Mixtral mixtral("q4_0");
  LedgerSettings settings = with_budget(16 * kGiB);
  settings.all_resident = true;
  const auto refused = make_ledger(mixtral.plan, settings);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_NE(refused.error().message.find("with experts read from disk"), std::string::npos) << refused.error().message;
  settings.budget_bytes = 32 * kGiB;
  EXPECT_TRUE(make_ledger(mixtral.plan, settings)->pool.complete);
}

TEST(MemoryLedger, RefusesSizesThatAreNone) {
  const Mixtral mixtral("q4_0");
  LedgerSettings settings = with_budget(kNoBudget);
  settings.context_tokens = 0;
  EXPECT_EQ(make_ledger(mixtral.plan, settings).error().code, ErrorCode::invalid_argument);
  settings.context_tokens = int64_t{1} << 40;
  EXPECT_EQ(make_ledger(mixtral.plan, settings).error().code, ErrorCode::invalid_argument);
  settings.context_tokens = 64;
  settings.ubatch_size = 0;
  EXPECT_EQ(make_ledger(mixtral.plan, settings).error().code, ErrorCode::invalid_argument);
}

TEST(MemoryLedger, DenseModelsFitOrDoNot) {
  Mixtral mixtral("q4_0");
  mixtral.plan.experts.experts.assign(32, {});
  mixtral.plan.hp.router = {};
  mixtral.plan.hp.ffn = 14336;
  const auto ledger = make_ledger(mixtral.plan, with_budget(4 * kGiB));
  ASSERT_TRUE(ledger.ok()) << ledger.error().message;
  EXPECT_TRUE(ledger->pool.complete);
  EXPECT_EQ(ledger->expert_bytes, 0u);
  EXPECT_EQ(make_ledger(mixtral.plan, with_budget(kGiB)).error().code, ErrorCode::out_of_memory);
}

TEST(MemoryLedger, ReadsRealHeaders) {
  const auto files = open_weights(source_dir() + "/models/demo");
  ASSERT_TRUE(files.ok()) << files.error().message;
  Log log;
  const auto plan = plan_model(*files, "", log);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const auto needs = layer_needs(*plan, 4096);
  ASSERT_EQ(needs.size(), 4u);
  for (const LayerNeed& need : needs) {
    EXPECT_EQ(need.experts, 8);
    EXPECT_GE(need.slot_bytes, plan->experts.experts[0][0].bytes());
    EXPECT_LE(need.slot_bytes, plan->experts.experts[0][0].bytes() + 6 * 4096);
  }
  LedgerSettings settings = with_budget(kNoBudget);
  settings.context_tokens = 256;
  const auto all = make_ledger(*plan, settings);
  ASSERT_TRUE(all.ok());
  EXPECT_GE(all->dense_bytes + all->expert_bytes, files->total_bytes());
  settings.budget_bytes = all->minimum_bytes + 8 * needs[0].slot_bytes;
  const auto some = make_ledger(*plan, settings);
  ASSERT_TRUE(some.ok()) << some.error().message;
  EXPECT_FALSE(some->pool.complete);
  EXPECT_LE(some->total_bytes(), settings.budget_bytes);
}

}  // namespace
}  // namespace moxie
