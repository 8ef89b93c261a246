#include "hub/known_digest.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace moxie {
namespace {

namespace fs = std::filesystem;

// SHA-256 of "abc" and Git's name of a blob of it, as sha256sum and git hash-object print them.
const std::string kSha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string kGit = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";

class KnownDigests : public testing::Test {
 protected:
  KnownDigests() : root_(fs::path(testing::TempDir()) / "moxie-known-digest") { fs::remove_all(root_); }
  ~KnownDigests() override { fs::remove_all(root_); }
  std::string put(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
    return (root_ / name).string();
  }
  fs::path root_;
};

TEST_F(KnownDigests, AreReadFromTheNamesOfBlobs) {
  put("hub/blobs/" + kSha256, "abc");
  fs::create_directories(root_ / "hub/snapshots/c");
  fs::create_symlink("../../blobs/" + kSha256, root_ / "hub/snapshots/c/m.gguf");
  const auto linked = known_digest((root_ / "hub/snapshots/c/m.gguf").string());
  ASSERT_TRUE(linked);
  EXPECT_EQ(linked->kind, KnownDigest::Kind::sha256);
  EXPECT_EQ(linked->hex, kSha256);
  // Shared by repositories, under another hash.
  put("hub/blobs/12/" + std::string(64, '1'), "abc");
  fs::create_directories(root_ / "hub/one/blobs");
  fs::create_symlink("../../blobs/12/" + std::string(64, '1'), root_ / ("hub/one/blobs/" + kSha256));
  fs::create_symlink("blobs/" + kSha256, root_ / "hub/one/m.gguf");
  const auto shared = known_digest((root_ / "hub/one/m.gguf").string());
  ASSERT_TRUE(shared);
  EXPECT_EQ(shared->hex, kSha256);
  const auto ollama = known_digest(put("ollama/blobs/sha256-" + kSha256, "abc"));
  ASSERT_TRUE(ollama);
  EXPECT_EQ(ollama->hex, kSha256);
  const auto small = known_digest(put("hub/blobs/" + kGit, "abc"));
  ASSERT_TRUE(small);
  EXPECT_EQ(small->kind, KnownDigest::Kind::git_sha1);
  EXPECT_FALSE(known_digest(put("elsewhere/" + kSha256, "abc")));
  EXPECT_FALSE(known_digest(put("hub/blobs/something", "abc")));
}

TEST_F(KnownDigests, AreReadFromWhatADownloadLeaves) {
  const std::string file = put("here/m.gguf", "abc");
  EXPECT_FALSE(known_digest(file));
  put("here/.cache/huggingface/download/m.gguf.metadata", std::string(40, '1') + "\n" + kSha256 + "\n1700000000.5\n");
  const auto found = known_digest(file);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->hex, kSha256);
  put("here/.cache/huggingface/download/m.gguf.metadata", "");
  EXPECT_FALSE(known_digest(file));
}

TEST_F(KnownDigests, OfFilesAreThoseOfOtherTools) {
  const std::string file = put("m", "abc");
  EXPECT_EQ(digest_of_file(file, KnownDigest::Kind::sha256, {}).value(), kSha256);
  EXPECT_EQ(digest_of_file(file, KnownDigest::Kind::git_sha1, {}).value(), kGit);
  const auto stopped = digest_of_file(file, KnownDigest::Kind::sha256, [](uint64_t) { return false; });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace moxie
