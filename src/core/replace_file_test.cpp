#include "core/replace_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "core/folder.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

class ReplaceFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "moxie-replace-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string at(const char* name) const { return (folder_ / name).string(); }
  std::string text_of(const std::string& path) const { return read_small_file(path, 1 << 20).value(); }

  fs::path folder_;
};

TEST_F(ReplaceFile, MakesFoldersAndReplaces) {
  const std::string path = at("a/b/c.json");
  ASSERT_TRUE(replace_file(path, "one").ok());
  EXPECT_EQ(text_of(path), "one");
  ASSERT_TRUE(replace_file(path, "").ok());
  EXPECT_EQ(text_of(path), "");
  EXPECT_EQ(list_files(at("a/b")).value(), std::vector<std::string>{"c.json"});
  struct stat status {};
  ASSERT_EQ(::stat(at("a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(ReplaceFile, AFileWhereAFolderShouldBe) {
  ASSERT_TRUE(replace_file(at("a"), "x").ok());
  const auto result = replace_file(at("a/b.json"), "y");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::io);
  EXPECT_NE(result.error().message.find(at("a")), std::string::npos);
}

// Ends the process: 0 if writing beyond the limit of a file's size, which stands for a full disk, is an io error.
[[noreturn]] void write_too_much(const std::string& path) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) std::_Exit(2);
  const auto result = replace_file(path, std::string(100'000, 'x'));
  std::_Exit(!result.ok() && result.error().code == ErrorCode::io ? 0 : 1);
}

TEST_F(ReplaceFile, AFullDiskLeavesTheOldFileAndNothingElse) {
  const std::string path = at("c.json");
  ASSERT_TRUE(replace_file(path, "old").ok());
  EXPECT_EXIT(write_too_much(path), ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(list_files(folder_.string()).value(), std::vector<std::string>{"c.json"});
}

TEST_F(ReplaceFile, ReadsNoMoreThanAllowed) {
  ASSERT_TRUE(replace_file(at("big"), std::string(101, 'x')).ok());
  EXPECT_TRUE(read_small_file(at("big"), 101).ok());
  EXPECT_EQ(read_small_file(at("big"), 100).error().code, ErrorCode::corrupt);
  EXPECT_EQ(read_small_file(at("absent"), 100).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace moxie
