// `moxie convert` as a process: killed at any moment it leaves nothing that is not whole, its memory does not grow with
// the model, and a disk without room is seen before anything is written.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "format/weight_file.h"
#include "support/paths.h"
#include "support/sanitized.h"

extern char** environ;

namespace moxie {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;

// The program, its words thrown away or kept in a file.
class Child {
 public:
  Child(std::vector<std::string> arguments, const fs::path& said) {
    arguments.insert(arguments.begin(), moxie_program());
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    started_ = ::posix_spawn(&process_, moxie_program().c_str(), &actions, nullptr, pointers.data(), environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    EXPECT_TRUE(started_);
  }
  void kill() const { ::kill(process_, SIGKILL); }
  // The exit status, or minus the signal.
  int wait() {
    int status = 0;
    if (!started_ || ::waitpid(process_, &status, 0) != process_) return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  // The same, asking for the peak of its memory all the while: what wait4() tells counts this process at the fork too.
  int wait_watching() {
    int status = 0;
    if (!started_) return -1000;
    while (::waitpid(process_, &status, WNOHANG) == 0) {
      std::ifstream in("/proc/" + std::to_string(process_) + "/status");
      for (std::string line; std::getline(in, line);)
        if (line.starts_with("VmHWM:")) peak_bytes_ = std::max(peak_bytes_, std::stoull(line.substr(6)) * 1024);
      std::this_thread::sleep_for(microseconds(500));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  uint64_t peak_bytes() const { return peak_bytes_; }

 private:
  pid_t process_ = -1;
  bool started_ = false;
  unsigned long long peak_bytes_ = 0;
};

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class ConvertProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    // Files of tests go through memory where there is a folder for that: every one is synced to its disk.
    const bool memory = ::access("/dev/shm", W_OK) == 0 && fs::space("/dev/shm").available > (uint64_t{512} << 20);
    folder_ = (memory ? fs::path("/dev/shm") : fs::temp_directory_path()) /
              ("moxie-convert-process-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string said() const { return bytes_of(folder_ / "said"); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) paths.push_back(entry.path());
    return paths;
  }

  // A Mixtral of two experts a layer without a tokenizer, all of whose numbers are holes in a file.
  fs::path sparse_model(int64_t layers, int64_t hidden, int64_t ffn) const {
    const fs::path folder = folder_ / "sparse";
    fs::create_directories(folder);
    constexpr int64_t kVocabulary = 32, kHeads = 4, kExperts = 2;
    std::string header;
    int64_t end = 0;
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      int64_t bytes = 2;
      std::string dims;
      for (const int64_t size : shape) {
        bytes *= size;
        dims += (dims.empty() ? "" : ",") + std::to_string(size);
      }
      header += (header.empty() ? "{\"" : ",\"") + name + R"(.weight":{"dtype":"BF16","shape":[)" + dims +
                R"(],"data_offsets":[)" + std::to_string(end) + "," + std::to_string(end + bytes) + "]}";
      end += bytes;
    };
    add("model.embed_tokens", {kVocabulary, hidden});
    add("model.norm", {hidden});
    add("lm_head", {kVocabulary, hidden});
    for (int64_t layer = 0; layer < layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      add(prefix + "input_layernorm", {hidden});
      add(prefix + "post_attention_layernorm", {hidden});
      for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
        add(prefix + "self_attn." + name, {hidden, hidden});
      add(prefix + "block_sparse_moe.gate", {kExperts, hidden});
      for (int64_t expert = 0; expert < kExperts; ++expert) {
        const std::string of = prefix + "block_sparse_moe.experts." + std::to_string(expert) + ".";
        add(of + "w1", {ffn, hidden});
        add(of + "w2", {hidden, ffn});
        add(of + "w3", {ffn, hidden});
      }
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t header_bytes = header.size();
    std::ofstream out(folder / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
    out << header;
    out.close();
    fs::resize_file(folder / "model.safetensors", 8 + header_bytes + static_cast<uint64_t>(end));
    const auto number = [](const char* key, int64_t value) {
      return "\"" + std::string(key) + "\": " + std::to_string(value) + ", ";
    };
    std::ofstream(folder / "config.json")
        << "{" << number("vocab_size", kVocabulary) << number("hidden_size", hidden) << number("intermediate_size", ffn)
        << number("num_hidden_layers", layers) << number("num_attention_heads", kHeads)
        << number("num_key_value_heads", kHeads) << number("num_local_experts", kExperts)
        << number("num_experts_per_tok", 1) << number("max_position_embeddings", 256)
        << R"("rms_norm_eps": 1e-5, "rope_theta": 1e6, "model_type": "mixtral"})";
    return folder / "model.safetensors";
  }

  fs::path folder_;
};

// Whatever stands under a final name is the whole file; with parts, the first one opens only when all are there.
TEST_F(ConvertProcess, KilledAtAnyMomentItLeavesNothingHalfWritten) {
  const std::string model = (fs::path(source_dir()) / "tests" / "data" / "models" / "stories260k-moe8").string();
  std::random_device seed;
  for (const bool parts : {false, true}) {
    std::vector<std::string> command = {"convert", model, "", "--type", "q5_0", "--force"};
    if (parts) command.insert(command.end(), {"--split-max-size", "200K"});
    const auto run_into = [&](const fs::path& out) {
      command[2] = out.string();
      return Child(command, folder_ / "said");
    };
    fs::create_directories(folder_ / "whole");
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(run_into(folder_ / "whole" / "model.gguf").wait(), 0) << said();
    const auto duration = std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now() - start);

    const unsigned drawn = seed();
    SCOPED_TRACE("seed " + std::to_string(drawn));
    std::mt19937 random(drawn);
    std::uniform_int_distribution<int64_t> moment(0, duration.count() * 11 / 10);
    int killed = 0;
    constexpr int kRounds = 12;
    for (int round = 0; round < kRounds; ++round) {
      fs::remove_all(folder_ / "out");
      fs::create_directories(folder_ / "out");
      Child child = run_into(folder_ / "out" / "model.gguf");
      std::this_thread::sleep_for(microseconds(moment(random)));
      child.kill();
      if (child.wait() == -SIGKILL) ++killed;
      bool first = false;
      for (const fs::path& path : files()) {
        if (path.extension() == ".part") continue;  // where files without a name do not exist
        EXPECT_EQ(bytes_of(path), bytes_of(folder_ / "whole" / path.filename())) << path;
        first = first || path.filename().string().find("-00001-of-") != std::string::npos;
      }
      if (first) {
        EXPECT_EQ(files().size(), std::distance(fs::directory_iterator(folder_ / "whole"), {}));
      }
      ASSERT_EQ(run_into(folder_ / "out" / "model.gguf").wait(), 0) << said();
      for (const auto& entry : fs::directory_iterator(folder_ / "whole")) {
        EXPECT_EQ(bytes_of(folder_ / "out" / entry.path().filename()), bytes_of(entry.path())) << entry.path();
      }
    }
    EXPECT_GT(killed, 0);
    fs::remove_all(folder_ / "whole");
  }
}

TEST_F(ConvertProcess, MemoryDoesNotGrowWithTheModel) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  constexpr uint64_t kBound = uint64_t{48} << 20;
  const fs::path model = sparse_model(2, 1024, 16384);
  ASSERT_GT(fs::file_size(model), 8 * kBound);
  Child child({"convert", model.string(), (folder_ / "out.gguf").string(), "--type", "q8_0", "--threads", "2"},
              folder_ / "said");
  ASSERT_EQ(child.wait_watching(), 0) << said();
  EXPECT_GT(child.peak_bytes(), 0u);
  EXPECT_LT(child.peak_bytes(), kBound) << child.peak_bytes();
  RecordProperty("peak_bytes", std::to_string(child.peak_bytes()));
  EXPECT_TRUE(open_weights((folder_ / "out.gguf").string()).ok());
}

TEST_F(ConvertProcess, ADiskWithoutRoomIsSeenFirst) {
  struct statvfs status {};
  ASSERT_EQ(::statvfs(folder_.c_str(), &status), 0);
  const uint64_t room = static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
  const fs::path model = sparse_model(1, 262144, 1048576);  // 3.8 TB
  if (room > fs::file_size(model) / 4) GTEST_SKIP() << "a disk of " << room << " bytes has room for anything";
  fs::create_directories(folder_ / "out");
  Child child({"convert", model.string(), (folder_ / "out" / "out.gguf").string(), "--type", "q8_0"}, folder_ / "said");
  EXPECT_EQ(child.wait(), static_cast<int>(ErrorCode::io)) << said();
  EXPECT_NE(said().find("has room for"), std::string::npos) << said();
  EXPECT_TRUE(files().empty());
}

}  // namespace
}  // namespace moxie
