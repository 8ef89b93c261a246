// Stores as their programs lay them out, made in a folder: what is found, listed and freed.
#include "hub/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "hub/folder_models.h"
#include "hub/lock_file.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kA(64, 'a'), kB(64, 'b'), kC(64, 'c');
const std::string kCommit(40, '1'), kOther(40, '2');

class Stores : public testing::Test {
 protected:
  Stores() {
    std::string name = (fs::temp_directory_path() / "moxie-stores-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    places_ = {.hugging_face = root_ + "/hub",
               .ollama = {root_ + "/ollama"},
               .lm_studio = {root_ + "/lms"},
               .llama_cpp = {root_ + "/lcpp"},
               .quantized = {root_ + "/quantized"}};
  }
  ~Stores() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  void link(const std::string& path, const std::string& to) const {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    fs::create_symlink(to, root_ + "/" + path);
  }
  bool is_there(const std::string& path) const { return fs::exists(fs::symlink_status(root_ + "/" + path)); }

  void hub_file(const std::string& repo, const std::string& commit, const std::string& name,
                const std::string& blob) const {
    link("hub/" + repo + "/snapshots/" + commit + "/" + name, "../../blobs/" + blob);
  }
  void manifest(const std::string& path, const std::string& blob, uint64_t bytes) const {
    put("ollama/manifests/" + path,
        R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:)" +
            kC + R"(","size":3},"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:)" + blob +
            R"(","size":)" + std::to_string(bytes) +
            R"(},{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:)" + kC + R"(","size":3}]})");
  }
  std::vector<std::string> references() const {
    std::vector<std::string> all;
    for (const StoredModel& model : list_stored_models(places_)) all.push_back(model.reference);
    return all;
  }
  std::string path_of(const std::string& reference) const {
    const auto found = locate_model(reference, places_);
    if (!found.ok()) return found.error().message;
    return found->path.starts_with(root_) ? found->path.substr(root_.size() + 1) : found->path;
  }

  std::string root_;
  StorePlaces places_;
};

TEST_F(Stores, PathsStayAsTheyAre) {
  EXPECT_EQ(path_of("some/where/m.gguf"), "some/where/m.gguf");
  // A name with a colon is a file, where there is one.
  put("hf:odd", "x");
  fs::current_path(root_);
  EXPECT_EQ(path_of("hf:odd"), "hf:odd");
  fs::current_path("/");
}

TEST_F(Stores, FindWhatTheHubCacheHas) {
  put("hub/models--org--mix/blobs/" + kA, "GGUF");
  put("hub/models--org--mix/blobs/" + kB, "GGUFGGUF");
  put("hub/models--org--mix/refs/main", kCommit);
  put("hub/models--org--mix/refs/old/one", kOther);
  hub_file("models--org--mix", kCommit, "mix.Q4_K_M.gguf", kA);
  hub_file("models--org--mix", kCommit, "mix.Q8_0.gguf", kB);
  hub_file("models--org--mix", kOther, "mix.Q4_K_M.gguf", kA);
  const std::string at = "hub/models--org--mix/snapshots/" + kCommit;
  EXPECT_EQ(path_of("hf:org/mix:Q4_K_M"), at + "/mix.Q4_K_M.gguf");
  EXPECT_EQ(path_of("hf:org/mix:q8_0"), at + "/mix.Q8_0.gguf");
  EXPECT_EQ(path_of("hf:org/mix:*Q8*"), at + "/mix.Q8_0.gguf");
  EXPECT_EQ(path_of("hf:org/mix:mix.Q8_0.gguf"), at + "/mix.Q8_0.gguf");
  EXPECT_EQ(path_of("hf:org/mix@old/one"), "hub/models--org--mix/snapshots/" + kOther + "/mix.Q4_K_M.gguf");
  EXPECT_THAT(path_of("hf:org/mix"),
              HasSubstr("is 2 models here: mix.Q4_K_M.gguf (4 B), mix.Q8_0.gguf (8 B); name one, as "
                        "hf:org/mix:mix.Q4_K_M.gguf"));
  EXPECT_THAT(path_of("hf:org/mix:Q2_K"), HasSubstr("hf:org/mix:Q2_K is not on this machine"));
  EXPECT_THAT(path_of("hf:org/mix:Q2_K"), HasSubstr("moxie pull org/mix:Q2_K"));
  EXPECT_THAT(path_of("hf:Org/Mix"), HasSubstr("there is hf:org/mix; download it: moxie pull Org/Mix"));
  EXPECT_THAT(references(),
              ElementsAre("hf:org/mix:mix.Q4_K_M.gguf", "hf:org/mix:mix.Q8_0.gguf", "hf:org/mix@" + kOther));
}

TEST_F(Stores, FindACheckpointOfSeveralFilesAndSayWhatIsMissing) {
  put("hub/models--org--moe/blobs/" + kA, "12345");
  put("hub/models--org--moe/refs/main", kCommit);
  hub_file("models--org--moe", kCommit, "model-00001-of-00002.safetensors", kA);
  hub_file("models--org--moe", kCommit, "model-00002-of-00002.safetensors", kB);
  EXPECT_EQ(path_of("hf:org/moe"), "hub/models--org--moe/snapshots/" + kCommit);
  const auto models = list_stored_models(places_);
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].bytes, 5u);
  EXPECT_EQ(models[0].problem, "model-00002-of-00002.safetensors is a link to a blob that is not there");
}

TEST_F(Stores, RemoveFromTheHubCacheWhatNothingElseUses) {
  put("hub/models--org--mix/blobs/" + kA, "GGUF");
  put("hub/models--org--mix/blobs/" + kB, "GGUFGGUF");
  put("hub/models--org--mix/blobs/" + kC + ".incomplete", "GG");
  put("hub/models--org--mix/refs/main", kCommit);
  put("hub/models--org--mix/refs/v2", kOther);
  hub_file("models--org--mix", kCommit, "a.gguf", kA);
  hub_file("models--org--mix", kCommit, "b.gguf", kB);
  hub_file("models--org--mix", kOther, "a.gguf", kA);
  const std::string repo = "hub/models--org--mix/";

  // A revision: the blob that another one uses stays, and what is being downloaded.
  auto removal = plan_removal("hf:org/mix@main", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->bytes, 8u);
  ASSERT_TRUE(remove_paths(*removal).ok());
  EXPECT_FALSE(is_there(repo + "refs/main"));
  EXPECT_FALSE(is_there(repo + "snapshots/" + kCommit));
  EXPECT_FALSE(is_there(repo + "blobs/" + kB));
  EXPECT_TRUE(is_there(repo + "blobs/" + kA));
  EXPECT_TRUE(is_there(repo + "blobs/" + kC + ".incomplete"));
  EXPECT_TRUE(is_there(repo + "snapshots/" + kOther + "/a.gguf"));
  EXPECT_TRUE(is_there(repo + "refs/v2"));

  // A file, then all of it.
  removal = plan_removal("hf:org/mix@v2:a.gguf", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->bytes, 4u);
  {
    const auto other = LockFile::take(root_ + "/hub/.locks/models--org--mix/" + kC + ".lock", {});
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(plan_removal("hf:org/mix", places_).error().code, ErrorCode::unavailable);
  }
  removal = plan_removal("hf:org/mix", places_);
  ASSERT_TRUE(removal.ok());
  EXPECT_EQ(removal->bytes, 6u);
  ASSERT_TRUE(remove_paths(*removal).ok());
  EXPECT_FALSE(is_there("hub/models--org--mix"));
  EXPECT_TRUE(is_there("hub"));
  EXPECT_EQ(plan_removal("hf:org/mix", places_).error().code, ErrorCode::not_found);
}

// huggingface_hub 2 keeps blobs once for all repositories: <cache>/blobs/<2 digits>/<hash>, links to them in each.
TEST_F(Stores, WhatRepositoriesShareStays) {
  put("hub/blobs/cc/" + kC, "GGUFGG");
  for (const char* repo : {"models--org--one", "models--org--two"}) {
    std::filesystem::create_directories(root_ + "/hub/" + repo + "/blobs");
    std::filesystem::create_symlink("../../blobs/cc/" + kC, root_ + "/hub/" + repo + "/blobs/" + kA);
    put("hub/" + std::string(repo) + "/refs/main", kCommit);
    hub_file(repo, kCommit, "a.gguf", kA);
  }
  const auto models = list_stored_models(places_);
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].bytes, 6u);
  EXPECT_EQ(models[0].problem, "");
  const auto removal = plan_removal("hf:org/one", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->bytes, 0u);
  ASSERT_EQ(removal->notices.size(), 1u);
  EXPECT_THAT(removal->notices[0], HasSubstr("which repositories share"));
  ASSERT_TRUE(remove_paths(*removal).ok());
  EXPECT_FALSE(is_there("hub/models--org--one"));
  EXPECT_TRUE(is_there("hub/models--org--two/snapshots/" + kCommit + "/a.gguf"));
}

TEST_F(Stores, FindWhatOllamaHas) {
  manifest("registry.ollama.ai/library/mixtral/latest", kA, 4);
  manifest("registry.ollama.ai/library/mixtral/8x22b", kB, 8);
  manifest("registry.ollama.ai/someone/mine/v1", kA, 4);
  manifest("example.org/team/big/q4", kA, 4);
  put("ollama/blobs/sha256-" + kA, "GGUF");
  put("ollama/blobs/sha256-" + kB + "-partial", "GG");
  put("ollama/blobs/sha256-" + kC, "{{ }}");
  EXPECT_EQ(path_of("ollama:mixtral"), "ollama/blobs/sha256-" + kA);
  EXPECT_EQ(path_of("ollama:mixtral:latest"), "ollama/blobs/sha256-" + kA);
  EXPECT_EQ(path_of("ollama:someone/mine:v1"), "ollama/blobs/sha256-" + kA);
  EXPECT_EQ(path_of("ollama:example.org/team/big:q4"), "ollama/blobs/sha256-" + kA);
  EXPECT_THAT(path_of("ollama:mixtral:8x22b"), HasSubstr("its download did not finish"));
  EXPECT_THAT(path_of("ollama:mixtral:8x7b"),
              HasSubstr("there is ollama:mixtral:8x22b; download it: ollama pull mixtral:8x7b"));
  EXPECT_THAT(path_of("ollama:../../etc"), HasSubstr("is no name of Ollama's"));
  EXPECT_THAT(path_of("ollama:"), HasSubstr("is no name of Ollama's"));
  const auto found = locate_model("ollama:mixtral", places_);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->notices.size(), 1u);
  EXPECT_THAT(found->notices[0], HasSubstr("Go's template language"));
  EXPECT_THAT(references(), ElementsAre("ollama:example.org/team/big:q4", "ollama:mixtral:8x22b",
                                        "ollama:mixtral:latest", "ollama:someone/mine:v1"));
  EXPECT_EQ(list_stored_models(places_)[1].problem, "its download did not finish");
}

TEST_F(Stores, RemoveFromOllamaWhatNoOtherManifestNames) {
  manifest("registry.ollama.ai/library/one/latest", kA, 4);
  manifest("registry.ollama.ai/library/two/latest", kB, 8);
  put("ollama/blobs/sha256-" + kA, "GGUF");
  put("ollama/blobs/sha256-" + kB, "GGUFGGUF");
  put("ollama/blobs/sha256-" + kC, "{{ }}");
  auto removal = plan_removal("ollama:one", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->bytes, 4u);
  ASSERT_TRUE(remove_paths(*removal).ok());
  EXPECT_TRUE(is_there("ollama/blobs/sha256-" + kC));  // the other's template
  EXPECT_FALSE(is_there("ollama/blobs/sha256-" + kA));
  // A manifest that cannot be read may name anything, so nothing is deleted.
  put("ollama/manifests/registry.ollama.ai/library/odd/latest", "{");
  EXPECT_FALSE(plan_removal("ollama:two", places_).ok());
}

TEST_F(Stores, FindWhatLmStudioAndLlamaCppHave) {
  put("lms/pub/one-GGUF/one-Q4_K_M.gguf", "GGUF");
  put("lms/pub/one-GGUF/mmproj-one.gguf", "GGUF");
  put("lms/pub/two-GGUF/two-Q4_K_M-00001-of-00002.gguf", "GGUF");
  put("lms/pub/two-GGUF/two-Q4_K_M-00002-of-00002.gguf", "GGUF");
  put("lms/pub/two-GGUF/two-Q8_0.gguf", "GGUF");
  put("lms/mlx-community/moe-4bit/model.safetensors", "123");
  put("lcpp/org_mix_Q4.gguf", "GGUF");
  EXPECT_THAT(references(), ElementsAre("lmstudio:mlx-community/moe-4bit", "lmstudio:pub/one-GGUF",
                                        "lmstudio:pub/two-GGUF/two-Q4_K_M-00001-of-00002.gguf",
                                        "lmstudio:pub/two-GGUF/two-Q8_0.gguf", "llamacpp:org_mix_Q4.gguf"));
  EXPECT_EQ(path_of("lmstudio:pub/one-GGUF"), "lms/pub/one-GGUF/one-Q4_K_M.gguf");
  EXPECT_EQ(path_of("lmstudio:one-GGUF"), "lms/pub/one-GGUF/one-Q4_K_M.gguf");
  EXPECT_EQ(path_of("lmstudio:mlx-community/moe-4bit"), "lms/mlx-community/moe-4bit");
  EXPECT_EQ(path_of("lmstudio:pub/two-GGUF:Q8_0"), "lms/pub/two-GGUF/two-Q8_0.gguf");
  EXPECT_EQ(path_of("llamacpp:org_mix_Q4.gguf"), "lcpp/org_mix_Q4.gguf");
  EXPECT_THAT(path_of("lmstudio:pub/two-GGUF"), HasSubstr("may be 2 models"));
  EXPECT_THAT(path_of("lmstudio:pub/three"), HasSubstr("download it: moxie pull pub/three"));
  const auto removal = plan_removal("lmstudio:pub/two-GGUF:Q4_K_M", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->paths.size(), 2u);
  EXPECT_EQ(removal->bytes, 8u);
}

TEST_F(Stores, FindWhatWasKeptQuantized) {
  put("quantized/mixtral-Q4_K_M-0123abcd-00ff.gguf", "GGUF");
  EXPECT_THAT(references(), ElementsAre("quantized:mixtral-Q4_K_M-0123abcd-00ff.gguf"));
  EXPECT_EQ(path_of("quantized:mixtral-Q4_K_M-0123abcd-00ff.gguf"), "quantized/mixtral-Q4_K_M-0123abcd-00ff.gguf");
  EXPECT_THAT(path_of("quantized:absent.gguf"), HasSubstr("--quantize-cache"));
  EXPECT_THAT(path_of("quantized:"), HasSubstr("names no model"));
  const auto removal = plan_removal("quantized:mixtral-Q4_K_M-0123abcd-00ff.gguf", places_);
  ASSERT_TRUE(removal.ok()) << removal.error().message;
  EXPECT_EQ(removal->bytes, 4u);
}

TEST_F(Stores, AreWhereTheVariablesSay) {
  const std::map<std::string, std::string> set = {
      {"HOME", "/home/me"}, {"OLLAMA_MODELS", "/data/ollama"}, {"XDG_CACHE_HOME", "/cache"}, {"HF_HUB_CACHE", "/hub"}};
  const StorePlaces places = store_places([&](const char* name) {
    const auto found = set.find(name);
    return found == set.end() ? nullptr : found->second.c_str();
  });
  EXPECT_EQ(places.hugging_face, "/hub");
  EXPECT_THAT(places.ollama, ElementsAre("/data/ollama", "/home/me/.ollama/models"));
  EXPECT_THAT(places.lm_studio, ElementsAre("/home/me/.lmstudio/models", "/cache/lm-studio/models"));
  EXPECT_THAT(places.llama_cpp, ElementsAre("/cache/llama.cpp"));
  EXPECT_THAT(places.quantized, ElementsAre("/cache/moxie/quantized"));
}

TEST_F(Stores, WhatNoModelRefersToIsFound) {
  put("hub/models--org--mix/blobs/" + kA, "GGUF");
  put("hub/models--org--mix/blobs/" + kB, "GGUFGGUF");
  put("hub/models--org--mix/blobs/" + kC + ".incomplete", "GG");
  hub_file("models--org--mix", kCommit, "a.gguf", kA);
  manifest("registry.ollama.ai/library/one/latest", kA, 4);
  put("ollama/blobs/sha256-" + kA, "GGUF");
  put("ollama/blobs/sha256-" + kB, "GGUFGG");
  put("ollama/blobs/sha256-" + kC, "{{ }}");
  put("ollama/blobs/sha256-" + kB + "-partial-1", "GG");
  const auto unused = plan_unused(places_);
  ASSERT_TRUE(unused.ok()) << unused.error().message;
  EXPECT_THAT(unused->paths,
              ElementsAre(root_ + "/hub/models--org--mix/blobs/" + kB, root_ + "/ollama/blobs/sha256-" + kB));
  EXPECT_EQ(unused->bytes, 14u);
}

TEST_F(Stores, PlainPathsAreNotRemoved) {
  put("m.gguf", "GGUF");
  EXPECT_EQ(plan_removal(root_ + "/m.gguf", places_).error().code, ErrorCode::invalid_argument);
}

TEST(GgufGroups, PartsCountAsOneAndQuantizationsAreWholeWords) {
  const auto groups = group_gguf_files(
      {"m-Q4_K_M-00002-of-00002.gguf", "m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K.gguf", "x.txt", "mmproj-m.gguf"});
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].name, "m-Q4_K.gguf");
  EXPECT_EQ(groups[1].name, "m-Q4_K_M-00001-of-00002.gguf");
  EXPECT_THAT(groups[1].files, ElementsAre("m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"));
  ASSERT_EQ(matching_groups(groups, "Q4_K").size(), 1u);
  EXPECT_EQ(matching_groups(groups, "Q4_K")[0].name, "m-Q4_K.gguf");
  EXPECT_EQ(matching_groups(groups, "m-Q4_K_M-00002-of-00002.gguf")[0].files.size(), 2u);
}

}  // namespace
}  // namespace moxie
