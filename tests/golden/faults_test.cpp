// Drives that fail, hang or lie, and files that change under a running engine: a request gives the right bits or a
// clear error, and the next one works. Nothing crashes, nothing hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "golden/engine_with.h"
#include "golden/golden_models.h"
#include "golden/scheduler_fixture.h"
#include "support/disk_reader_fixture.h"
#include "support/paths.h"
#include "support/watchdog.h"

namespace moxie {
namespace {

using disk_reader_testing::Backend;
using disk_reader_testing::Gate;
using disk_reader_testing::kWays;
using disk_reader_testing::Way;
using testing::HasSubstr;
namespace fs = std::filesystem;

const std::vector<int32_t> kIds = {1,   300, 17, 901, 44,   2,  65, 4000, 12, 7,  88, 3001,
                                   256, 5,   19, 77,  1234, 31, 8,  600,  42, 42, 9,  1021};
constexpr size_t kPrompt = 12;  // ids of the prompt; the others come one by one

fs::path demo() {
  return fs::path(source_dir()) / "models" / "demo";
}

// Logits after each of kIds, computed with every expert in memory.
const std::vector<std::vector<float>>& expected() {
  static const auto rows = [] {
    std::vector<std::vector<float>> all;
    auto engine = Engine::open({.model = demo().string(), .threads = 2, .memory = "all"}).value();
    auto sequence = engine->new_sequence().value();
    const auto keep = [&](int64_t, std::span<const float> row) { all.emplace_back(row.begin(), row.end()); };
    EXPECT_TRUE(sequence->append(kIds, keep).ok());
    return all;
  }();
  return rows;
}

bool right(std::span<const float> logits, size_t position) {
  const std::vector<float>& row = expected()[position];
  return logits.size() == row.size() && std::memcmp(logits.data(), row.data(), row.size() * sizeof(float)) == 0;
}

// Goes on where the sequence stands, to the end of kIds. The first error, if any; every logit on the way is compared.
Result<void> go_on(Sequence& sequence) {
  while (sequence.ids().size() < kIds.size()) {
    const size_t at = sequence.ids().size();
    const size_t count = at < kPrompt ? kPrompt - at : 1;
    MOXIE_TRY_VOID(sequence.append(std::span(kIds).subspan(at, count)));
    EXPECT_TRUE(right(sequence.logits(), at + count - 1)) << "after " << at + count << " ids";
  }
  return {};
}

class Faults : public testing::TestWithParam<Way> {
 protected:
  EngineOptions options(int64_t slots = 2) const {
    return {.model = model_.string(),
            .ctx_size = 64,
            .threads = 2,
            .expert_slots = slots,
            .lookahead = "on",
            .io_backend = GetParam().backend == Backend::threads ? "threads" : "auto",
            .io_piece = 65536,
            .direct_io = GetParam().direct};
  }
  void open(std::function<void(ReadOutcome&)> inject, int64_t slots = 2) {
    auto opened = golden::open_with(options(slots), std::move(inject));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    engine_ = std::move(opened).value();
    sequence_ = engine_->new_sequence().value();
  }
  void expect_a_new_request_works() {
    auto next = engine_->new_sequence().value();
    const auto done = go_on(*next);
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  // A copy of the model that may be changed.
  void copy_model() {
    copy_ = fs::path(testing::TempDir()) / ("moxie-faults-" + std::to_string(::getpid()));
    fs::remove_all(copy_);
    fs::copy(demo(), copy_);
    model_ = copy_;
    weights_ = copy_ / "model.safetensors";
  }
  void TearDown() override {
    sequence_.reset();
    engine_.reset();
    if (!copy_.empty()) fs::remove_all(copy_);
  }

  test::Watchdog watchdog_;
  fs::path model_ = demo(), copy_, weights_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Sequence> sequence_;
};

INSTANTIATE_TEST_SUITE_P(Ways, Faults, testing::ValuesIn(kWays), testing::PrintToStringParamName());

TEST_P(Faults, AnErrorThatPassesIsRetried) {
  std::atomic<int> failed{0};
  open([&](ReadOutcome& outcome) {
    if (outcome.attempts > 0 || outcome.offset / outcome.bytes % 4 != 0) return;
    outcome.result = -EIO;
    std::memset(outcome.into, 0, outcome.bytes);  // what counts must come from the retry
    ++failed;
  });
  const auto done = go_on(*sequence_);
  EXPECT_TRUE(done.ok()) << done.error().message;
  EXPECT_GT(failed, 100);
}

TEST_P(Faults, AnErrorThatStaysFailsTheRequestAndTheNextOneWorks) {
  std::atomic<bool> broken{false};
  open([&](ReadOutcome& outcome) {
    if (!broken) return;
    outcome.result = -EIO;
    std::memset(outcome.into, 0xFF, outcome.bytes);
  });
  for (int round = 0; round < 3; ++round) {  // in the prompt, then twice in the middle of the text
    broken = true;
    const auto failed = go_on(*sequence_);
    ASSERT_FALSE(failed.ok()) << round;
    EXPECT_EQ(failed.error().code, ErrorCode::io);
    for (const char* part : {"model.safetensors", " bytes at ", "Input/output error"})
      EXPECT_THAT(failed.error().message, HasSubstr(part));
    broken = false;
    const size_t at = sequence_->ids().size();
    const size_t count = at < kPrompt ? kPrompt - at : 1;
    const auto repaired = sequence_->append(std::span(kIds).subspan(at, count));
    ASSERT_TRUE(repaired.ok()) << repaired.error().message;
    EXPECT_TRUE(right(sequence_->logits(), at + count - 1));
  }
  EXPECT_TRUE(go_on(*sequence_).ok());
  expect_a_new_request_works();
}

TEST_P(Faults, ShortReadsAreCompleted) {
  std::atomic<int> cut{0};
  golden::Dice dice(1);
  open([&](ReadOutcome& outcome) {
    const uint64_t random = dice.roll();
    if (outcome.result <= 0 || outcome.attempts > 0 || random % 3 != 0) return;
    outcome.result = static_cast<int64_t>(random % static_cast<uint64_t>(outcome.result));
    std::memset(outcome.into + outcome.result, 0xEE, outcome.bytes - static_cast<uint64_t>(outcome.result));
    ++cut;
  });
  const auto done = go_on(*sequence_);
  EXPECT_TRUE(done.ok()) << done.error().message;
  EXPECT_GT(cut, 50);
}

TEST_P(Faults, SlowReadsChangeNothing) {
  for (const int64_t slots : {0, 2, 4}) {
    std::atomic<int> calls{0};
    open(
        [&](ReadOutcome&) {
          if (++calls % 17 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(calls % 5 == 0 ? 20 : 2));
        },
        slots);
    const auto done = go_on(*sequence_);
    EXPECT_TRUE(done.ok()) << done.error().message;
    sequence_.reset();
    engine_.reset();
  }
}

TEST_P(Faults, AnythingAtOnceGivesTheRightBitsOrAnError) {
  golden::Dice dice(7);
  std::atomic<bool> armed{false};
  std::atomic<uint64_t> bad_spot{0};  // retries do not help there for a while
  std::atomic<int> bad_times{0};
  open([&](ReadOutcome& outcome) {
    if (!armed) return;
    const uint64_t random = dice.roll();
    if (random % 400 == 0) {
      bad_spot = outcome.offset;
      bad_times = 5;
    }
    const uint64_t what = random / 400 % 40;
    if (what == 0 || (outcome.offset == bad_spot && bad_times.fetch_sub(1) > 0)) outcome.result = -EIO;
    if (what == 1 && outcome.result > 1) outcome.result /= 2;
    if (what == 2) std::this_thread::sleep_for(std::chrono::microseconds(random % 2000));
    if (what == 3) outcome.result = random % 2 == 0 ? -EAGAIN : -EINTR;
    if (outcome.result < static_cast<int64_t>(outcome.bytes)) {
      const uint64_t kept = outcome.result > 0 ? static_cast<uint64_t>(outcome.result) : 0;
      std::memset(outcome.into + kept, 0xA5, outcome.bytes - kept);
    }
  });
  armed = true;
  int errors = 0;
  for (int text = 0; text < 3 || (errors == 0 && text < 50); ++text) {
    sequence_ = engine_->new_sequence().value();
    for (int attempt = 0; attempt < 100 && sequence_->ids().size() < kIds.size(); ++attempt) {
      const auto done = go_on(*sequence_);
      if (done.ok()) continue;
      EXPECT_EQ(done.error().code, ErrorCode::io) << done.error().message;
      ++errors;
    }
    EXPECT_EQ(sequence_->ids().size(), kIds.size()) << errors;
  }
  EXPECT_GT(errors, 0);
  armed = false;
  expect_a_new_request_works();
}

TEST_P(Faults, OpeningFailsCleanlyWhenTheDriveDoes) {
  for (const bool mapped : {true, false}) {
    for (const int good : {0, 3, 150}) {
      std::atomic<int> calls{0};
      EngineOptions wanted = options(mapped ? 2 : 8);
      wanted.mmap = mapped;
      const auto opened = golden::open_with(wanted, [&](ReadOutcome& outcome) {
        if (++calls > good) outcome.result = -EIO;
      });
      if (opened.ok()) {  // every dense weight was read by then
        EXPECT_TRUE(mapped && good == 150);
        auto sequence = (*opened)->new_sequence().value();
        EXPECT_EQ(sequence->append(kIds).error().code, ErrorCode::io);
        continue;
      }
      EXPECT_EQ(opened.error().code, ErrorCode::io) << opened.error().message;
      EXPECT_THAT(opened.error().message, HasSubstr("model.safetensors"));
    }
  }
}

TEST_P(Faults, AFileThatIsCutGivesAnErrorAndNoCrash) {
  copy_model();
  open({});
  ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
  fs::resize_file(weights_, fs::file_size(weights_) / 3);
  for (int round = 0; round < 2; ++round) {
    const auto failed = go_on(*sequence_);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
    EXPECT_THAT(failed.error().message, HasSubstr("model.safetensors was truncated"));
  }
  auto next = engine_->new_sequence().value();
  EXPECT_EQ(go_on(*next).error().code, ErrorCode::corrupt);
  EXPECT_FALSE(Engine::open(options()).ok());
}

// No read fails, and the bits would be wrong.
TEST_P(Faults, AFileThatIsOverwrittenGivesAnErrorAndNoWrongBits) {
  copy_model();
  open({});
  ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
  {
    std::fstream file(weights_, std::ios::binary | std::ios::in | std::ios::out);
    const std::vector<char> noise(1 << 20, 0x3C);
    for (uint64_t at = 1 << 20; at + noise.size() < fs::file_size(weights_); at += noise.size()) {
      file.seekp(static_cast<std::streamoff>(at));
      file.write(noise.data(), static_cast<std::streamsize>(noise.size()));
    }
  }
  for (int round = 0; round < 2; ++round) {
    const auto failed = go_on(*sequence_);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
    EXPECT_THAT(failed.error().message, HasSubstr("model.safetensors was written to while in use"));
  }
  auto next = engine_->new_sequence().value();
  EXPECT_EQ(next->append(kIds).error().code, ErrorCode::corrupt);
}

TEST_P(Faults, AFileThatIsReplacedOrRemovedIsReadOnAsItWas) {
  copy_model();
  open({});
  ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
  const fs::path other = copy_ / "other";
  std::ofstream(other, std::ios::binary) << std::string(fs::file_size(weights_), '\x3C');
  fs::rename(other, weights_);
  EXPECT_TRUE(go_on(*sequence_).ok());
  fs::remove(weights_);
  expect_a_new_request_works();
}

// The same with a read that fails: then it is not known whose bytes would come.
TEST_P(Faults, AFailedReadOfAReplacedFileSaysSo) {
  copy_model();
  std::atomic<bool> broken{false};
  open([&](ReadOutcome& outcome) {
    if (broken) outcome.result = -EIO;
  });
  ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
  fs::copy_file(weights_, copy_ / "other");
  fs::rename(copy_ / "other", weights_);
  broken = true;
  const auto failed = go_on(*sequence_);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
  EXPECT_THAT(failed.error().message, HasSubstr("was replaced while in use"));
}

TEST_P(Faults, CancelEndsARequestThatADriveHoldsUp) {
  for (const char* lookahead : {"off", "on"}) {
    for (const size_t good : {size_t{0}, kPrompt, kPrompt + 3}) {  // held up in the prompt, or while decoding
      Gate gate;
      std::atomic<bool> hanging{false};
      EngineOptions wanted = options(0);
      wanted.lookahead = lookahead;
      engine_ = golden::open_with(wanted, [&](ReadOutcome&) {
                  if (hanging) gate.pass();
                }).value();
      sequence_ = engine_->new_sequence().value();
      if (good > 0) {
        ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
      }
      for (size_t i = kPrompt; i < good; ++i) ASSERT_TRUE(sequence_->append(std::span(kIds).subspan(i, 1)).ok());
      hanging = true;
      Result<void> result;
      std::thread request([&] { result = go_on(*sequence_); });
      gate.await_somebody();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      sequence_->cancel();
      request.join();  // the drive still hangs: who waited for it would meet the watchdog
      ASSERT_FALSE(result.ok()) << lookahead << " " << good;
      EXPECT_EQ(result.error().code, ErrorCode::cancelled) << lookahead << " " << good;
      hanging = false;
      gate.open();
      const auto done = go_on(*sequence_);
      EXPECT_TRUE(done.ok()) << done.error().message;
      sequence_.reset();
      engine_.reset();
    }
  }
}

// Everything in memory, mapped: what changes underneath is told after the step, and nothing dies of a page that is
// gone.
class MappedFaults : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(copy_);
    fs::copy(demo(), copy_);
    engine_ =
        Engine::open({.model = copy_.string(), .ctx_size = 64, .threads = 2, .mmap = true, .memory = "all"}).value();
    sequence_ = engine_->new_sequence().value();
    ASSERT_TRUE(sequence_->append(std::span(kIds).first(kPrompt)).ok());
  }
  void TearDown() override {
    sequence_.reset();
    engine_.reset();
    fs::remove_all(copy_);
  }
  void expect_corrupt(const char* words) {
    const auto failed = go_on(*sequence_);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::corrupt);
    EXPECT_THAT(failed.error().message, HasSubstr(words));
    EXPECT_EQ(sequence_->ids().size(), kPrompt);
  }

  test::Watchdog watchdog_;
  const fs::path copy_ = fs::path(testing::TempDir()) / ("moxie-mapped-faults-" + std::to_string(::getpid()));
  const fs::path weights_ = copy_ / "model.safetensors";
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Sequence> sequence_;
};

TEST_F(MappedFaults, AFileThatIsCut) {
  fs::resize_file(weights_, fs::file_size(weights_) / 3);
  for (int round = 0; round < 2; ++round) expect_corrupt("model.safetensors was truncated from ");
  auto next = engine_->new_sequence().value();
  EXPECT_EQ(next->append(kIds).error().code, ErrorCode::corrupt);
}

TEST_F(MappedFaults, AFileThatIsCutToNothingUnderAServer) {
  auto scheduler = Scheduler::create(*engine_, {.parallel = 1}).value();
  fs::resize_file(weights_, 0);
  for (int round = 0; round < 2; ++round) {
    GenerateRequest request;
    request.prompt = kIds;
    request.options.max_tokens = 4;
    auto running = golden::submit(*scheduler, request);
    const auto& failed = running.heard->wait();
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::corrupt) << failed.error().message;
  }
}

TEST_F(MappedFaults, AFileThatIsOverwritten) {
  std::fstream file(weights_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(fs::file_size(weights_) / 2));
  file << std::string(1 << 20, '\x3C') << std::flush;
  for (int round = 0; round < 2; ++round) expect_corrupt("model.safetensors was written to while in use");
}

TEST_F(MappedFaults, AFileThatIsReplacedIsUsedAsItWas) {
  const fs::path other = copy_ / "other";
  std::ofstream(other, std::ios::binary) << std::string(fs::file_size(weights_), '\x3C');
  fs::rename(other, weights_);
  EXPECT_TRUE(go_on(*sequence_).ok());
}

TEST(FileSystems, BlocksOfAnySizeGiveTheSameBits) {
  const test::Watchdog watchdog;
  for (const uint64_t block : {8192, 65536}) {
    for (const int64_t slots : {0, 3, 8}) {
      const EngineOptions options = {.model = demo().string(), .ctx_size = 64, .threads = 2, .expert_slots = slots};
      auto engine = Engine::Impl::open(options, [&](DiskReaderOptions& reader) { reader.min_alignment = block; });
      ASSERT_TRUE(engine.ok()) << engine.error().message;
      auto sequence = (*engine)->new_sequence().value();
      const auto done = go_on(*sequence);
      EXPECT_TRUE(done.ok()) << done.error().message;
    }
  }
}

}  // namespace
}  // namespace moxie
