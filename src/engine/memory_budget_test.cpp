#include "engine/memory_budget.h"
#include "core/byte_units.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

MemoryInfo machine() {
  MemoryInfo info;
  info.total_bytes = 32 * kGiB;
  info.available_bytes = 20 * kGiB;
  return info;
}

TEST(MemoryBudget, TakesUnits) {
  const struct {
    std::string_view text;
    uint64_t bytes;
  } kCases[] = {
      {"12G", 12 * kGiB},       {"12g", 12 * kGiB},        {"12GiB", 12 * kGiB},     {"12 GiB", 12 * kGiB},
      {"12GB", 12'000'000'000}, {"12gb", 12'000'000'000},  {"7.5G", 8053063680},     {".5G", kGiB / 2},
      {"900M", 943718400},      {"900MiB", 943718400},     {"900MB", 900000000},     {"4194304K", 4 * kGiB},
      {"4194304KiB", 4 * kGiB}, {"5000000KB", 5000000000}, {"8589934592", 8 * kGiB}, {"8589934592B", 8 * kGiB},
      {"0.01T", 10995116277},   {"0.01TiB", 10995116277},  {"0.01TB", 10000000000},
  };
  for (const auto& c : kCases) {
    const auto budget = parse_memory(c.text, machine());
    ASSERT_TRUE(budget.ok()) << c.text << ": " << budget.error().message;
    EXPECT_EQ(budget->bytes, c.bytes) << c.text;
    EXPECT_EQ(budget->kind, MemoryBudget::Kind::amount);
  }
}

TEST(MemoryBudget, SharesAreOfTheLimitAndAutoOfWhatIsFree) {
  MemoryInfo info = machine();
  EXPECT_EQ(parse_memory("50%", info)->bytes, 16 * kGiB);
  EXPECT_EQ(parse_memory("12.5%", info)->bytes, 4 * kGiB);
  EXPECT_EQ(parse_memory("100%", info)->bytes, 32 * kGiB);
  EXPECT_EQ(parse_memory("auto", info)->bytes, 18 * kGiB);
  EXPECT_EQ(parse_memory("AUTO", info)->kind, MemoryBudget::Kind::automatic);
  info.cgroup_limit_bytes = 8 * kGiB;
  info.cgroup_room_bytes = 5 * kGiB;
  EXPECT_EQ(parse_memory("50%", info)->bytes, 4 * kGiB);
  EXPECT_EQ(parse_memory("auto", info)->bytes, 9 * kGiB / 2);
  EXPECT_EQ(parse_memory("all", info)->bytes, 8 * kGiB);
  EXPECT_EQ(parse_memory("all", info)->kind, MemoryBudget::Kind::everything);
  EXPECT_EQ(parse_memory("all", MemoryInfo{})->bytes, kNoBudget);
  EXPECT_EQ(parse_memory("auto", MemoryInfo{}).error().code, ErrorCode::unavailable);
  EXPECT_EQ(parse_memory("50%", MemoryInfo{}).error().code, ErrorCode::unavailable);
}

TEST(MemoryBudget, RefusesWhatIsNone) {
  for (const std::string_view text : {"", " ", "G", "twelve", "12Q", "12GG", "G12", "12G5", "1e3G", "nan", "infG",
                                      "0x10G", "12,5G", "--1G", "+1G", "%", "1.2.3G", "12G%", "a\x01G"}) {
    const auto budget = parse_memory(text, machine());
    ASSERT_FALSE(budget.ok()) << text;
    EXPECT_EQ(budget.error().code, ErrorCode::invalid_argument) << text;
    EXPECT_NE(budget.error().message.find("is none"), std::string::npos) << budget.error().message;
  }
  const struct {
    std::string_view text, says;
  } kCases[] = {{"0", "must be positive"},
                {"0G", "must be positive"},
                {"0.0%", "must be positive"},
                {"0.0001K", "must be positive"},
                {"-1G", "negative"},
                {"-20%", "negative"},
                {"12", "did you mean 12G"},
                {"99999999999999999999999G", "more than any machine"},
                {"9e9", "is none"},
                {"8388608T", "more than any machine"},
                {"33G", "more than the 32.0 GiB that this machine has"},
                {"101%", "more than this machine has"}};
  for (const auto& c : kCases) {
    const auto budget = parse_memory(c.text, machine());
    ASSERT_FALSE(budget.ok()) << c.text;
    EXPECT_EQ(budget.error().code, ErrorCode::invalid_argument) << c.text;
    EXPECT_NE(budget.error().message.find(c.says), std::string::npos) << budget.error().message;
  }
  MemoryInfo grouped = machine();
  grouped.cgroup_limit_bytes = 8 * kGiB;
  EXPECT_NE(parse_memory("9G", grouped).error().message.find("control group"), std::string::npos);
}

TEST(MemoryBudget, PlansMayBeForAnotherMachine) {
  EXPECT_EQ(parse_memory("64G", machine(), BudgetFor::any_machine)->bytes, 64 * kGiB);
  EXPECT_FALSE(parse_memory("0G", machine(), BudgetFor::any_machine).ok());
}

}  // namespace
}  // namespace moxie
