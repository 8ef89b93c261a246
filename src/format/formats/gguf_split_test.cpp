#include "format/formats/gguf_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::GgufWriter;
using test::TempFolder;
using testing::HasSubstr;

// Part `number` (from 0) of `count`, holding one tensor.
std::string part(uint16_t number, uint16_t count, int32_t tensors, std::string_view tensor) {
  GgufWriter file;
  if (number == 0) file.text("general.architecture", "llama").text("general.name", "whole");
  file.split(number, count, tensors).floats(tensor, {8});
  return file.bytes();
}

void write_three(const TempFolder& folder, std::string_view prefix = "m") {
  folder.write(gguf_part_name(prefix, 1, 3), part(0, 3, 3, "a"));
  folder.write(gguf_part_name(prefix, 2, 3), part(1, 3, 3, "b"));
  folder.write(gguf_part_name(prefix, 3, 3), part(2, 3, 3, "c"));
}

void expect_whole(const std::string& path) {
  const auto files = open_weights(path);
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->metadata.text("general.name"), "whole");
  ASSERT_EQ(files->files.size(), 3u);
  ASSERT_EQ(files->tensors.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(files->tensors[static_cast<size_t>(i)].name, std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(files->tensors[static_cast<size_t>(i)].file, i);
  }
}

std::string error_of(const std::string& path, ErrorCode code) {
  const auto files = open_weights(path);
  if (files.ok()) return "opened";
  EXPECT_EQ(files.error().code, code) << files.error().message;
  return files.error().message;
}

TEST(GgufParts, NamesFollowTheSplitTool) {
  const auto name = parse_gguf_part_name("Mixtral-8x22B.Q4_K_M-00003-of-00005.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->prefix, "Mixtral-8x22B.Q4_K_M");
  EXPECT_EQ(name->number, 3);
  EXPECT_EQ(name->count, 5);
  EXPECT_EQ(gguf_part_name(name->prefix, 3, 5), "Mixtral-8x22B.Q4_K_M-00003-of-00005.gguf");
  for (const char* other : {"a.gguf", "-00001-of-00002.ggu", "a-0001-of-0002.gguf", "a-00001-of-0000x.gguf",
                            "a-00000-of-00002.gguf", "a_00001-of-00002.gguf", "a-+0001-of-00002.gguf"}) {
    EXPECT_FALSE(parse_gguf_part_name(other).has_value()) << other;
  }
}

TEST(GgufParts, AnyPartOpensAll) {
  const TempFolder folder;
  write_three(folder);
  for (int64_t i = 1; i <= 3; ++i) expect_whole(folder / gguf_part_name("m", i, 3));
  expect_whole(folder.path());
}

TEST(GgufParts, RenamedPartsAreFoundByTheirKeys) {
  const TempFolder folder;
  folder.write("first.gguf", part(0, 3, 3, "a"));
  folder.write("x-00002-of-00003.gguf", part(1, 3, 3, "b"));
  folder.write("third.gguf", part(2, 3, 3, "c"));
  folder.write("other.gguf", test::small_gguf().bytes());
  folder.write("broken.gguf", "GGUF");
  expect_whole(folder / "x-00002-of-00003.gguf");
  expect_whole(folder / "first.gguf");
  expect_whole(folder / "third.gguf");
}

TEST(GgufParts, ANameThatContradictsTheKeysDoesNotCount) {
  const TempFolder folder;  // two parts exchanged their names
  folder.write("m-00001-of-00003.gguf", part(1, 3, 3, "b"));
  folder.write("m-00002-of-00003.gguf", part(0, 3, 3, "a"));
  folder.write("m-00003-of-00003.gguf", part(2, 3, 3, "c"));
  expect_whole(folder / "m-00001-of-00003.gguf");
}

TEST(GgufParts, AFolderOfRenamedPartsIsOneModel) {
  const TempFolder folder;
  folder.write("one.gguf", part(0, 3, 3, "a"));
  folder.write("two.gguf", part(1, 3, 3, "b"));
  folder.write("x-00003-of-00003.gguf", part(2, 3, 3, "c"));
  folder.write("mmproj-x.gguf", GgufWriter().text("general.type", "mmproj").bytes());
  expect_whole(folder.path());
}

TEST(GgufParts, MissingPartsAreNamed) {
  const TempFolder folder;
  write_three(folder);
  std::filesystem::remove(folder / "m-00001-of-00003.gguf");
  std::filesystem::remove(folder / "m-00003-of-00003.gguf");
  // Another quantization in as many parts must not fill the gap.
  write_three(folder, "other");
  const std::string message = error_of(folder / "m-00002-of-00003.gguf", ErrorCode::not_found);
  EXPECT_THAT(message, HasSubstr("of which 2 are missing"));
  EXPECT_THAT(message, HasSubstr("m-00001-of-00003.gguf, m-00003-of-00003.gguf; download them into the same folder"));
}

TEST(GgufParts, PartsOfDifferentUploadsAreRefused) {
  const TempFolder counts;
  write_three(counts);
  counts.write("m-00002-of-00003.gguf", part(1, 3, 4, "b"));
  EXPECT_THAT(error_of(counts / "m-00001-of-00003.gguf", ErrorCode::corrupt),
              HasSubstr("m-00002-of-00003.gguf: says it is part 2 of 3 of a model of 4 tensors"));

  const TempFolder twice;
  write_three(twice);
  twice.write("m-00002-of-00003.gguf", part(1, 3, 3, "c"));
  EXPECT_THAT(error_of(twice / "m-00001-of-00003.gguf", ErrorCode::corrupt), HasSubstr("both hold the tensor \"c\""));

  const TempFolder sum;
  sum.write("m-00001-of-00002.gguf", part(0, 2, 7, "a"));
  sum.write("m-00002-of-00002.gguf", part(1, 2, 7, "b"));
  const std::string message = error_of(sum / "m-00001-of-00002.gguf", ErrorCode::corrupt);
  EXPECT_THAT(message, HasSubstr("hold 2 tensors together (1 in m-00001-of-00002.gguf, 1 in m-00002-of-00002.gguf)"));
  EXPECT_THAT(message, HasSubstr("split.tensors.count says 7"));
}

TEST(GgufParts, ADamagedPartIsNamed) {
  const TempFolder folder;
  write_three(folder);
  folder.write("m-00003-of-00003.gguf", part(2, 3, 3, "c").substr(0, 180));
  EXPECT_THAT(error_of(folder / "m-00001-of-00003.gguf", ErrorCode::corrupt),
              HasSubstr("m-00003-of-00003.gguf: expected"));
  folder.write("m-00003-of-00003.gguf", "<!DOCTYPE html>");
  EXPECT_THAT(error_of(folder / "m-00001-of-00003.gguf", ErrorCode::corrupt),
              HasSubstr("m-00003-of-00003.gguf: is a web page"));
}

TEST(GgufParts, TwoFilesForOnePartAreRefused) {
  const TempFolder folder;
  folder.write("a.gguf", part(0, 2, 2, "a"));
  folder.write("b.gguf", part(1, 2, 2, "b"));
  folder.write("c.gguf", part(1, 2, 2, "c"));
  EXPECT_THAT(error_of(folder / "a.gguf", ErrorCode::invalid_argument), HasSubstr("both say they are part 2 of 2"));
}

TEST(GgufParts, ImpossibleNumbersAreRefused) {
  const TempFolder folder;
  EXPECT_THAT(error_of(folder.write("m.gguf", part(3, 3, 3, "a")), ErrorCode::corrupt),
              HasSubstr("part 3 (split.no, from 0) of 3"));
  GgufWriter negative;
  negative.number<int32_t>("split.count", 5, -2).floats("a", {8});
  EXPECT_THAT(error_of(folder.write("m.gguf", negative.bytes()), ErrorCode::corrupt), HasSubstr("of -2 (split.count)"));
}

TEST(GgufParts, OnePartIsAnOrdinaryFile) {
  for (const uint16_t count : {0, 1}) {
    const TempFolder folder;
    const auto files = open_weights(folder.write("m.gguf", part(0, count, 1, "a")));
    ASSERT_TRUE(files.ok()) << files.error().message;
    EXPECT_EQ(files->tensors.size(), 1u);
  }
}

TEST(GgufParts, JoinedPartsMayHaveKeptTheirKeys) {
  const TempFolder folder;
  const auto files = open_weights(folder.write("m.gguf", part(0, 3, 1, "a")));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->tensors.size(), 1u);
  ASSERT_EQ(files->notices.size(), 1u);
  EXPECT_THAT(files->notices[0], HasSubstr("holds all 1 tensors: taken as the whole model"));
}

TEST(GgufParts, TheFirstPartMayHoldNoTensors) {
  const TempFolder folder;
  folder.write("m-00001-of-00002.gguf", GgufWriter().text("general.name", "whole").split(0, 2, 1).bytes());
  folder.write("m-00002-of-00002.gguf", part(1, 2, 1, "a"));
  const auto files = open_weights(folder / "m-00002-of-00002.gguf");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->metadata.text("general.name"), "whole");
  EXPECT_EQ(files->tensors.size(), 1u);
}

TEST(GgufFolder, SeveralModelsAreListed) {
  const TempFolder folder;
  write_three(folder, "m.Q4_0");
  write_three(folder, "m.Q8_0");
  folder.write("alone.gguf", test::small_gguf().bytes());
  const std::string message = error_of(folder.path(), ErrorCode::invalid_argument);
  EXPECT_THAT(
      message,
      HasSubstr("holds 3 models: alone.gguf, m.Q4_0-00001-of-00003.gguf, m.Q8_0-00001-of-00003.gguf; give the path"));
}

TEST(GgufFolder, SideFilesAreNoModels) {
  const TempFolder folder;
  const std::string imatrix = folder.write("imatrix.gguf", GgufWriter().text("general.type", "imatrix").bytes());
  const std::string projector =
      folder.write("mmproj-m.gguf", GgufWriter().text("general.architecture", "clip").bytes());
  const std::string adapter = folder.write("lora.gguf", GgufWriter().text("general.type", "adapter").bytes());
  EXPECT_THAT(error_of(imatrix, ErrorCode::unsupported), HasSubstr("is an importance matrix, not a model"));
  EXPECT_THAT(error_of(projector, ErrorCode::unsupported), HasSubstr("is a vision projector, not a model"));
  EXPECT_THAT(error_of(adapter, ErrorCode::unsupported), HasSubstr("is an adapter (LoRA), not a model"));
  EXPECT_THAT(error_of(folder.path(), ErrorCode::unsupported),
              HasSubstr("imatrix.gguf, lora.gguf, mmproj-m.gguf, which go with a model"));
  folder.write("m.gguf", test::small_gguf().bytes());
  const auto files = open_weights(folder.path());
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->tensors.size(), 2u);
}

}  // namespace
}  // namespace moxie
