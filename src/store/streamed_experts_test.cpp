#include "store/streamed_experts.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "core/xxh64.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

constexpr int kLayers = 3, kExperts = 8, kUsed = 2;

// A file of random bytes and experts whose projections lie in it at odd places.
class StreamedExpertsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("moxie-streamed-" + std::to_string(::getpid()) + "-" +
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    std::mt19937_64 random(7);
    bytes_.resize(3'000'017);
    for (size_t i = 0; i + 8 <= bytes_.size(); i += 8) {
      const uint64_t value = random();
      std::memcpy(bytes_.data() + i, &value, 8);
    }
    path_ = folder_ / "weights.bin";
    std::ofstream(path_, std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    uint64_t offset = 96;
    for (int layer = 0; layer < kLayers; ++layer) {
      sources_.emplace_back();
      for (int id = 0; id < kExperts; ++id) {
        ExpertSource& source = sources_.back().emplace_back();
        for (FileRange& range : source.ranges) {
          range = {.file = 0, .offset = offset, .bytes = 8192 + 1000u * static_cast<unsigned>(layer) + random() % 4000};
          offset += range.bytes + (random() % 3 == 0 ? 0 : random() % 20000);
        }
      }
    }
    ASSERT_LT(offset, bytes_.size());
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<LayerNeed> needs() const {
    std::vector<LayerNeed> needs;
    for (const auto& layer : sources_) {
      LayerNeed& need = needs.emplace_back(LayerNeed{static_cast<int>(layer.size()), 0});
      for (const ExpertSource& source : layer)
        need.slot_bytes = std::max(need.slot_bytes, shape_slot(source.ranges, 4096).bytes);
    }
    return needs;
  }

  void open(int kept, DiskReaderOptions options = {}, const char* policy = "lfru") {
    open(fixed_pool(needs(), kUsed, kept).value(), std::move(options), policy);
  }
  void open(const PoolLayout& pool, DiskReaderOptions options = {}, const char* policy = "lfru") {
    store_.reset();
    const std::vector<std::string> paths = {path_.string()};
    reader_ = DiskReader::open(paths, options).value();
    store_ = StreamedExperts::create(*reader_, sources_, pool, *find_policy(policy), verify_).value();
  }

  // Ends every read. REQUIRED before what `inject` refers to goes away: dropped reads may still be on their way.
  void close() { store_.reset(); }

  bool right(const Matrix& matrix, const FileRange& range) const {
    return std::memcmp(matrix.data, bytes_.data() + range.offset, range.bytes) == 0;
  }
  bool right(const ExpertView& view, int64_t layer, int32_t id) const {
    const ExpertSource& source = sources_[static_cast<size_t>(layer)][static_cast<size_t>(id)];
    return right(view.gate, source.ranges[0]) && right(view.up, source.ranges[1]) && right(view.down, source.ranges[2]);
  }
  // Leases, waits for everything as a layer would, and compares every byte. Error of the first failing step.
  Result<void> use(int64_t layer, std::vector<int32_t> ids, std::vector<int32_t> last = {},
                   const std::atomic<bool>* stop = nullptr) {
    auto lease = store_->lease({.layer = layer, .ids = ids, .last_choice = last, .stop = stop});
    if (!lease.ok()) return lease.error();
    for (size_t first = 0; first < lease->size();) {
      auto count = lease->wait(first);
      if (!count.ok()) return count.error();
      for (size_t i = first; i < first + *count; ++i) {
        const ExpertSource& source = sources_[static_cast<size_t>(layer)][static_cast<size_t>(lease->id(i))];
        EXPECT_TRUE(right((*lease)[i].gate, source.ranges[0]));
        EXPECT_TRUE(right((*lease)[i].up, source.ranges[1]));
      }
      if (auto down = lease->wait_down(first, *count); !down.ok()) return down.error();
      for (size_t i = first; i < first + *count; ++i)
        EXPECT_TRUE(right((*lease)[i], layer, lease->id(i))) << layer << ":" << lease->id(i);
      first += *count;
      lease->release(first);
    }
    return {};
  }

  fs::path folder_, path_;
  std::vector<char> bytes_;
  void give_checksums() {
    for (auto& layer : sources_) {
      for (ExpertSource& source : layer) {
        source.checksums.emplace();
        for (size_t i = 0; i < 3; ++i) {
          (*source.checksums)[i] =
              xxh64(std::as_bytes(std::span(bytes_).subspan(source.ranges[i].offset, source.ranges[i].bytes)));
        }
      }
    }
  }
  // Reads of expert 3 of layer 1 get a wrong byte in its up projection as long as `times` is above zero.
  DiskReaderOptions spoiling(std::atomic<int>& times, int attempts_min = 0) const {
    const uint64_t at = sources_[1][3].ranges[1].offset + 100;
    return {.inject = [&times, at, attempts_min](ReadOutcome& read) {
      if (read.offset > at || at - read.offset >= read.bytes || read.result <= 0) return;
      if (read.attempts < attempts_min) {
        read.result = -EIO;
      } else if (times.fetch_sub(1) > 0) {
        read.into[at - read.offset] ^= std::byte{1};
      }
    }};
  }

  std::vector<std::vector<ExpertSource>> sources_;
  bool verify_ = false;
  std::unique_ptr<DiskReader> reader_;
  std::unique_ptr<StreamedExperts> store_;
};

TEST_F(StreamedExpertsTest, EveryExpertHasItsBytesWhateverIsKept) {
  std::mt19937 random(1);
  for (const int kept : {0, 2, 3, 5, 8}) {
    open(kept);
    for (int step = 0; step < 60; ++step) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const auto a = static_cast<int32_t>(random() % kExperts),
                   b = static_cast<int32_t>((a + 1 + random() % 7) % kExperts);
        ASSERT_TRUE(use(layer, {a, b}).ok());
      }
    }
    const StreamCounts counts = store_->counts();
    EXPECT_EQ(counts.hits + counts.misses, 60u * kLayers * 2);
    EXPECT_EQ(counts.demand_reads, counts.misses) << kept;
  }
}

TEST_F(StreamedExpertsTest, APromptReadsEachMissingExpertOnce) {
  for (const int kept : {0, 2, 4}) {
    open(kept);
    const std::vector<int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int64_t layer = 0; layer < kLayers; ++layer) ASSERT_TRUE(use(layer, all, {6, 7}).ok());
    EXPECT_EQ(store_->counts().demand_reads, static_cast<uint64_t>(kLayers * kExperts)) << kept;
    // A second one reads what was not kept, and the last token's choice was.
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      if (kept > 0) {
        EXPECT_TRUE(store_->ready(layer, 6) && store_->ready(layer, 7));
      }
      ASSERT_TRUE(use(layer, all, {6, 7}).ok());
    }
    EXPECT_EQ(store_->counts().demand_reads, static_cast<uint64_t>(kLayers * (kExperts + kExperts - kept))) << kept;
  }
}

TEST_F(StreamedExpertsTest, GuessesOfAPromptAreNeverReadTwice) {
  const std::vector<int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  for (const int kept : {0, 2, 5}) {
    open(kept);
    for (int prompt = 0; prompt < 3; ++prompt) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        if (layer + 1 < kLayers) store_->look_ahead(layer + 1, all, ExpertStore::Guess::prompt);
        ASSERT_TRUE(use(layer, all, {6, 7}).ok());
      }
    }
    const StreamCounts counts = store_->counts();
    EXPECT_EQ(counts.lookahead_wasted, 0u) << kept;
    EXPECT_EQ(counts.demand_reads + counts.lookahead_reads,
              static_cast<uint64_t>(kLayers * (kExperts + 2 * (kExperts - kept))))
        << kept;
  }
}

TEST_F(StreamedExpertsTest, AWrongByteIsReadOnceMore) {
  give_checksums();
  verify_ = true;
  for (const int kept : {0, 2, 4}) {
    std::atomic<int> times = 1;
    open(kept, spoiling(times));
    EXPECT_TRUE(use(1, {3, 4}).ok());
    EXPECT_LT(times, 1) << "it was spoiled";
    EXPECT_TRUE(use(1, {4, 3}).ok());
    close();
  }
}

TEST_F(StreamedExpertsTest, BytesThatStayWrongAreAnErrorThatNamesTheExpert) {
  give_checksums();
  verify_ = true;
  for (const int kept : {0, 2, 4}) {
    std::atomic<int> times = 1000;
    open(kept, spoiling(times));
    const auto failed = use(1, {2, 3});
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
    EXPECT_NE(failed.error().message.find(path_.string() + ": expert 3 of layer 1: the bytes of its up projection"),
              std::string::npos)
        << failed.error().message;
    EXPECT_TRUE(use(1, {2, 5}).ok()) << "others are not concerned";
    EXPECT_FALSE(use(1, {3}).ok());
    times = 0;
    EXPECT_TRUE(use(1, {3, 2}).ok()) << "read anew";
    close();
  }
}

TEST_F(StreamedExpertsTest, GuessedAndLoadedExpertsAreCheckedToo) {
  give_checksums();
  verify_ = true;
  std::atomic<int> times = 1;
  open(4, spoiling(times));
  const std::vector<int32_t> guess = {3, 6};
  store_->look_ahead(1, guess, ExpertStore::Guess::decode);
  while (reader_->stats().pieces < 2 || times > 0) std::this_thread::yield();
  EXPECT_TRUE(use(1, {3, 6}).ok());
  times = 1;
  open(kExperts, spoiling(times));
  EXPECT_TRUE(store_->load_all({}).ok());
  EXPECT_TRUE(use(1, {3, 6}).ok());
  times = 1000;
  open(kExperts, spoiling(times));
  const auto failed = store_->load_all({});
  close();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
}

TEST_F(StreamedExpertsTest, ReadsThatHadToBeRepeatedAreCheckedUnasked) {
  give_checksums();
  std::atomic<int> times = 1000;
  open(2, spoiling(times, 1));  // the first attempt fails, the second gives a wrong byte
  const auto failed = use(1, {2, 3});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
  times = 0;
  EXPECT_TRUE(use(1, {2, 3}).ok());
  close();
}

TEST_F(StreamedExpertsTest, LeasesOfOneDamagedExpertAllFailOrAreRight) {
  give_checksums();
  verify_ = true;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> times = round % 4;
    open(2, spoiling(times));
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        for (int step = 0; step < 10; ++step) {
          const auto done = use(1, {3, static_cast<int32_t>((i + step) % 3)});  // compares every byte
          if (done.ok()) continue;
          ++failures;
          EXPECT_EQ(done.error().code, ErrorCode::corrupt) << done.error().message;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    times = 0;  // leases that overlap all fail with one read: not every wrong byte needs to have been given by now
    EXPECT_TRUE(use(1, {3}).ok());
    if (round % 4 == 0) {
      EXPECT_EQ(failures, 0);
    }
    close();
  }
}

TEST_F(StreamedExpertsTest, LoadsEverythingWhenEverythingFits) {
  open(kExperts);
  uint64_t last = 0, total = 0;
  ASSERT_TRUE(store_
                  ->load_all([&](uint64_t done, uint64_t all) {
                    EXPECT_GT(done, last);
                    last = done;
                    total = all;
                    return true;
                  })
                  .ok());
  EXPECT_EQ(last, total);
  const uint64_t read = reader_->stats().bytes();
  for (int64_t layer = 0; layer < kLayers; ++layer) ASSERT_TRUE(use(layer, {5, 1}).ok());
  EXPECT_EQ(reader_->stats().bytes(), read);
  EXPECT_EQ(store_->counts().misses, 0u);
}

TEST_F(StreamedExpertsTest, GuessesAreCountedAndNeverChangeWhatStays) {
  std::vector<bool> resident[2];
  for (const bool guess : {false, true}) {
    open(3);
    std::mt19937 random(3);
    for (int step = 0; step < 100; ++step) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const auto a = static_cast<int32_t>(random() % kExperts), b = static_cast<int32_t>((a + 1) % kExperts);
        const auto c = static_cast<int32_t>(random() % kExperts);
        if (guess) store_->look_ahead(layer, std::vector<int32_t>{a, c}, ExpertStore::Guess::decode);
        ASSERT_TRUE(use(layer, {a, b}).ok());
        for (int32_t id = 0; id < kExperts; ++id)
          resident[guess ? 1 : 0].push_back(store_->table().resident(layer, id));
      }
    }
  }
  EXPECT_EQ(resident[0], resident[1]);
  const StreamCounts counts = store_->counts();
  EXPECT_GT(counts.lookahead_useful + counts.lookahead_late, 0u);
  EXPECT_GT(counts.lookahead_wasted, 0u);
  EXPECT_EQ(counts.lookahead_reads, counts.lookahead_useful + counts.lookahead_late + counts.lookahead_wasted);
  EXPECT_EQ(counts.misses, counts.demand_reads + counts.lookahead_useful + counts.lookahead_late);
}

TEST_F(StreamedExpertsTest, AFailedReadFailsTheLeaseAndNothingElse) {
  std::atomic<bool> broken{true};
  open(3, {.inject = [&](ReadOutcome& outcome) {
         if (broken) outcome.result = -EIO;
       }});
  const auto failed = use(1, {2, 5});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::io);
  EXPECT_NE(failed.error().message.find("weights.bin"), std::string::npos) << failed.error().message;
  broken = false;
  EXPECT_TRUE(use(1, {2, 5}).ok());
  EXPECT_TRUE(use(1, {2, 5}).ok());
  EXPECT_GT(store_->counts().hits, 0u);
  close();
}

TEST_F(StreamedExpertsTest, StopEndsWaiting) {
  std::atomic<bool> stop{false};
  std::mutex gate;
  open(2, {.inject = [&](ReadOutcome&) {
         stop = true;
         const std::lock_guard lock(gate);
       }});
  std::unique_lock held(gate);
  const auto stopped = use(0, {1, 2}, {}, &stop);
  held.unlock();
  EXPECT_TRUE(use(0, {1, 2}).ok());
  close();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

// A drive that hangs on reads nobody wants any more holds up neither a cancelled lease nor one that finds other slots.
TEST_F(StreamedExpertsTest, DroppedReadsAreNotWaitedFor) {
  std::mutex gate;
  std::atomic<int> waiting{0};
  open(2, {.backend = DiskReaderOptions::Backend::threads, .depth = 8, .inject = [&](ReadOutcome& outcome) {
             if (outcome.priority != ReadPriority::lookahead) return;
             ++waiting;
             const std::lock_guard lock(gate);
           }});
  std::unique_lock held(gate);
  store_->look_ahead(0, std::vector<int32_t>{1}, ExpertStore::Guess::decode);
  while (waiting == 0) std::this_thread::yield();
  ASSERT_TRUE(use(0, {4, 5}).ok());  // the guess was wrong: its slot is leaving, and three others are there
  EXPECT_EQ(store_->counts().lookahead_wasted, 1u);
  // The guess comes true while its old read still hangs: another slot.
  ASSERT_TRUE(use(0, {1}).ok());
  held.unlock();
  for (int32_t step = 0; step < 20; ++step) EXPECT_TRUE(use(step % kLayers, {step % 8, (step + 3) % 8}).ok());
  close();
}

TEST_F(StreamedExpertsTest, AWrongGuessThatHangsInTheOnlyPlaceIsWaitedForUntilStopped) {
  std::mutex gate;
  std::array<std::atomic<bool>, 2> hangs{};  // a piece of the expert
  open(0, {.backend = DiskReaderOptions::Backend::threads, .depth = 8, .inject = [&](ReadOutcome& outcome) {
             if (outcome.priority != ReadPriority::lookahead) return;
             for (size_t i = 0; i < hangs.size(); ++i) {
               const FileRange& range = sources_[0][1 + i].ranges[0];
               const uint64_t middle = range.offset + range.bytes / 2;
               if (middle >= outcome.offset && middle - outcome.offset < outcome.bytes) hangs[i] = true;
             }
             const std::lock_guard lock(gate);
           }});
  std::unique_lock held(gate);
  store_->look_ahead(0, std::vector<int32_t>{1, 2}, ExpertStore::Guess::decode);  // all transit slots
  while (!hangs[0] || !hangs[1]) std::this_thread::yield();
  std::atomic<bool> stop{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    stop = true;
  });
  const auto stopped = use(0, {4, 5}, {}, &stop);
  stopper.join();
  held.unlock();
  EXPECT_TRUE(use(0, {4, 5}).ok());
  close();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

TEST_F(StreamedExpertsTest, ManyLeasesOnFewSlotsAllEnd) {
  for (const int kept : {0, 2, 4}) {
    open(kept);
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 6; ++seed) {
      threads.emplace_back([&, seed] {
        std::mt19937 random(seed);
        for (int step = 0; step < 150; ++step) {
          const auto layer = static_cast<int64_t>(random() % kLayers);
          if (random() % 8 == 0) {
            EXPECT_TRUE(use(layer, {0, 1, 2, 3, 4, 5, 6, 7}, {static_cast<int32_t>(random() % 4), 5}).ok());
            continue;
          }
          const auto a = static_cast<int32_t>(random() % kExperts),
                     b = static_cast<int32_t>((a + 1 + random() % 7) % kExperts);
          if (random() % 2 == 0)
            store_->look_ahead((layer + 1) % kLayers, std::vector<int32_t>{a, b}, ExpertStore::Guess::decode);
          EXPECT_TRUE(use(layer, {a, b}).ok());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

// Several leases share experts whose reads fail, half-way or at once, and spoil memory: nobody computes with what
// another's retry writes.
TEST_F(StreamedExpertsTest, ManyLeasesAndReadsThatFailGiveBytesOrErrors) {
  for (const int kept : {0, 3}) {
    std::atomic<uint64_t> calls{0};
    std::atomic<bool> armed{true};
    open(kept, {.depth = 4, .piece_bytes = 4096, .inject = [&](ReadOutcome& outcome) {
                  if (!armed) return;
                  const uint64_t mixed = (calls.fetch_add(1) + 1) * 0xBF58476D1CE4E5B9u;
                  const uint64_t random = (mixed ^ (mixed >> 31)) * 0x94D049BB133111EBu >> 33;
                  if (random % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random % 400));
                  if (random % 3 != 0) return;
                  outcome.result = -EIO;
                  std::memset(outcome.into, 0x77, outcome.bytes);
                }});
    std::atomic<int> failed{0}, worked{0};
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 5; ++seed) {
      threads.emplace_back([&, seed] {
        std::mt19937 random(seed);
        for (int step = 0; step < 25; ++step) {
          const auto a = static_cast<int32_t>(random() % 3), b = static_cast<int32_t>(3 + random() % 2);
          if (random() % 4 == 0) store_->look_ahead(0, std::vector<int32_t>{b, a}, ExpertStore::Guess::decode);
          const auto done = use(0, {a, b});
          EXPECT_TRUE(done.ok() || done.error().code == ErrorCode::io) << done.error().message;
          ++(done.ok() ? worked : failed);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(failed, 0);
    EXPECT_GT(worked, 0);
    armed = false;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      for (int32_t id = 0; id + 1 < kExperts; ++id) EXPECT_TRUE(use(layer, {id, id + 1}).ok());
    }
    close();
  }
}

TEST_F(StreamedExpertsTest, TheHotSetComesBack) {
  open(3);
  for (int step = 0; step < 10; ++step) {
    for (int64_t layer = 0; layer < kLayers; ++layer) ASSERT_TRUE(use(layer, {4, 6}).ok());
  }
  const std::vector<KnownExpert> known = store_->known();
  open(3);
  EXPECT_EQ(store_->restore(known), 2 * kLayers);
  for (int64_t layer = 0; layer < kLayers; ++layer) ASSERT_TRUE(use(layer, {4, 6}).ok());
  EXPECT_EQ(store_->counts().misses, 0u);
  EXPECT_EQ(store_->counts().demand_reads, 0u);
}

TEST_F(StreamedExpertsTest, LeasesWhileTheHotSetComesBackAndReadsFail) {
  std::vector<KnownExpert> known;
  for (int32_t layer = 0; layer < kLayers; ++layer) {
    for (int32_t id = 0; id < kExperts; ++id)
      known.push_back({.layer = layer, .id = id, .count = 1.0 + id, .age = id, .resident = id < 4});
  }
  known.push_back({.layer = kLayers, .id = 0, .count = 1});
  known.push_back({.layer = 0, .id = kExperts, .count = 1});
  known.push_back(known[1]);
  for (const int kept : {0, 2, 4}) {
    std::atomic<uint64_t> calls{0};
    open(kept, {.depth = 2, .piece_bytes = 4096, .inject = [&](ReadOutcome& outcome) {
                  const uint64_t call = calls++;
                  if (call % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
                  if (outcome.priority == ReadPriority::lookahead && call % 3 == 0) outcome.result = -EIO;
                }});
    EXPECT_LE(store_->restore(known), kept * kLayers);
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&, seed] {
        std::mt19937 random(seed);
        for (int step = 0; step < 30; ++step) {
          const auto a = static_cast<int32_t>(random() % kExperts),
                     b = static_cast<int32_t>((a + 1 + random() % 7) % kExperts);
          const auto done = use(static_cast<int64_t>(random() % kLayers), {a, b});
          EXPECT_TRUE(done.ok()) << done.error().message;
        }
        EXPECT_GT(store_->known().size(), 0u);
      });
    }
    for (std::thread& thread : threads) thread.join();
    close();
  }
}

TEST_F(StreamedExpertsTest, PinsStayAndMustLeaveRoom) {
  open(4);
  const std::vector<KnownExpert> pins = {{.layer = 1, .id = 7}, {.layer = 1, .id = 3}};
  ASSERT_TRUE(store_->pin(pins, kUsed).ok());
  for (int32_t step = 0; step < 20; ++step) ASSERT_TRUE(use(1, {step % 3, 4 + step % 3}).ok());
  EXPECT_TRUE(store_->ready(1, 7) && store_->ready(1, 3));
  EXPECT_EQ(
      store_->pin(std::vector<KnownExpert>{{.layer = 0, .id = 1}, {.layer = 0, .id = 2}, {.layer = 0, .id = 3}}, kUsed)
          .error()
          .code,
      ErrorCode::invalid_argument);
  EXPECT_EQ(store_->pin(std::vector<KnownExpert>{{.layer = 9, .id = 1}}, kUsed).error().code,
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace moxie
