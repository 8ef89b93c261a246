#include "format/formats/gguf_header.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::GgufWriter;
using test::small_gguf;
using testing::HasSubstr;

Result<GgufHeader> read(std::string_view bytes) {
  return read_gguf_header(MemorySource("m.gguf", bytes));
}

class GgufVersion : public testing::TestWithParam<uint32_t> {};

TEST_P(GgufVersion, ReadsKeysVocabularyAndTensors) {
  const std::string bytes = small_gguf(GetParam()).bytes();
  const auto header = read(bytes);
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->version, GetParam());
  EXPECT_EQ(header->metadata.text("general.architecture"), "llama");
  EXPECT_EQ(header->metadata.integer("llama.block_count"), 1);
  EXPECT_EQ(header->metadata.number("llama.rope.freq_base"), 1e6);
  EXPECT_EQ(header->vocabulary.model, "llama");
  EXPECT_EQ(header->vocabulary.tokens, (std::vector<std::string>{"<unk>", "<s>", "</s>", "a"}));
  EXPECT_EQ(header->vocabulary.scores, (std::vector<float>{0, 0, 0, -1}));
  EXPECT_EQ(header->vocabulary.types, (std::vector<int32_t>{2, 3, 3, 1}));
  EXPECT_EQ(header->vocabulary.special_ids, (std::map<std::string, int64_t>{{"bos", 1}}));
  EXPECT_EQ(header->vocabulary.add_bos, true);
  EXPECT_EQ(header->vocabulary.add_eos, std::nullopt);
  EXPECT_FALSE(header->metadata.has("tokenizer.ggml.tokens"));  // once in memory is enough
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "token_embd.weight");
  EXPECT_EQ(header->tensors[0].shape, (std::vector<int64_t>{4, 3}));
  EXPECT_EQ(header->tensors[0].type->name, "f32");
  EXPECT_EQ(header->tensors[0].bytes, 48u);
  EXPECT_EQ(header->tensors[0].offset, bytes.size() - 64 - 32);  // 48 and 12 bytes, padded to 32
  EXPECT_EQ(header->tensors[1].offset, bytes.size() - 32);
}

INSTANTIATE_TEST_SUITE_P(All, GgufVersion, testing::Values(1, 2, 3));

TEST(GgufHeader, ReadsEveryValueType) {
  GgufWriter file;
  file.number<uint8_t>("u8", 0, 200).number<int8_t>("i8", 1, -5).number<uint16_t>("u16", 2, 65535);
  file.number<int16_t>("i16", 3, -300)
      .u32("u32", 4000000000u)
      .number<int32_t>("i32", 5, -7)
      .number<float>("f32", 6, 0.5f);
  file.number<uint8_t>("bool", 7, 1).text("string", std::string("a\0\xff", 3)).number<uint64_t>("u64", 10, UINT64_MAX);
  file.number<int64_t>("i64", 11, INT64_MIN).number<double>("f64", 12, 0.1).number<uint64_t>("small", 10, 9);
  file.numbers<uint16_t>("array", 2, {1, 2, 65535}).numbers<double>("reals", 12, {0.1, -2});
  file.numbers<uint8_t>("flags", 7, {1, 0, 1}).texts("words", {"", "x"}).numbers<float>("none", 6, {});
  const auto header = read(file.bytes());
  ASSERT_TRUE(header.ok()) << header.error().message;
  const Metadata& m = header->metadata;
  EXPECT_EQ(m.integer("u8"), 200);
  EXPECT_EQ(m.integer("i8"), -5);
  EXPECT_EQ(m.integer("u16"), 65535);
  EXPECT_EQ(m.integer("i16"), -300);
  EXPECT_EQ(m.integer("u32"), 4000000000);
  EXPECT_EQ(m.integer("i32"), -7);
  EXPECT_EQ(m.number("f32"), 0.5);
  EXPECT_EQ(m.boolean("bool"), true);
  EXPECT_EQ(m.text("string"), std::string("a\0\xff", 3));
  EXPECT_EQ(m.integer("u64"), std::nullopt);  // does not fit
  EXPECT_EQ(std::get<uint64_t>(*m.find("u64")), UINT64_MAX);
  EXPECT_EQ(m.integer("i64"), INT64_MIN);
  EXPECT_EQ(m.number("f64"), 0.1);
  EXPECT_EQ(m.integer("small"), 9);
  EXPECT_EQ(m.integers("array"), (std::vector<int64_t>{1, 2, 65535}));
  EXPECT_EQ(m.numbers("reals"), (std::vector<double>{0.1, -2}));
  EXPECT_EQ(std::get<std::vector<bool>>(*m.find("flags")), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(m.texts("words"), (std::vector<std::string>{"", "x"}));
  EXPECT_EQ(m.numbers("none"), std::vector<double>{});
}

TEST(GgufHeader, TakesTensorsInAnyOrderWithGapsAndEmptyOnes) {
  GgufWriter file;
  file.tensors.push_back({.name = "late", .dims = {8}, .bytes = 32, .offset = 64});
  file.tensors.push_back({.name = "early", .dims = {8}, .bytes = 32, .offset = 0});
  file.tensors.push_back({.name = "empty", .dims = {0, 4}, .bytes = 32, .offset = 64});
  file.tensors.push_back({.name = "one", .dims = {}, .bytes = 4, .offset = 96});
  const auto header = read(file.bytes());
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_GT(header->tensors[0].offset, header->tensors[1].offset);
  EXPECT_EQ(header->tensors[2].bytes, 0u);
  EXPECT_EQ(header->tensors[2].elements(), 0);
  EXPECT_TRUE(header->tensors[3].shape.empty());
  EXPECT_EQ(header->tensors[3].elements(), 1);
  EXPECT_EQ(header->tensors[3].bytes, 4u);
}

TEST(GgufHeader, FollowsTheAlignmentOfTheFile) {
  GgufWriter file{.alignment = 256};
  file.u32("general.alignment", 256).floats("a", {3}).floats("b", {3});
  const auto header = read(file.bytes());
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->tensors[0].offset % 256, 0u);
  EXPECT_EQ(header->tensors[1].offset - header->tensors[0].offset, 256u);
}

// Blocks of Q4_K, and a type that moxie can size but not compute: opening shows it, loading refuses it.
TEST(GgufHeader, SizesBlockTypes) {
  GgufWriter file;
  file.tensors.push_back({.name = "q4", .dims = {512, 3}, .type = 12, .bytes = 3 * 2 * 144});
  file.tensors.push_back({.name = "iq2", .dims = {256, 2}, .type = 16, .bytes = 2 * 66});
  const auto header = read(file.bytes());
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->tensors[0].dtype, "Q4_K");
  EXPECT_EQ(header->tensors[0].bytes, 864u);
  EXPECT_EQ(header->tensors[1].dtype, "IQ2_XXS");
  EXPECT_EQ(header->tensors[1].bytes, 132u);
  ASSERT_NE(header->tensors[1].type, nullptr);
  EXPECT_FALSE(header->tensors[1].type->computable());
}

TEST(GgufHeader, DropsSpecialIdsOutsideTheVocabularyWithANotice) {
  GgufWriter file = small_gguf();
  file.u32("tokenizer.ggml.padding_token_id", 4).u32("tokenizer.ggml.seperator_token_id", 3);
  const auto header = read(file.bytes());
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->vocabulary.special_ids, (std::map<std::string, int64_t>{{"bos", 1}, {"separator", 3}}));
  ASSERT_EQ(header->notices.size(), 1u);
  EXPECT_EQ(header->notices[0], "tokenizer.ggml.padding_token_id is 4, outside the vocabulary of 4 tokens: ignored");
}

// Cut anywhere in header or data: an error that says so. Only padding behind the last tensor may go.
TEST(GgufHeader, CutAtEveryByteIsAnError) {
  for (const uint32_t version : {1u, 2u, 3u}) {
    const std::string bytes = small_gguf(version).bytes();
    const size_t last_byte = bytes.size() - 32 + 12;
    for (size_t length = 0; length < bytes.size(); ++length) {
      const auto header = read(std::string_view(bytes).substr(0, length));
      ASSERT_EQ(header.ok(), length >= last_byte) << length;
      if (header.ok()) continue;
      EXPECT_EQ(header.error().code, ErrorCode::corrupt) << length << header.error().message;
      EXPECT_THAT(header.error().message, HasSubstr("download")) << length;
    }
  }
}

TEST(GgufHeader, CutInTheDataNamesTheMissingBytes) {
  const std::string bytes = small_gguf().bytes();
  const auto header = read(std::string_view(bytes).substr(0, bytes.size() - 50));
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(
      header.error().message,
      fmt::format("m.gguf: expected {} bytes, found {}: 30 missing; the download is incomplete: resume it, or download "
                  "the file again",
                  bytes.size() - 20, bytes.size() - 50));
}

// Whatever a damaged byte does, it does not crash; that it is noticed is not promised (it may be a weight or a name).
TEST(GgufHeader, AnyDamagedByteIsSafe) {
  const std::string sound = small_gguf().bytes();
  std::mt19937 random(1);
  size_t refused = 0;
  for (size_t at = 0; at < sound.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7F, 0x80, 0xFF, static_cast<int>(random() & 0xFF)}) {
      std::string bytes = sound;
      bytes[at] = static_cast<char>(value);
      const auto header = read(bytes);
      if (header.ok()) continue;
      ++refused;
      EXPECT_THAT(header.error().message, HasSubstr("m.gguf: "));
    }
  }
  EXPECT_GT(refused, sound.size() / 2);
}

}  // namespace
}  // namespace moxie
