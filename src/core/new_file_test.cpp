#include "core/new_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

namespace moxie {
namespace {

namespace fs = std::filesystem;

class NewFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "moxie-new-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path() const { return (folder_ / "out").string(); }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static std::string contents(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

  fs::path folder_;
};

TEST_F(NewFileTest, AppearsWholeWhenItIsComplete) {
  auto file = NewFile::create(path(), 10, NewFile::Overwrite::no);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_TRUE(file->write_at(6, bytes("world")).ok()) << "beyond what was set aside: it grows";
  EXPECT_TRUE(file->write_at(0, bytes("hello")).ok());
  EXPECT_FALSE(fs::exists(path()));
  EXPECT_LE(entries(), 1u) << "beside its place, or without a name";
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(contents(path()), std::string("hello\0world", 11));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(NewFileTest, ManyWindowsArriveUnchanged) {
  constexpr size_t kPiece = 5'000'011, kPieces = 20;
  {
    auto file = NewFile::create(path(), kPiece * kPieces, NewFile::Overwrite::no);
    ASSERT_TRUE(file.ok());
    for (size_t i = 0; i < kPieces; ++i) {
      const std::vector<std::byte> piece(kPiece, static_cast<std::byte>(i + 1));
      ASSERT_TRUE(file->write_at(i * kPiece, piece).ok());
    }
    ASSERT_TRUE(file->commit().ok());
  }
  const std::string all = contents(path());
  ASSERT_EQ(all.size(), kPiece * kPieces);
  for (size_t i = 0; i < all.size(); i += 4001) ASSERT_EQ(all[i], static_cast<char>(i / kPiece + 1)) << i;
}

TEST_F(NewFileTest, NothingIsLeftWithoutCommit) {
  {
    auto file = NewFile::create(path(), 1000, NewFile::Overwrite::no);
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE(file->write_at(0, bytes("half")).ok());
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(NewFileTest, OverwritesOnlyWhenTold) {
  std::ofstream(path()) << "old";
  auto file = NewFile::create(path(), 3, NewFile::Overwrite::no);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(file.error().message.find("--force"), std::string::npos);
  auto forced = NewFile::create(path(), 3, NewFile::Overwrite::yes);
  ASSERT_TRUE(forced.ok());
  EXPECT_TRUE(forced->write_at(0, bytes("new")).ok());
  EXPECT_EQ(contents(path()), "old");
  ASSERT_TRUE(forced->commit().ok());
  EXPECT_EQ(contents(path()), "new");
}

TEST_F(NewFileTest, AFileThatAppearedMeanwhileIsKept) {
  auto file = NewFile::create(path(), 3, NewFile::Overwrite::no);
  ASSERT_TRUE(file.ok());
  std::ofstream(path()) << "another's";
  EXPECT_EQ(file->commit().error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(contents(path()), "another's");
}

TEST_F(NewFileTest, PlacesThatCannotBeWritten) {
  EXPECT_EQ(NewFile::create(folder_.string(), 1, NewFile::Overwrite::yes).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(NewFile::create((folder_ / "absent/out").string(), 1, NewFile::Overwrite::no).error().code,
            ErrorCode::not_found);
  EXPECT_EQ(NewFile::create("", 1, NewFile::Overwrite::no).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(NewFile::create("/dev/full", 1, NewFile::Overwrite::yes).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(entries(), 0u);
}

// A limit of the process stands for a full disk: the kernel says at the same two places that it is too much.
TEST_F(NewFileTest, NoRoomIsSaidAndNothingIsLeft) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1 << 16;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    const auto large = NewFile::create(path(), 1 << 20, NewFile::Overwrite::no);
    EXPECT_FALSE(large.ok());
    auto growing = NewFile::create(path(), 1 << 10, NewFile::Overwrite::no);
    EXPECT_TRUE(growing.ok());
    const std::vector<std::byte> piece(1 << 17);
    const auto written = growing->write_at(0, piece);
    EXPECT_FALSE(written.ok());
    for (const Error& error : {large.error(), written.error()}) {
      EXPECT_EQ(error.code, ErrorCode::io);
      EXPECT_NE(error.message.find(path()), std::string::npos) << error.message;
    }
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(NewFileTest, RoomIsLookedAtBefore) {
  EXPECT_TRUE(check_room(path(), 1000).ok());
  const auto refused = check_room(path(), uint64_t{1} << 60);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::io);
  EXPECT_NE(refused.error().message.find("needs 1024.0 PiB"), std::string::npos) << refused.error().message;
}

TEST_F(NewFileTest, NothingIsLeftOfAProcessThatIsKilled) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto file = NewFile::create(path(), 1000, NewFile::Overwrite::no);
    if (file.ok() && file->write_at(0, bytes("half")).ok()) ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(path()));
  // What is left beside it, where file systems have no nameless files, does not stop the next one.
  auto file = NewFile::create(path(), 4, NewFile::Overwrite::no);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write_at(0, bytes("good")).ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(contents(path()), "good");
}

}  // namespace
}  // namespace moxie
