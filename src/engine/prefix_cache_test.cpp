#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

namespace moxie {
namespace {

constexpr KvLayout kLayout = {.type = KvType::f32, .layers = 1, .kv_heads = 1, .head_dim = 4};
constexpr int64_t kBlock = KvLayout::kBlockTokens;

std::vector<int32_t> ids_of(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < count) ids.push_back(static_cast<int32_t>(random() % 1000));
  return ids;
}

class PrefixCacheTest : public testing::Test {
 protected:
  // A sequence that holds these ids, marked block by block.
  std::unique_ptr<KvCache> computed(std::span<const int32_t> ids) {
    auto state = std::make_unique<KvCache>(pool);
    EXPECT_TRUE(state->reserve(static_cast<int64_t>(ids.size())).ok());
    for (size_t b = 0; b < state->blocks().size(); ++b) {
      std::fill_n(reinterpret_cast<int32_t*>(state->blocks()[b]), kLayout.block_bytes() / 4, mark(ids, b));
    }
    state->commit(static_cast<int64_t>(ids.size()));
    return state;
  }
  static int32_t mark(std::span<const int32_t> ids, size_t block) {
    int32_t sum = 0;
    for (size_t i = 0; i < std::min(ids.size(), (block + 1) * kBlock); ++i) sum = sum * 31 + ids[i];
    return sum;
  }
  void expect_blocks(const PrefixCache::Match& match, std::span<const int32_t> ids) const {
    for (size_t b = 0; b < static_cast<size_t>(match.tokens / kBlock); ++b) {
      EXPECT_EQ(*reinterpret_cast<const int32_t*>(pool.data(match.blocks[b])), mark(ids, b)) << b;
    }
  }
  KvPool pool{kLayout};
};

TEST_F(PrefixCacheTest, FindsTheLongestBeginningToTheToken) {
  PrefixCache cache(pool, 100);
  const auto ids = ids_of(100, 1);
  EXPECT_EQ(cache.find(ids, 99).end, PrefixCache::End::empty);
  cache.insert(ids, *computed(ids), true);
  EXPECT_EQ(cache.blocks(), (100 + kBlock - 1) / kBlock);
  for (const int64_t same :
       {int64_t{0}, int64_t{1}, kBlock - 1, kBlock, kBlock + 1, int64_t{95}, int64_t{96}, int64_t{99}}) {
    auto other = ids;
    other[static_cast<size_t>(same)] = 5000;
    const auto match = cache.find(other, 99);
    EXPECT_EQ(match.tokens, same);
    EXPECT_EQ(static_cast<int64_t>(match.blocks.size()), (same + kBlock - 1) / kBlock);
    if (same < 99) {
      EXPECT_EQ(match.end, PrefixCache::End::differs);
      EXPECT_EQ(match.wanted, 5000);
      EXPECT_EQ(match.cached, ids[static_cast<size_t>(same)]);
    }
    expect_blocks(match, ids);
  }
  EXPECT_EQ(cache.find(ids, 99).tokens, 99);
  EXPECT_EQ(cache.find(ids, 99).end, PrefixCache::End::whole);
  auto longer = ids;
  longer.push_back(1);
  longer.push_back(2);
  EXPECT_EQ(cache.find(longer, 101).tokens, 100);
  EXPECT_EQ(cache.find(longer, 101).end, PrefixCache::End::unknown);
}

TEST_F(PrefixCacheTest, BlocksAreSharedAndThoseInUseStay) {
  PrefixCache cache(pool, 100);
  const auto ids = ids_of(3 * kBlock, 1), other = ids_of(2 * kBlock, 2);
  auto state = computed(ids);
  cache.insert(ids, *state, true);
  cache.insert(other, *computed(other), true);
  EXPECT_EQ(pool.blocks_in_use(), 5);
  cache.find(other, 2 * kBlock);
  // Only the other text's blocks are free to go, although they were used later.
  EXPECT_TRUE(cache.free_one());
  EXPECT_TRUE(cache.free_one());
  EXPECT_EQ(pool.blocks_in_use(), 3);
  EXPECT_EQ(cache.find(ids, 3 * kBlock).tokens, 3 * kBlock);
  EXPECT_EQ(cache.find(other, 2 * kBlock).tokens, 0);
  state.reset();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cache.free_one());
  EXPECT_FALSE(cache.free_one());
  EXPECT_EQ(pool.blocks_in_use(), 0);
  EXPECT_EQ(cache.counts().evictions, 5u);
}

TEST_F(PrefixCacheTest, TheEndOfATextGoesBeforeItsBeginningAndOldTextsBeforeNew) {
  PrefixCache cache(pool, 4);
  const auto first = ids_of(3 * kBlock, 1), second = ids_of(2 * kBlock, 2);
  cache.insert(first, *computed(first), true);
  cache.insert(second, *computed(second), true);
  EXPECT_EQ(cache.blocks(), 4);
  EXPECT_EQ(cache.find(second, 2 * kBlock).tokens, 2 * kBlock);
  EXPECT_EQ(cache.find(first, 3 * kBlock).tokens, 2 * kBlock);
}

TEST_F(PrefixCacheTest, ALongerEndTakesThePlaceOfAShorterOne) {
  PrefixCache cache(pool, 100);
  const auto ids = ids_of(kBlock + 14, 1);
  for (const int64_t more : {4, 10, 8, 14, 4}) {
    const int64_t length = kBlock + more;
    const std::vector<int32_t> part(ids.begin(), ids.begin() + length);
    cache.insert(part, *computed(part), true);
    EXPECT_EQ(cache.blocks(), 2) << length;
  }
  EXPECT_EQ(cache.find(ids, kBlock + 14).tokens, kBlock + 14);
  EXPECT_EQ(pool.blocks_in_use(), 2);
  // Not at an end: what is not full may still be written.
  const auto other = ids_of(kBlock + 8, 3);
  cache.insert(other, *computed(other), false);
  EXPECT_EQ(cache.find(other, kBlock + 8).tokens, kBlock);
}

TEST_F(PrefixCacheTest, EraseForgetsWhatNobodyElseBeginsWith) {
  PrefixCache cache(pool, 100);
  auto first = ids_of(3 * kBlock, 1), second = first;
  second[2 * kBlock + 6] = 9999;
  cache.insert(first, *computed(first), true);
  cache.insert(second, *computed(second), true);
  EXPECT_EQ(cache.blocks(), 4);
  EXPECT_EQ(cache.erase(first), kBlock);
  EXPECT_EQ(cache.find(second, 3 * kBlock).tokens, 3 * kBlock);
  EXPECT_EQ(cache.erase(second), 3 * kBlock);
  EXPECT_EQ(cache.blocks(), 0);
  EXPECT_EQ(pool.blocks_in_use(), 0);
}

// Against a plain list of everything that was ever inserted: nothing is found that does not agree, nothing is lost.
TEST_F(PrefixCacheTest, AgreesWithAListOfTexts) {
  PrefixCache cache(pool, 1 << 20);
  std::vector<std::vector<int32_t>> texts;
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids;
    if (!texts.empty() && random() % 4 != 0) {
      const auto& base = texts[random() % texts.size()];
      ids.assign(base.begin(), base.begin() + static_cast<std::ptrdiff_t>(random() % (base.size() + 1)));
    }
    for (size_t more = 1 + random() % 80; more > 0; --more) ids.push_back(static_cast<int32_t>(random() % 3));
    size_t longest = 0;
    for (const auto& text : texts) {
      const size_t most = std::min(text.size(), ids.size());
      const auto end = std::mismatch(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(most), text.begin()).first;
      longest = std::max(longest, static_cast<size_t>(end - ids.begin()));
    }
    const auto match = cache.find(ids, static_cast<int64_t>(ids.size()));
    EXPECT_EQ(match.tokens, static_cast<int64_t>(longest)) << round;
    expect_blocks(match, ids);
    auto state = std::make_unique<KvCache>(pool);
    if (match.tokens > 0) state->adopt(match.blocks, match.tokens);
    const auto whole = computed(ids);
    cache.insert(ids, *whole, true);
    texts.push_back(std::move(ids));
  }
}

TEST(BlockStore, KeepsWithinItsBytesAndLeavesOtherFilesAlone) {
  namespace fs = std::filesystem;
  const std::string folder = testing::TempDir() + "/store_test";
  fs::remove_all(folder);
  fs::create_directories(folder + "/0123456789abcdef");
  const std::string stranger = folder + "/0123456789abcdef/notes.txt";
  { std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(stranger.c_str(), "w"), &std::fclose); }
  Log log;
  const std::vector<std::byte> data(1000, std::byte{7});
  std::vector<std::string> names;
  {
    auto store = BlockStore::open(folder, "0123456789abcdef", 3 * 1336, log).value();
    std::string parent;
    for (int32_t i = 0; i < 5; ++i) {
      names.push_back(parent = BlockStore::name_of(parent, std::vector<int32_t>{i}));
      EXPECT_TRUE(store->save(parent, std::vector<int32_t>{i}, data, i));
      store->written(BlockStore::Wait::all);
    }
    EXPECT_FALSE(store->save(names[4], std::vector<int32_t>{4}, data, 9));
    EXPECT_LE(store->bytes(), 3u * 1336);
  }
  auto store = BlockStore::open(folder, "0123456789abcdef", 3 * 1336, log).value();
  std::vector<std::byte> into(1000);
  EXPECT_FALSE(store->has(names[1]));
  EXPECT_TRUE(store->load(names[4], std::vector<int32_t>{4}, into));
  EXPECT_EQ(into, data);
  EXPECT_FALSE(store->load(names[3], std::vector<int32_t>{4}, into));  // other tokens than the file's
  EXPECT_EQ(store->damaged(), 1u);
  EXPECT_FALSE(store->has(names[3]));
  auto other = BlockStore::open(folder, "fedcba9876543210", 3 * 1336, log).value();
  EXPECT_FALSE(other->has(names[4]));
  EXPECT_EQ(other->bytes(), 2u * 1336);
  auto none = BlockStore::open(folder, "fedcba9876543210", 0, log).value();
  EXPECT_EQ(none->bytes(), 0u);
  EXPECT_TRUE(fs::exists(stranger));
}

}  // namespace
}  // namespace moxie
