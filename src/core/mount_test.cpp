#include "core/mount.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/byte_reader.h"
#include "core/file.h"
#include "core/folder.h"

namespace moxie {
namespace {

class LetterTree final : public FileTree {
 public:
  const std::vector<Entry>& entries() const override { return entries_; }
  Result<void> read(const Entry&, uint64_t offset, std::span<std::byte> into) const override {
    for (size_t i = 0; i < into.size(); ++i) into[i] = static_cast<std::byte>('a' + (offset + i) % 26);
    return {};
  }

 private:
  std::vector<Entry> entries_ = {{"a.txt", 10}, {"sub/A.bin", 30}, {"sub/deep/B", 5}};
};

TEST(Mount, FilesAreFoundBelowItsNameWhileItLives) {
  EXPECT_FALSE(is_present("hf:x/y"));
  {
    const Mount mount("hf:x/y", std::make_shared<LetterTree>());
    EXPECT_TRUE(is_folder("hf:x/y"));
    EXPECT_TRUE(is_folder("hf:x/y/sub/"));
    EXPECT_FALSE(is_folder("hf:x/y/su"));
    EXPECT_TRUE(is_file("hf:x/y/sub/A.bin"));
    EXPECT_FALSE(is_file("hf:x/y/sub"));
    EXPECT_FALSE(is_present("hf:x/yz"));
    EXPECT_FALSE(is_broken_link("hf:x/y/none"));
    EXPECT_EQ(*list_files("hf:x/y"), std::vector<std::string>{"a.txt"});
    EXPECT_EQ(*list_files("hf:x/y/sub"), std::vector<std::string>{"A.bin"});
    EXPECT_EQ(*read_text_file("hf:x/y/a.txt", 100), "abcdefghij");
    EXPECT_EQ(read_text_file("hf:x/y/none", 100).error().code, ErrorCode::not_found);
  }
  EXPECT_FALSE(is_present("hf:x/y"));
}

TEST(Mount, AnOpenFileKeepsItsTree) {
  auto mount = std::make_unique<Mount>("hf:x/y", std::make_shared<LetterTree>());
  const File file = std::move(File::open("hf:x/y/sub/A.bin")).value();
  mount.reset();
  EXPECT_EQ(file.bytes(), 30u);
  char text[4];
  ASSERT_TRUE(file.read_at(24, std::as_writable_bytes(std::span(text))).ok());
  EXPECT_EQ(std::string(text, 4), "yzab");
  EXPECT_EQ(file.read_at(28, std::as_writable_bytes(std::span(text))).error().code, ErrorCode::corrupt);
  EXPECT_EQ(file.map().error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace moxie
