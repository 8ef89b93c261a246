#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "format/formats/safetensors_folder.h"
#include "format/formats/safetensors_header.h"
#include "format/test_files.h"

namespace moxie {
namespace {

using test::safetensors;
using test::small_safetensors;
using test::TempFolder;
using testing::HasSubstr;

Result<SafetensorsHeader> read(std::string_view bytes) {
  return read_safetensors_header(MemorySource("m.safetensors", bytes));
}

TEST(SafetensorsHeader, ReadsTensorsAndMetadata) {
  const std::string bytes = small_safetensors();
  const auto header = read(bytes);
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "a.weight");
  EXPECT_EQ(header->tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->tensors[0].type->name, "f32");
  EXPECT_EQ(header->tensors[0].offset, bytes.size() - 40);
  EXPECT_EQ(header->tensors[0].bytes, 24u);
  EXPECT_EQ(header->tensors[1].type->name, "bf16");
  EXPECT_EQ(header->tensors[1].offset, bytes.size() - 16);
}

TEST(SafetensorsHeader, TakesScalarsEmptyTensorsAnyOrderAndOtherDtypes) {
  const auto header = read(safetensors(
      R"({"last":{"dtype":"U8","shape":[3],"data_offsets":[11,14]},"empty":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},)"
      R"("scalar":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},"future":{"dtype":"F3_X","shape":[7],"data_offsets":[4,8]},)"
      R"("f6":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[8,11]}})",
      14));
  ASSERT_TRUE(header.ok()) << header.error().message;
  ASSERT_EQ(header->tensors.size(), 5u);
  std::vector<std::string> names;
  for (const TensorInfo& tensor : header->tensors) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"empty", "scalar", "future", "f6", "last"}));
  EXPECT_EQ(header->tensors[1].elements(), 1);
  EXPECT_EQ(header->tensors[2].dtype, "F3_X");
  EXPECT_EQ(header->tensors[2].type, nullptr);
  EXPECT_EQ(header->tensors[4].type, nullptr);
}

TEST(SafetensorsHeader, TakesAFileWithoutTensors) {
  const auto header = read(safetensors("{}", 0));
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_TRUE(header->tensors.empty());
}

TEST(SafetensorsHeader, CutAtEveryByteIsAnError) {
  const std::string bytes = small_safetensors();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto header = read(std::string_view(bytes).substr(0, length));
    ASSERT_FALSE(header.ok()) << length;
    EXPECT_EQ(header.error().code, ErrorCode::corrupt) << length;
    EXPECT_THAT(header.error().message, HasSubstr("download")) << length;
  }
}

TEST(SafetensorsHeader, AnyDamagedByteIsSafe) {
  const std::string sound = small_safetensors();
  std::mt19937 random(1);
  size_t refused = 0;
  for (size_t at = 0; at < sound.size(); ++at) {
    for (const int value : {0x00, 0x22, 0x7B, 0x80, 0xFF, static_cast<int>(random() & 0xFF)}) {
      std::string bytes = sound;
      bytes[at] = static_cast<char>(value);
      refused += !read(bytes).ok();
    }
  }
  EXPECT_GT(refused, sound.size() * 2);
}

// Two sound files of one tensor each.
std::string shard(std::string_view name) {
  return safetensors(fmt::format(R"({{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}})", name), 8);
}

size_t tensors_of(const std::string& path) {
  const auto files = open_weights(path);
  EXPECT_TRUE(files.ok()) << files.error().message;
  return files.ok() ? files->tensors.size() : 0;
}

TEST(SafetensorsFolder, ShardsWithoutAnIndexAreFoundByTheirNames) {
  const TempFolder at;
  at.write("config.json", "{}");
  at.write("model-00001-of-00002.safetensors", shard("a"));
  at.write("model-00002-of-00002.safetensors", shard("b"));
  EXPECT_EQ(tensors_of(at.path()), 2u);
  EXPECT_EQ(tensors_of(at / "model-00002-of-00002.safetensors"), 2u);
}

TEST(SafetensorsFolder, TheIndexIsTrusted) {
  const TempFolder at;
  at.write("config.json", "{}");
  at.write("model.safetensors.index.json", R"({"weight_map":{"a":"x.safetensors","b.weight":"y.safetensors"}})");
  at.write("x.safetensors", shard("a"));
  at.write("y.safetensors", small_safetensors());
  const auto files = open_weights(at.path());
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->tensors.size(), 2u);
  EXPECT_EQ(files->find("a.weight"), nullptr);
  EXPECT_EQ(files->notices, std::vector<std::string>{"1 tensors are in no entry of the index: ignored"});
}

TEST(SafetensorsFolder, ModelFilesGoBeforeVariantsAndOtherLayouts) {
  const TempFolder at;
  at.write("config.json", "{}");
  at.write("model.safetensors", shard("a"));
  at.write("model.fp16.safetensors", small_safetensors());
  at.write("consolidated.safetensors", small_safetensors());
  at.write("adapter_model.safetensors", small_safetensors());
  EXPECT_EQ(tensors_of(at.path()), 1u);
  EXPECT_EQ(tensors_of(at / "model.fp16.safetensors"), 2u);
}

TEST(SafetensorsFolder, ASingleFileOfAnotherNameIsTheModel) {
  const TempFolder at;
  at.write("config.json", "{}");
  at.write("weights.safetensors", shard("a"));
  EXPECT_EQ(tensors_of(at.path()), 1u);
}

}  // namespace
}  // namespace moxie
