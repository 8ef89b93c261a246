// The public API over tensors of a hub, against a server of the tests' own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "hub/http_client.h"
#include "moxie/hub.h"
#include "support/paths.h"

namespace moxie {
namespace {

using testing::HasSubstr;

// hub_server.py with one repository. Without Python the tests are skipped.
class Server {
 public:
  Server(const std::string& name, const std::string& folder) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    const std::string script = source_dir() + "/tests/hub/hub_server.py";
    const char* arguments[] = {"python3", script.c_str(), name.c_str(), folder.c_str(), nullptr};
    const bool started =
        ::posix_spawnp(&process_, "python3", &actions, nullptr, const_cast<char**>(arguments), environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    char c = 0;
    while (started && ::read(ends[0], &c, 1) == 1 && c != '\n') url_ += c;
    ::close(ends[0]);
    if (!started) process_ = 0;
  }
  ~Server() {
    if (process_ == 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  const std::string& url() const { return url_; }

 private:
  pid_t process_ = 0;
  std::string url_;
};

class HubTensors : public testing::Test {
 protected:
  void SetUp() override {
    if (!HttpClient::is_available()) GTEST_SKIP() << "built without libcurl";
    if (server_.url().empty()) GTEST_SKIP() << "no python3 here";
    std::filesystem::create_directories(cache_);
    model_.hub.endpoint = server_.url();
    model_.hub.cache_folder = cache_;
  }
  void TearDown() override { std::filesystem::remove_all(cache_); }

  const std::string folder_ = source_dir() + "/tests/data/golden/mixtral-shards";
  const std::string cache_ = testing::TempDir() + "hub-tensors-" + std::to_string(::getpid());
  Server server_{"org/shards", folder_};
  MoE model_{.model_id = "org/shards",
             .n_experts = 4,
             .n_layers = 2,
             .expert_tensor_name_template = "model.layers.{layer}.block_sparse_moe.experts.{expert}.{weight}.weight",
             .router_tensor_name_template = "model.layers.{layer}.block_sparse_moe.gate.weight",
             .weight_names = {"w1", "w2", "w3"}};

  bool is_cached(const std::string& file) const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(cache_)) {
      if (entry.path().filename() == file) return true;
    }
    return false;
  }
};

TEST_F(HubTensors, RouterByRangeThenByFile) {
  auto router = model_.get_router_metadata(1);
  ASSERT_TRUE(router.ok()) << router.error().message;
  EXPECT_EQ(router->hf_filename, "model-00002-of-00003.safetensors");
  EXPECT_EQ(router->local_path, "");
  const auto remote = router->load(true);
  ASSERT_TRUE(remote.ok()) << remote.error().message;
  EXPECT_EQ(remote->dtype, "BF16");
  EXPECT_EQ(remote->shape, (std::vector<int64_t>{8, 64}));
  EXPECT_FALSE(is_cached(router->hf_filename));

  const auto path = router->download_file();
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(router->local_path, *path);
  EXPECT_TRUE(is_cached("model-00002-of-00003.safetensors"));
  EXPECT_FALSE(is_cached("model-00001-of-00003.safetensors"));  // only the file that holds it
  EXPECT_EQ(std::filesystem::file_size(*path), std::filesystem::file_size(folder_ + "/" + router->hf_filename));
  const auto local = router->load();
  ASSERT_TRUE(local.ok());
  EXPECT_EQ(local->bytes, remote->bytes);

  // bf16 is the upper half of a float.
  const auto values = local->values();
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 512u);
  for (size_t i = 0; i < values->size(); ++i) {
    uint16_t upper = 0;
    std::memcpy(&upper, local->bytes.data() + 2 * i, 2);
    const uint32_t bits = static_cast<uint32_t>(upper) << 16;
    float expected = 0;
    std::memcpy(&expected, &bits, 4);
    EXPECT_EQ((*values)[i], expected);
  }
}

TEST_F(HubTensors, ExpertsOfALayer) {
  model_.n_experts = 8;
  const auto experts = model_.get_experts_metadata(0);
  ASSERT_TRUE(experts.ok()) << experts.error().message;
  ASSERT_EQ(experts->size(), 24u);
  EXPECT_EQ((*experts)[4].tensor_name, "model.layers.0.block_sparse_moe.experts.1.w2.weight");
  EXPECT_EQ(model_.get_experts_metdata(0)->size(), 24u);
  model_.n_experts = 9;
  const auto missing = model_.get_experts_metadata(0);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("experts.8.w1"));
  EXPECT_EQ(model_.get_router_metadata(2).error().code, ErrorCode::invalid_argument);
}

TEST_F(HubTensors, NearMissAndMissingRepository) {
  const auto near = find_tensor("org/shards", "model.layers.0.block_sparse_moe.gaet.weight", model_.hub);
  ASSERT_FALSE(near.ok());
  EXPECT_THAT(near.error().message, HasSubstr("did you mean \"model.layers.0.block_sparse_moe.gate.weight\""));
  EXPECT_EQ(find_tensor("org/none", "x", model_.hub).error().code, ErrorCode::not_found);
}

TEST_F(HubTensors, FolderOfThisMachine) {
  model_.model_id = folder_;
  auto router = model_.get_router_metadata(0);
  ASSERT_TRUE(router.ok()) << router.error().message;
  EXPECT_EQ(*router->download_file(), folder_ + "/" + router->hf_filename);
  EXPECT_EQ(router->load(true)->shape, (std::vector<int64_t>{8, 64}));
  const auto all = list_tensors(folder_, model_.hub);
  ASSERT_TRUE(all.ok());
  EXPECT_GT(all->size(), 50u);
}

}  // namespace
}  // namespace moxie
