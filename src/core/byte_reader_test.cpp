#include "core/byte_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "core/folder.h"
#include "core/printable.h"

namespace moxie {
namespace {

using testing::HasSubstr;

TEST(ByteReader, ReadsLittleEndianAndStrings) {
  const std::string bytes(
      "\x01\x02\x00\x00\x00\x04\x03\x02\x01\x00\x00\x80\x3f"
      "abc",
      16);
  const MemorySource source("m", bytes);
  ByteReader in(source);
  EXPECT_EQ(*in.read<uint8_t>(), 1);
  EXPECT_EQ(*in.read<uint32_t>(), 2u);
  EXPECT_EQ(*in.read<uint32_t>(), 0x01020304u);
  EXPECT_EQ(*in.read<float>(), 1.0f);
  EXPECT_EQ(in.position(), 13u);
  EXPECT_EQ(*in.read_string(3), "abc");
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_EQ(*in.read_string(0), "");
}

TEST(ByteReader, NamesTheEnd) {
  const MemorySource source("m.gguf", "abc");
  ByteReader in(source, 1);
  const auto value = in.read<uint32_t>();
  ASSERT_FALSE(value.ok());
  EXPECT_EQ(value.error().code, ErrorCode::corrupt);
  EXPECT_THAT(
      value.error().message,
      HasSubstr("m.gguf: the header is cut off: 4 more bytes are needed at byte 1, but the file ends at byte 3"));
  EXPECT_FALSE(in.read_string(UINT64_MAX).ok());
  EXPECT_EQ(*in.read_string(2), "bc");  // an error takes nothing
}

// Across the buffer's borders, in pieces that do not divide it.
TEST(ByteReader, ReadsLongFilesPieceByPiece) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("moxie-reader-" + std::to_string(std::rand()))).string();
  std::string bytes;
  for (uint32_t i = 0; i < 1'000'003; ++i) bytes += static_cast<char>(i * 2654435761u >> 24);
  std::ofstream(path, std::ios::binary) << bytes;
  {
    const auto source = FileSource::open(path);
    ASSERT_TRUE(source.ok());
    ByteReader in(*source);
    std::string found;
    for (uint64_t piece = 1; in.remaining() > 0; piece = piece * 3 % 70001) {
      found += *in.read_string(std::min<uint64_t>(piece, in.remaining()));
    }
    EXPECT_TRUE(found == bytes);
    EXPECT_EQ(*read_start(*source, 10), bytes.substr(0, 10));
    EXPECT_EQ(read_text_file(path, 1000).error().code, ErrorCode::unsupported);
    EXPECT_TRUE(*read_text_file(path, 2'000'000) == bytes);
  }
  std::filesystem::remove(path);
}

TEST(Folder, TakesPathsApart) {
  EXPECT_EQ(file_name("a/b.gguf"), "b.gguf");
  EXPECT_EQ(parent_folder("a/b.gguf"), "a");
  EXPECT_EQ(parent_folder("b.gguf"), ".");
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(list_files("/nonexistent-folder").error().code, ErrorCode::not_found);
}

TEST(Printable, EscapesWhatATerminalWouldNotShow) {
  EXPECT_EQ(printable("blk.0.é\n\x1b[31m\xff"), "blk.0.é\\x0a\\x1b[31m\\xff");
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82");  // half a character
  EXPECT_EQ(printable(std::string(500, 'a')), std::string(120, 'a') + "...");
}

}  // namespace
}  // namespace moxie
