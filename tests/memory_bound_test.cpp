// A budget is a promise: with --memory M the program's resident memory never rises above M, by the kernel's own count,
// and it runs to its end in a control group that has no more. On the demo model and on a larger one whose experts do
// not fit.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>

#include "core/byte_units.h"
#include "core/fail.h"
#include "golden/gguf_writer.h"
#include "support/paths.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

struct Outcome {
  int status = 0;
  std::string output;  // what it said on stderr
  Json stats;          // of --stats json
};

// Runs the program with `arguments`, first joining the control group of `procs` where given.
Outcome run(const std::string& arguments, const std::string& procs = "") {
  const std::string join = procs.empty() ? "" : "echo $$ > " + procs + " && ";
  const std::string command = "exec 2>&1 >/dev/null; " + join + "exec " + moxie_program() + " " + arguments;
  Outcome outcome;
  FILE* pipe = popen(("bash -c '" + command + "'").c_str(), "r");
  if (pipe == nullptr) return outcome;
  for (char piece[512]; std::fgets(piece, sizeof piece, pipe) != nullptr;) outcome.output += piece;
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const size_t brace = outcome.output.rfind("\n{");
  if (brace != std::string::npos || outcome.output.starts_with("{")) {
    outcome.stats = Json::parse(outcome.output.substr(brace == std::string::npos ? 0 : brace + 1), nullptr, false);
  }
  return outcome;
}

// A control group with a memory limit, v1 or v2, below the root of the hierarchy that is mounted. Absent where that is
// not allowed.
class MemoryGroup {
 public:
  static std::optional<MemoryGroup> create(uint64_t limit, std::string* why_not) {
    std::ifstream mounts("/proc/mounts");
    for (std::string line; std::getline(mounts, line);) {
      std::istringstream words(line);
      std::string device, where, kind, flags;
      words >> device >> where >> kind >> flags;
      const bool v1 = kind == "cgroup" && ("," + flags + ",").find(",memory,") != std::string::npos;
      const bool v2 = kind == "cgroup2" && text(where + "/cgroup.controllers").find("memory") != std::string::npos;
      if (!v1 && !v2) continue;
      MemoryGroup group(fs::path(where) / ("moxie-test-" + std::to_string(::getpid())), v1);
      if (v2) put(fs::path(where) / "cgroup.subtree_control", "+memory");
      std::error_code error;
      if (!fs::create_directory(group.folder_, error)) {
        *why_not = fmt::format("{}: {}", group.folder_.string(), error.message());
        return std::nullopt;
      }
      group.owned_ = true;
      put(group.folder_ / (v1 ? "memory.swappiness" : "memory.swap.max"), "0");
      if (put(group.folder_ / (v1 ? "memory.limit_in_bytes" : "memory.max"), std::to_string(limit))) return group;
      *why_not = group.folder_.string() + ": takes no limit";
      return std::nullopt;
    }
    *why_not = "no control group for memory is mounted";
    return std::nullopt;
  }
  MemoryGroup(MemoryGroup&& other) noexcept
      : folder_(other.folder_), v1_(other.v1_), owned_(std::exchange(other.owned_, false)) {}
  ~MemoryGroup() {
    if (!owned_) return;
    if (v1_) put(folder_ / "memory.force_empty", "0");
    ::rmdir(folder_.c_str());
  }

  std::string procs() const { return (folder_ / "cgroup.procs").string(); }
  // What the group used at most, page cache included; nothing where the kernel does not say.
  std::optional<uint64_t> peak() const {
    const std::string value = text(folder_ / (v1_ ? "memory.max_usage_in_bytes" : "memory.peak"));
    if (value.empty()) return std::nullopt;
    return std::strtoull(value.c_str(), nullptr, 10);
  }
  // Page cache now.
  uint64_t cache() const {
    std::istringstream lines(text(folder_ / "memory.stat"));
    for (std::string name, value; lines >> name >> value;) {
      if (name == (v1_ ? "cache" : "file")) return std::strtoull(value.c_str(), nullptr, 10);
    }
    return 0;
  }
  uint64_t kills() const {
    std::istringstream lines(text(folder_ / (v1_ ? "memory.oom_control" : "memory.events")));
    for (std::string name, value; lines >> name >> value;) {
      if (name == "oom_kill") return std::strtoull(value.c_str(), nullptr, 10);
    }
    return 0;
  }

 private:
  MemoryGroup(fs::path folder, bool v1) : folder_(std::move(folder)), v1_(v1) {}
  static std::string text(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static bool put(const fs::path& path, const std::string& value) {
    std::ofstream out(path);
    out << value << std::flush;
    return out.good();
  }

  fs::path folder_;
  bool v1_ = false, owned_ = false;
};

std::string ids(int count, int vocabulary) {
  std::string text = "1";
  for (int i = 1; i < count; ++i) text += "," + std::to_string(i * 37 % vocabulary);
  return text;
}

// The smallest M that `--memory M` takes, as the refusal of a smaller one says.
uint64_t least_budget(const std::string& arguments) {
  const Outcome refused = run(arguments + " --memory 1M");
  EXPECT_EQ(refused.status, 7) << refused.output;
  for (const char* part :
       {"a memory budget of 1.0 MiB is too small", "of weights beside the experts", "of KV cache for", "of activations",
        "the 2 that a token uses in a layer", "; the least that works is --memory "}) {
    EXPECT_NE(refused.output.find(part), std::string::npos) << part << "\n" << refused.output;
  }
  const std::string_view before = "the least that works is --memory ";
  const size_t at = refused.output.find(before);
  return at == std::string::npos ? 0 : std::strtoull(refused.output.c_str() + at + before.size(), nullptr, 10) * kMiB;
}

struct Subject {
  std::string name, model, arguments;  // of `moxie run`
  int experts = 8;
  uint64_t weight_bytes = 0;
};

// Hidden 512, FFN 1024, four layers of eight experts of mixed types: 80 MiB of experts.
fs::path write_larger_model() {
  const fs::path path = fs::path(testing::TempDir()) / ("moxie-memory-" + std::to_string(::getpid()) + ".gguf");
  golden::GgufWriter writer;
  writer.set("general.architecture", std::string("llama"));
  for (const auto& [key, value] : std::map<std::string, uint32_t>{{"block_count", 4},
                                                                  {"context_length", 4096},
                                                                  {"embedding_length", 1024},
                                                                  {"feed_forward_length", 2048},
                                                                  {"attention.head_count", 8},
                                                                  {"attention.head_count_kv", 2},
                                                                  {"expert_count", 8},
                                                                  {"expert_used_count", 2}}) {
    writer.set("llama." + key, value);
  }
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("llama.rope.freq_base", 1e6f);
  const auto type = [](const char* name) -> const QuantType& { return *find_quant_type(name); };
  uint32_t seed = 1;
  const auto add = [&](const std::string& name, const char* of, std::vector<int64_t> shape) {
    writer.add_random(name, type(of), std::move(shape), 1, seed++);
  };
  add("token_embd.weight", "q8_0", {2000, 1024});
  add("output.weight", "q8_0", {2000, 1024});
  writer.add_ones("output_norm.weight", 1024);
  for (int layer = 0; layer < 4; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    writer.add_ones(prefix + "attn_norm.weight", 1024);
    writer.add_ones(prefix + "ffn_norm.weight", 1024);
    add(prefix + "attn_q.weight", "q8_0", {1024, 1024});
    add(prefix + "attn_k.weight", "q8_0", {256, 1024});
    add(prefix + "attn_v.weight", "q8_0", {256, 1024});
    add(prefix + "attn_output.weight", "q8_0", {1024, 1024});
    add(prefix + "ffn_gate_inp.weight", "f32", {8, 1024});
    add(prefix + "ffn_gate_exps.weight", "q4_0", {8, 2048, 1024});
    add(prefix + "ffn_up_exps.weight", "q4_0", {8, 2048, 1024});
    add(prefix + "ffn_down_exps.weight", layer % 2 == 0 ? "q8_0" : "q4_0", {8, 1024, 2048});
  }
  writer.write(path);
  return path;
}

class MemoryBound : public testing::Test {
 protected:
  static void SetUpTestSuite() { larger_ = write_larger_model(); }
  static void TearDownTestSuite() { fs::remove(larger_); }
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  }

  static std::vector<Subject> subjects() {
    const std::string demo = source_dir() + "/models/demo";
    const std::string rest = " -n 24 --ignore-eos --temp 0 --stats json";
    return {{.name = "demo",
             .model = demo,
             .arguments = "run " + demo + " -c 1024 --ids " + ids(700, 4096) + rest,
             .weight_bytes = 31 * kMiB},
            {.name = "larger",
             .model = larger_.string(),
             .arguments = "run " + larger_.string() + " -c 2048 --ids " + ids(900, 2000) + rest,
             .weight_bytes = fs::file_size(larger_)}};
  }
  // Runs under `budget` and looks at every promise that the statistics can show.
  static Json expect_bounded(const Subject& subject, uint64_t budget, const std::string& more,
                             const std::string& procs = "") {
    const Outcome done = run(subject.arguments + " --memory " + std::to_string(budget) + more, procs);
    const std::string what = fmt::format("{} under {} MiB{}", subject.name, budget / kMiB, more);
    EXPECT_EQ(done.status, 0) << what << "\n" << done.output;
    if (done.status != 0 || !done.stats.is_object()) return {};
    EXPECT_EQ(done.stats.at("memory_budget_bytes").get<uint64_t>(), budget) << what;
    EXPECT_LE(done.stats.at("memory_planned_bytes").get<uint64_t>(), budget) << what;
    EXPECT_LE(done.stats.at("rss_peak_bytes").get<uint64_t>(), budget) << what;
    EXPECT_EQ(done.stats.at("generated_tokens").get<int>(), 24) << what;
    EXPECT_EQ(done.stats.at("mode"), "exact");
    return done.stats;
  }

  static fs::path larger_;
};
fs::path MemoryBound::larger_;

TEST_F(MemoryBound, PeakStaysAtOrBelowTheBudget) {
  for (const Subject& subject : {subjects()[1]}) {
    const uint64_t least = least_budget(subject.arguments);
    ASSERT_GT(least, 0u);
    double kept = -1;
    for (const double share : {0.0, 0.3, 2.0}) {
      // The program's own size differs by some pages from run to run.
      const uint64_t budget =
          least + 2 * kMiB + static_cast<uint64_t>(share * static_cast<double>(subject.weight_bytes));
      for (const char* more : {"", " --no-mmap", " --io-backend threads --io-threads 8 --lookahead on"}) {
        const Json stats = expect_bounded(subject, budget, more);
        if (stats.is_null()) continue;
        EXPECT_GT(stats.at("rss_peak_bytes").get<uint64_t>(), 5 * kMiB);
        if (*more != '\0') continue;
        if (stats.at("expert_misses").get<int>() == 0) {  // mapped: everything fits
          EXPECT_GE(share, 0.5);
          continue;
        }
        EXPECT_LT(share, 2);
        EXPECT_GE(stats.at("slots_per_layer").get<double>(), kept) << budget;
        EXPECT_LT(stats.at("slots_per_layer").get<double>(), subject.experts);
        kept = stats.at("slots_per_layer").get<double>();
      }
    }
  }
}

TEST_F(MemoryBound, RunsInAControlGroupThatHasNoMore) {
  for (const Subject& subject : subjects()) {
    const uint64_t least = least_budget(subject.arguments);
    ASSERT_GT(least, 0u);
    for (const double share : {0.0, 0.4, 2.0}) {
      const uint64_t budget =
          least + (2 + static_cast<uint64_t>(share * static_cast<double>(subject.weight_bytes / kMiB))) * kMiB;
      std::string why_not;
      const auto group = MemoryGroup::create(budget, &why_not);
      if (!group) GTEST_SKIP() << why_not;
      const Json stats = expect_bounded(subject, budget, "", group->procs());
      EXPECT_EQ(group->kills(), 0u);
      if (const auto peak = group->peak()) {
        EXPECT_LE(*peak, budget) << subject.name;
      }
      // Streamed experts leave nothing in the page cache but the program itself and its libraries.
      if (share < 1 && !stats.is_null()) {
        EXPECT_LE(group->cache(), 16 * kMiB) << subject.name << " " << share;
      }
    }
  }
}

// In a group, `auto` and shares are of what the group has.
TEST_F(MemoryBound, AutoAndSharesAreOfTheControlGroup) {
  const Subject subject = subjects()[1];
  const uint64_t limit = (least_budget(subject.arguments) + 40 * kMiB) / kMiB * kMiB;
  std::string why_not;
  const auto group = MemoryGroup::create(limit, &why_not);
  if (!group) GTEST_SKIP() << why_not;
  for (const char* memory : {"auto", "90%"}) {
    const Outcome done = run(subject.arguments + " --memory " + memory, group->procs());
    ASSERT_EQ(done.status, 0) << done.output;
    EXPECT_LE(done.stats.at("memory_budget_bytes").get<uint64_t>(), limit * 9 / 10) << memory;
    EXPECT_GE(done.stats.at("memory_budget_bytes").get<uint64_t>(), limit * 6 / 10) << memory;
    EXPECT_LE(done.stats.at("rss_peak_bytes").get<uint64_t>(), done.stats.at("memory_budget_bytes").get<uint64_t>())
        << memory;
  }
  const Outcome refused = run(subject.arguments + " --memory 100G", group->procs());
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.output.find("process's control group"), std::string::npos) << refused.output;
  EXPECT_EQ(group->kills(), 0u);
}

}  // namespace
}  // namespace moxie
