#include "core/disappearing_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace moxie {
namespace {

namespace fs = std::filesystem;

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(DisappearingFile, HasNoNameButIsReadUntilItsUserGoes) {
  const fs::path path = fs::temp_directory_path() / ("moxie-disappearing-" + std::to_string(::getpid()));
  std::ofstream(path) << "weights";
  std::optional<DisappearingFile> file(DisappearingFile::take(path.string()).value());
  if (fs::exists("/proc/self/fd")) {
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(text_of(file->path()), "weights");
  DisappearingFile moved = std::move(*file);
  file.reset();
  EXPECT_EQ(text_of(moved.path()), "weights");
  const std::string open = moved.path();
  { const DisappearingFile last = std::move(moved); }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_NE(text_of(open), "weights");
}

TEST(DisappearingFile, WhatIsNotThereIsAnError) {
  const auto file = DisappearingFile::take("/nowhere/at/all");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace moxie
