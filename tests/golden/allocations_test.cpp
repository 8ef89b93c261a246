// Decoding allocates nothing: every buffer is sized when the sequence opens or with the first steps.
// Nor does the decision which experts stay in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "golden/golden_models.h"
#include "store/cache_table.h"
#include "store/trace_writer.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> allocations{0};

void* allocate(std::size_t bytes) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return allocate(bytes);
}
// std::stable_sort asks this way; what one of these gives, the others take back.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace moxie {
namespace {

TEST(Allocations, TheCounterCounts) {
  allocations = 0;
  counting = true;
  std::vector<int> some(1000);
  counting = false;
  EXPECT_GE(allocations.load(), 1);
  EXPECT_EQ(some.size(), 1000u);
}

TEST(Allocations, NoneWhileDecoding) {
  for (const char* name :
       {"mixtral/merged.gguf", "mixtral/q8_0.gguf", "qwen2_moe/merged.gguf", "llama-llama3/bf16.gguf"}) {
    auto engine = Engine::open({.model = (golden::data_folder() / "golden" / name).string(), .threads = 2}).value();
    auto sequence = engine->new_sequence().value();
    ASSERT_TRUE(sequence->append(std::vector<int32_t>{1, 2, 3, 4, 5}).ok());
    ASSERT_TRUE(sequence->append(std::vector<int32_t>{6}).ok());
    allocations = 0;
    for (int32_t id = 7; id < 100; ++id) {
      counting = true;
      const bool ok = sequence->append({&id, 1}).ok();
      counting = false;
      ASSERT_TRUE(ok);
    }
    EXPECT_EQ(allocations.load(), 0) << name;
  }
}

// Events that evict, under every policy, while they are recorded.
TEST(Allocations, NoneInTheCacheTableAndItsTrace) {
  const TraceShape shape{4, 64, 6};
  auto writer = TraceWriter::create("/dev/null", shape).value();
  for (const PolicyEntry* policy : policy_entries()) {
    CacheTable table(std::vector<int>(4, shape.experts), std::vector<int>(4, 12), *policy);
    std::vector<int32_t> ids(static_cast<size_t>(shape.top_k));
    allocations = 0;
    counting = true;
    for (int32_t event = 0; event < 5000; ++event) {
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = (event * 7 + static_cast<int32_t>(i) * 5) % shape.experts;
      table.event(event % 4, ids, EventKind::decode);
      writer.record(event, EventKind::decode, event % 4, ids);
    }
    counting = false;
    EXPECT_EQ(allocations.load(), 0) << policy->name;
    EXPECT_EQ(table.total().evictions > 0, policy->evicts) << policy->name;
  }
  EXPECT_TRUE(writer.finish().ok());
}

// Of any thread: those that read count as well.
TEST(Allocations, NoneWhileDecodingWithStreamedExperts) {
  for (const char* name : {"mixtral/merged.gguf", "mixtral/split.gguf", "mixtral-stacked", "qwen2_moe/merged.gguf"}) {
    for (const int64_t slots : {0, 3, 4}) {
      for (const char* lookahead : {"off", "on", "auto"}) {
        for (const char* backend : {"threads", "auto"}) {
          auto engine = Engine::open({.model = (golden::data_folder() / "golden" / name).string(),
                                      .threads = 2,
                                      .expert_slots = slots,
                                      .lookahead = lookahead,
                                      .io_backend = backend,
                                      .io_depth = 3,
                                      .io_piece = 4096})
                            .value();
          auto sequence = engine->new_sequence().value();
          ASSERT_TRUE(sequence->append(std::vector<int32_t>{1, 2, 3, 4, 5}).ok());
          ASSERT_TRUE(sequence->append(std::vector<int32_t>{6}).ok());
          const uint64_t misses = engine->expert_stats().misses;
          allocations = 0;
          for (int32_t id = 7; id < 60; ++id) {
            counting = true;
            const bool ok = sequence->append({&id, 1}).ok();
            counting = false;
            ASSERT_TRUE(ok);
          }
          EXPECT_EQ(allocations.load(), 0)
              << name << ", " << slots << " slots, lookahead " << lookahead << ", " << backend;
          EXPECT_GT(engine->expert_stats().misses, misses + 20) << name << " " << slots;
        }
      }
    }
  }
}

}  // namespace
}  // namespace moxie
