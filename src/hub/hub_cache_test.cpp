#include "hub/hub_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include <unistd.h>

namespace moxie {
namespace {

TEST(HubReference, PartsInAnyCombination) {
  const auto parts = [](std::string_view text) {
    const auto reference = parse_hub_reference(text);
    return reference.ok() ? reference->repo + "|" + reference->revision + "|" + reference->file : "error";
  };
  EXPECT_EQ(parts("org/name"), "org/name||");
  EXPECT_EQ(parts("hf:org/name"), "org/name||");
  EXPECT_EQ(parts("hf://org/name/"), "org/name||");
  EXPECT_EQ(parts("gpt2"), "gpt2||");
  EXPECT_EQ(parts("org/name@v1"), "org/name|v1|");
  EXPECT_EQ(parts("org/name@refs/pr/3"), "org/name|refs/pr/3|");
  EXPECT_EQ(parts("org/name:Q4_K_M"), "org/name||Q4_K_M");
  EXPECT_EQ(parts("hf:org/name@gptq-3bit-128g-actorder_True:sub/a*.safetensors"),
            "org/name|gptq-3bit-128g-actorder_True|sub/a*.safetensors");
  EXPECT_EQ(parts("https://huggingface.co/org/name"), "org/name||");
  EXPECT_EQ(parts("https://huggingface.co/org/name/tree/main"), "org/name|main|");
  EXPECT_EQ(parts("https://huggingface.co/org/name/blob/main/sub/x.gguf?download=true"), "org/name|main|sub/x.gguf");
  for (const char* wrong :
       {"", "hf:", "a/b/c", "../etc", "org/..", "org/name@../x", "org/name:/etc/passwd", "org/name:../x", "org/na me",
        "https://huggingface.co", "-x/y", "https://huggingface.co/org/name/blob/main:/x.gguf"}) {
    EXPECT_EQ(parts(wrong), "error") << wrong;
  }
  EXPECT_EQ(parse_hub_reference("org/name@v1:f")->text(), "hf:org/name@v1:f");
}

TEST(HubReference, PathsThatStayInTheirFolder) {
  for (const char* good : {"a", "a/b.gguf", ".gitattributes", "a/..b"}) EXPECT_TRUE(is_safe_repo_path(good)) << good;
  for (const char* bad : {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb"})
    EXPECT_FALSE(is_safe_repo_path(bad)) << bad;
}

class HubSettingsTest : public testing::Test {
 protected:
  HubSettings settings(std::map<std::string, std::string> variables) {
    return hub_settings([&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  }
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_ = testing::TempDir() + "hub-settings-" + std::to_string(::getpid());
};

TEST_F(HubSettingsTest, Defaults) {
  const HubSettings plain = settings({{"HOME", "/home/me"}});
  EXPECT_EQ(plain.endpoint, "https://huggingface.co");
  EXPECT_EQ(plain.cache, "/home/me/.cache/huggingface/hub");
  EXPECT_EQ(plain.token, "");
  EXPECT_FALSE(plain.offline);
}

TEST_F(HubSettingsTest, VariablesAndWhichGoesFirst) {
  EXPECT_EQ(settings({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}).cache, "/x/huggingface/hub");
  EXPECT_EQ(settings({{"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/hf"}}).cache, "/hf/hub");
  EXPECT_EQ(settings({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}).cache, "/old");
  EXPECT_EQ(settings({{"HF_HUB_CACHE", "/new"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}).cache, "/new");
  EXPECT_EQ(settings({{"HOME", "/h"}, {"HF_HOME", "~/x"}}).cache, "/h/x/hub");
  EXPECT_EQ(settings({{"HF_ENDPOINT", "https://example.com/"}}).endpoint, "https://example.com");
  EXPECT_TRUE(settings({{"TRANSFORMERS_OFFLINE", "yes"}}).offline);
  EXPECT_FALSE(settings({{"HF_HUB_OFFLINE", "0"}}).offline);
}

TEST_F(HubSettingsTest, TokenFromVariableThenFile) {
  std::ofstream(folder_ + "/token") << "  from-file\n";
  EXPECT_EQ(settings({{"HF_HOME", folder_}}).token, "from-file");
  EXPECT_EQ(settings({{"HF_HOME", "/none"}, {"HF_TOKEN_PATH", folder_ + "/token"}}).token, "from-file");
  EXPECT_EQ(settings({{"HF_HOME", folder_}, {"HF_TOKEN", "one"}}).token, "one");
  EXPECT_EQ(settings({{"HF_TOKEN", "two\r\nX-Other: 1"}}).token, "");
}

TEST_F(HubSettingsTest, TrustedCertificates) {
  EXPECT_EQ(settings({}).trusted.file, "");
  EXPECT_EQ(settings({{"SSL_CERT_FILE", "/a"}}).trusted.file, "/a");
  EXPECT_EQ(settings({{"SSL_CERT_FILE", "/a"}, {"CURL_CA_BUNDLE", "/b"}}).trusted.file, "/b");
  EXPECT_EQ(settings({{"REQUESTS_CA_BUNDLE", "/c"}, {"CURL_CA_BUNDLE", "/b"}}).trusted.file, "/c");
  EXPECT_EQ(settings({{"SSL_CERT_DIR", "/d"}}).trusted.folder, "/d");
  const TrustedCertificates folder = settings({{"REQUESTS_CA_BUNDLE", folder_}}).trusted;
  EXPECT_EQ(folder.file, "");
  EXPECT_EQ(folder.folder, folder_);
}

TEST_F(HubSettingsTest, CacheLayout) {
  const HubCache cache(folder_);
  EXPECT_EQ(cache.blob("org/name", "abc"), folder_ + "/models--org--name/blobs/abc");
  EXPECT_EQ(cache.lock("org/name", "abc"), folder_ + "/.locks/models--org--name/abc.lock");
  const std::string commit(40, 'a'), snapshot = cache.snapshot("org/name", commit);
  EXPECT_EQ(cache.commit_of("org/name", "main"), std::nullopt);
  std::filesystem::create_directories(snapshot + "/sub");
  std::filesystem::create_directories(cache.repo_folder("org/name") + "/refs/pr");
  std::ofstream(cache.ref("org/name", "main")) << commit;
  std::ofstream(cache.ref("org/name", "pr/1")) << "rubbish";
  std::ofstream(snapshot + "/config.json") << "{}";
  std::ofstream(snapshot + "/sub/x.gguf") << "GGUF";
  EXPECT_EQ(cache.commit_of("org/name", "main"), commit);
  EXPECT_EQ(cache.commit_of("org/name", "pr/1"), std::nullopt);
  EXPECT_EQ(cache.commit_of("org/name", "../main"), std::nullopt);
  EXPECT_EQ(cache.commit_of("org/name", commit), commit);
  EXPECT_EQ(cache.files("org/name", commit), (std::vector<std::string>{"config.json", "sub/x.gguf"}));
  EXPECT_TRUE(cache.files("org/other", commit).empty());
}

}  // namespace
}  // namespace moxie
