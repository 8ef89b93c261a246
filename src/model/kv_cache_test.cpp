#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>

namespace moxie {
namespace {

constexpr KvLayout kLayout = {.type = KvType::f16, .layers = 2, .kv_heads = 2, .head_dim = 8};

// The bytes that position `position` has of head 0, when rows lie one after another; the cache itself does not care.
std::byte* row_at(const KvCache& cache, size_t offset, int64_t position) {
  return cache.blocks()[static_cast<size_t>(position / KvLayout::kBlockTokens)] + offset +
         static_cast<size_t>(position % KvLayout::kBlockTokens) * kLayout.row_bytes();
}
std::byte* key(const KvCache& cache, int64_t layer, int64_t position) {
  return row_at(cache, kLayout.offset(layer), position);
}
std::byte* value(const KvCache& cache, int64_t layer, int64_t position) {
  return row_at(cache, kLayout.offset(layer) + kLayout.key_bytes(), position);
}

// Writes a mark that tells layer and position into every key and value row.
void write(KvCache& cache, int64_t count, uint8_t mark) {
  ASSERT_TRUE(cache.reserve(count).ok());
  for (int64_t position = cache.tokens(); position < cache.tokens() + count; ++position) {
    for (int64_t layer = 0; layer < kLayout.layers; ++layer) {
      for (int64_t head = 0; head < kLayout.kv_heads; ++head) {
        const size_t offset = static_cast<size_t>(head) * kLayout.head_bytes();
        std::memset(key(cache, layer, position) + offset, static_cast<int>(mark + position + layer),
                    kLayout.row_bytes());
        std::memset(value(cache, layer, position) + offset, static_cast<int>(mark + position + layer + 1),
                    kLayout.row_bytes());
      }
    }
  }
  cache.commit(count);
}

uint8_t key_mark(const KvCache& cache, int64_t layer, int64_t position) {
  return static_cast<uint8_t>(*key(cache, layer, position));
}

TEST(KvCache, RowsDoNotOverlap) {
  KvPool pool(kLayout);
  KvCache cache(pool);
  write(cache, 100, 0);
  for (int64_t position = 0; position < 100; ++position) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      EXPECT_EQ(key_mark(cache, layer, position), position + layer);
      EXPECT_EQ(static_cast<uint8_t>(*value(cache, layer, position)), position + layer + 1);
      EXPECT_EQ(static_cast<uint8_t>(key(cache, layer, position)[kLayout.head_bytes() + kLayout.row_bytes() - 1]),
                position + layer);
    }
  }
}

TEST(KvCache, ForkSharesUntilWritten) {
  KvPool pool(kLayout);
  KvCache cache(pool);
  constexpr int64_t kFirst = KvLayout::kBlockTokens + 8;
  write(cache, kFirst, 0);  // one full block and a part of the second
  EXPECT_EQ(pool.blocks_in_use(), 2);
  auto fork = cache.fork();
  EXPECT_EQ(pool.blocks_in_use(), 2);
  write(*fork->kv(), 5, 100);
  EXPECT_EQ(pool.blocks_in_use(), 3);  // the shared second block was copied
  write(cache, 5, 50);
  EXPECT_EQ(pool.blocks_in_use(), 3);  // and the original is alone with its own
  EXPECT_EQ(key_mark(cache, 0, kFirst + 2), 50 + kFirst + 2);
  EXPECT_EQ(key_mark(*fork->kv(), 0, kFirst + 2), 100 + kFirst + 2);
  EXPECT_EQ(key_mark(*fork->kv(), 0, kFirst - 1), kFirst - 1);
  fork.reset();
  EXPECT_EQ(pool.blocks_in_use(), 2);
}

TEST(KvCache, TruncateGivesBlocksBack) {
  KvPool pool(kLayout);
  KvCache cache(pool);
  write(cache, 100, 0);
  ASSERT_TRUE(cache.truncate(KvLayout::kBlockTokens + 1).ok());
  EXPECT_EQ(cache.tokens(), KvLayout::kBlockTokens + 1);
  EXPECT_EQ(pool.blocks_in_use(), 2);
  EXPECT_FALSE(cache.truncate(KvLayout::kBlockTokens + 2).ok());
  ASSERT_TRUE(cache.truncate(0).ok());
  EXPECT_EQ(pool.blocks_in_use(), 0);
}

TEST(KvCache, SaveAndRestore) {
  KvPool pool(kLayout);
  KvCache cache(pool);
  write(cache, 45, 7);
  const std::vector<std::byte> saved = cache.save();
  KvCache other(pool);
  ASSERT_TRUE(other.restore(saved).ok());
  EXPECT_EQ(other.tokens(), 45);
  for (int64_t position = 0; position < 45; ++position) EXPECT_EQ(key_mark(other, 1, position), 7 + position + 1);

  for (size_t cut : {size_t{0}, size_t{10}, saved.size() - 1}) {
    EXPECT_FALSE(other.restore(std::span(saved).first(cut)).ok()) << cut;
  }
  KvLayout wider = kLayout;
  wider.head_dim = 16;
  KvPool wider_pool(wider);
  KvCache stranger(wider_pool);
  const auto refused = stranger.restore(saved);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);

  std::vector<std::byte> earlier = saved;
  earlier[7] = std::byte{'3'};
  const auto outdated = other.restore(earlier);
  ASSERT_FALSE(outdated.ok());
  EXPECT_NE(outdated.error().message.find("version 3 of moxie's key/value blocks"), std::string::npos)
      << outdated.error().message;
  EXPECT_EQ(other.tokens(), 45);
}

}  // namespace
}  // namespace moxie
