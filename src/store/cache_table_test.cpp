#include "store/cache_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>

namespace moxie {
namespace {

using Ids = std::vector<int32_t>;

const PolicyEntry& policy(std::string_view name) {
  const PolicyEntry* entry = find_policy(name);
  EXPECT_NE(entry, nullptr) << name;
  return *entry;
}

CacheTable one_layer(int experts, int slots, std::string_view name) {
  return CacheTable(std::vector{experts}, std::vector{slots}, policy(name));
}

std::vector<int> hits(CacheTable& table, const Ids& ids, EventKind kind = EventKind::decode, int64_t layer = 0) {
  const auto found = table.event(layer, ids, kind);
  return {found.begin(), found.end()};
}

Ids evicted(const CacheTable& table) {
  return {table.evicted().begin(), table.evicted().end()};
}

Ids residents(const CacheTable& table, int64_t layer = 0) {
  Ids ids;
  for (int32_t id = 0; id < table.experts(layer); ++id) {
    if (table.resident(layer, id)) ids.push_back(id);
  }
  return ids;
}

// Streams of events as a router makes them: some experts are likelier, and what was used is used again.
class EventStream {
 public:
  EventStream(uint32_t seed, int experts, int top_k)
      : random_(seed), top_k_(top_k), weights_(static_cast<size_t>(experts)) {
    for (double& weight : weights_) weight = 0.1 + static_cast<double>(random_() % 100) / 50;
  }
  Ids next(EventKind kind) {
    Ids ids(weights_.size());
    std::iota(ids.begin(), ids.end(), 0);
    if (random_() % 64 == 0) std::shuffle(weights_.begin(), weights_.end(), random_);
    std::vector<double> keys(ids.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      const bool again = std::find(last_.begin(), last_.end(), static_cast<int32_t>(i)) != last_.end();
      keys[i] = std::log((static_cast<double>(random_() % 100000) + 1) / 100001) / (weights_[i] * (again ? 3 : 1));
    }
    std::sort(ids.begin(), ids.end(),
              [&](int32_t a, int32_t b) { return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)]; });
    const size_t count = kind == EventKind::decode ? static_cast<size_t>(top_k_) : 1 + random_() % ids.size();
    ids.resize(count);
    if (kind == EventKind::prefill) std::sort(ids.begin(), ids.end());
    last_ = ids;
    return ids;
  }
  EventKind kind() { return random_() % 16 == 0 ? EventKind::prefill : EventKind::decode; }

 private:
  std::mt19937 random_;
  int top_k_;
  std::vector<double> weights_;
  Ids last_;
};

// A second implementation, by the words of the documentation alone: lru and lfu over maps.
class PlainCache {
 public:
  PlainCache(size_t slots, bool by_count) : slots_(slots), by_count_(by_count) {}

  std::vector<int> event(const Ids& ids, EventKind kind, Ids& gone) {
    ++now_;
    std::vector<int> hits;
    const std::set<int32_t> mine(ids.begin(), ids.end());
    for (const int32_t id : ids) {
      hits.push_back(inside_.count(id) ? 1 : 0);
      ++count_[id];
      last_[id] = now_;
    }
    size_t budget = kind == EventKind::prefill ? std::max<size_t>(1, slots_ / 4) : slots_;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (hits[i]) continue;
      if (inside_.size() == slots_) {
        std::map<std::tuple<int, int, int32_t>, int32_t> order;  // score, last use, id
        for (const int32_t id : inside_) {
          if (!mine.count(id)) order[{by_count_ ? count_[id] : last_[id], last_[id], id}] = id;
        }
        if (order.empty() || budget == 0) continue;
        --budget;
        gone.push_back(order.begin()->second);
        inside_.erase(order.begin()->second);
      }
      inside_.insert(ids[i]);
    }
    return hits;
  }
  Ids residents() const { return {inside_.begin(), inside_.end()}; }

 private:
  size_t slots_;
  bool by_count_;
  int now_ = 0;
  std::set<int32_t> inside_;
  std::map<int32_t, int> count_, last_;
};

TEST(CacheTable, AgreesWithPlainLruAndLfu) {
  for (const bool by_count : {false, true}) {
    for (uint32_t seed = 1; seed <= 12; ++seed) {
      const int experts = seed % 2 ? 8 : 33, top_k = seed % 3 ? 2 : 4;
      const int slots = static_cast<int>(seed) % experts;
      CacheTable table = one_layer(experts, slots, by_count ? "lfu" : "lru");
      PlainCache plain(static_cast<size_t>(slots), by_count);
      EventStream stream(seed, experts, top_k);
      for (int step = 0; step < 1500; ++step) {
        const EventKind kind = stream.kind();
        const Ids ids = stream.next(kind);
        Ids gone;
        const std::vector<int> expected = plain.event(ids, kind, gone);
        ASSERT_EQ(hits(table, ids, kind), expected) << "seed " << seed << " step " << step;
        ASSERT_EQ(evicted(table), gone) << "seed " << seed << " step " << step;
        ASSERT_EQ(residents(table), plain.residents());
      }
    }
  }
}

// What holds for every policy that is listed, over random streams with pins and failed reads.
TEST(CacheTable, EveryPolicyKeepsTheContract) {
  for (const PolicyEntry* entry : policy_entries()) {
    for (uint32_t seed = 1; seed <= 10; ++seed) {
      SCOPED_TRACE(std::string(entry->name) + ", seed " + std::to_string(seed));
      std::mt19937 random(seed);
      const int experts = seed % 2 ? 8 : 32, top_k = seed % 2 ? 2 : 4;
      const int slots = static_cast<int>(random() % static_cast<unsigned>(experts + 1));
      CacheTable table = one_layer(experts, slots, entry->name);
      std::set<int32_t> pins;
      for (int i = 0; i < slots - top_k && i < 3; ++i) {
        const auto id = static_cast<int32_t>(random() % static_cast<unsigned>(experts));
        pins.insert(id);
        EXPECT_TRUE(table.pin(0, id));
      }
      EventStream stream(seed, experts, top_k);
      std::vector<double> uses(static_cast<size_t>(experts));
      CacheCounts expected;
      for (int step = 0; step < 1000; ++step) {
        if (random() % 50 == 0) {
          const auto failed = static_cast<int32_t>(random() % static_cast<unsigned>(experts));
          if (!pins.count(failed)) {
            table.forget(0, failed);
            EXPECT_FALSE(table.resident(0, failed));
          }
        }
        const EventKind kind = stream.kind();
        const Ids ids = stream.next(kind), before = residents(table);
        const std::vector<int> found = hits(table, ids, kind);
        const Ids after = residents(table), gone = evicted(table);
        ASSERT_EQ(found.size(), ids.size());
        for (size_t i = 0; i < ids.size(); ++i) {
          ASSERT_EQ(found[i] == 1, std::binary_search(before.begin(), before.end(), ids[i]));
          ASSERT_TRUE(!found[i] || table.resident(0, ids[i]));  // an event never evicts its own
          ++(found[i] ? expected.hits : expected.misses);
          ++uses[static_cast<size_t>(ids[i])];
        }
        ASSERT_LE(after.size(), static_cast<size_t>(slots));
        ASSERT_EQ(after.size(), static_cast<size_t>(table.residents(0)));
        for (const int32_t pin : pins) ASSERT_TRUE(table.resident(0, pin));
        for (const int32_t id : gone) {
          ASSERT_EQ(std::count(ids.begin(), ids.end(), id), 0);
          ASSERT_TRUE(std::binary_search(before.begin(), before.end(), id));
          ASSERT_FALSE(table.resident(0, id));
        }
        for (const int32_t id : table.admitted()) {
          ASSERT_EQ(std::count(ids.begin(), ids.end(), id), 1);
          ASSERT_FALSE(std::binary_search(before.begin(), before.end(), id));
          ASSERT_TRUE(table.resident(0, id));
        }
        ASSERT_EQ(after.size(), before.size() + table.admitted().size() - gone.size());
        const int limit = kind == EventKind::prefill ? std::max(1, slots / 4) : slots;
        ASSERT_LE(gone.size(), static_cast<size_t>(entry->evicts ? limit : 0));
        expected.evictions += gone.size();
        // Misses stay out only where nobody may go: the rest is of this event or pinned, or the prompt's share is used
        // up.
        if (kind == EventKind::decode && entry->evicts) {
          for (const int32_t id : ids) {
            if (table.resident(0, id)) continue;
            for (const int32_t other : after) {
              ASSERT_TRUE(pins.count(other) || std::count(ids.begin(), ids.end(), other))
                  << other << " could have gone";
            }
          }
        }
      }
      EXPECT_EQ(table.total().hits, expected.hits);
      EXPECT_EQ(table.total().misses, expected.misses);
      EXPECT_EQ(table.total().evictions, expected.evictions);
      EXPECT_EQ(table.now(0), 1000);
      if (entry->half_life == 0 && !entry->forgets) {
        for (int32_t id = 0; id < experts; ++id) EXPECT_EQ(table.use(0, id).count, uses[static_cast<size_t>(id)]);
      }
    }
  }
}

TEST(CacheTable, CountsDecayByTheHalfLifeOfThePolicy) {
  CacheTable table = one_layer(8, 2, "class_lru");
  hits(table, {3});
  for (int i = 0; i < 127; ++i) hits(table, {1});
  hits(table, {3});
  EXPECT_NEAR(table.use(0, 3).count, 1.5, 1e-12);
  EXPECT_EQ(table.use(0, 3).last_use, 129);
}

TEST(CacheTable, HitsOfAnEventAreCreditedBeforeItsMissesEvict) {
  CacheTable table = one_layer(8, 2, "lru");
  hits(table, {0});
  hits(table, {1});
  // 0 is the longest unused, and is used in this event: 1 goes, although the miss stands first.
  EXPECT_EQ(hits(table, {5, 0}), (std::vector<int>{0, 1}));
  EXPECT_EQ(evicted(table), Ids{1});
  // Three ids and two places: the last miss finds nobody who may go.
  EXPECT_EQ(hits(table, {2, 3, 4}), (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(residents(table), (Ids{2, 3}));
  EXPECT_EQ(table.counts(0, EventKind::decode).bypasses, 1u);
}

TEST(CacheTable, APromptTakesAShareOfThePlaces) {
  CacheTable table = one_layer(32, 8, "lfru");
  for (int i = 0; i < 8; ++i) hits(table, {i});
  Ids all(20);
  std::iota(all.begin(), all.end(), 8);
  hits(table, all, EventKind::prefill);
  EXPECT_EQ(evicted(table).size(), 2u);
  EXPECT_EQ(residents(table), (Ids{2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(table.use(0, 27).count, 1);
  EXPECT_EQ(table.counts(0, EventKind::prefill).misses, 20u);
  EXPECT_EQ(table.counts(0, EventKind::decode).misses, 8u);
}

TEST(CacheTable, LayersAreSeparateAndMayKeepNothing) {
  CacheTable table(std::vector{8, 0, 4}, std::vector{0, 0, 4}, policy("lfu"));
  EXPECT_EQ(hits(table, {1, 2}), (std::vector<int>{0, 0}));
  EXPECT_EQ(hits(table, {1, 2}), (std::vector<int>{0, 0}));
  EXPECT_EQ(residents(table, 0), Ids{});
  EXPECT_EQ(table.use(0, 1).count, 2);
  hits(table, {3}, EventKind::decode, 2);
  EXPECT_EQ(hits(table, {3}, EventKind::decode, 2), std::vector<int>{1});
  EXPECT_EQ(table.now(0), 2);
  EXPECT_EQ(table.now(1), 0);
  EXPECT_EQ(table.total().hits, 1u);
}

TEST(CacheTable, AWarmStartKeepsCountsAndAges) {
  CacheTable table = one_layer(8, 2, "lcp_retained");
  EXPECT_TRUE(table.restore(0, 4, 10, 3, true));
  EXPECT_TRUE(table.restore(0, 5, 2, 0, true));
  EXPECT_FALSE(table.restore(0, 6, 9, 0, true));  // no place is left; the count is kept all the same
  EXPECT_EQ(table.use(0, 6).count, 9);
  EXPECT_EQ(table.now(0) - table.use(0, 4).last_use, 3);
  EXPECT_EQ(hits(table, {7, 4}), (std::vector<int>{0, 1}));
  EXPECT_EQ(evicted(table), Ids{5});
  table.forget(0, 4);
  EXPECT_EQ(residents(table), Ids{7});
  EXPECT_EQ(table.use(0, 4).count, 11);
}

TEST(CacheTable, APinTakesAPlaceNowOrAtTheNextMiss) {
  CacheTable table = one_layer(8, 2, "lru");
  hits(table, {0, 1});
  EXPECT_FALSE(table.pin(0, 5));
  hits(table, {5});
  EXPECT_TRUE(table.pin(0, 5));
  for (int i = 0; i < 20; ++i) hits(table, {i % 4, 6});
  EXPECT_TRUE(table.resident(0, 5));
}

// What each policy gives up, by hand: 0 is used often and long ago, 1 once and just now, 2 in between.
TEST(Policies, ChooseByTheirFormula) {
  struct Case {
    std::string_view name;
    int32_t goes;
  };
  for (const Case& expected :
       {Case{"lru", 0}, {"lfu", 1}, {"lfru", 0}, {"class_lru", 0}, {"lcp", 1}, {"lcp_retained", 1}}) {
    CacheTable table = one_layer(8, 3, expected.name);
    for (int i = 0; i < 8; ++i) hits(table, {0});
    for (int i = 0; i < 90; ++i) hits(table, {2});
    hits(table, {1});
    hits(table, {7});
    EXPECT_EQ(evicted(table), Ids{expected.goes}) << expected.name;
  }
  CacheTable table = one_layer(8, 1, "static");
  hits(table, {3});
  hits(table, {4});
  EXPECT_EQ(residents(table), Ids{3});
}

TEST(Policies, LcpForgetsWhomItEvicts) {
  for (const bool forgets : {true, false}) {
    CacheTable table = one_layer(4, 1, forgets ? "lcp" : "lcp_retained");
    hits(table, {0});
    hits(table, {0});
    hits(table, {1});
    EXPECT_EQ(table.use(0, 0).count, forgets ? 0 : 2);
  }
}

TEST(Policies, AreFoundByName) {
  EXPECT_EQ(find_policy("class-lru"), &policy("class_lru"));
  EXPECT_EQ(find_policy("belady"), nullptr);
  EXPECT_EQ(default_policy().name, "lfru");
  EXPECT_EQ(policy_names(), "lru, lfu, lfru, class_lru, lcp, lcp_retained, static");
}

}  // namespace
}  // namespace moxie
