#include "format/formats/gguf_pack.h"

#include <gtest/gtest.h>

#include <functional>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::GgufWriter;
using test::small_pack;
using test::TempFolder;

// Puts the right checksum in.
std::string sealed(std::string bytes) {
  const MemorySource source("pack", bytes);
  const auto header = read_gguf_header(source);
  if (!header.ok()) return bytes;
  for (const GgufKeyPlace& place : header->keys) {
    if (place.key != pack_keys::kHeader || place.end - place.value != 12 || bytes[place.value] == 8)
      continue;  // 8: text
    const uint64_t checksum = pack_header_checksum(source, header->data_start, place.value + 4).value();
    std::memcpy(bytes.data() + place.value + 4, &checksum, sizeof checksum);
  }
  return bytes;
}

Result<WeightFiles> opened(const GgufWriter& file, bool seal = true) {
  const TempFolder folder;
  return open_weights(folder.write("pack.gguf", seal ? sealed(file.bytes()) : file.bytes()));
}

// The same file with one key of another value.
GgufWriter with(GgufWriter file, std::string_view key, const std::function<void(GgufWriter&)>& put) {
  std::string name;
  test::put<uint64_t>(name, key.size());
  name += key;
  std::erase_if(file.keys, [&](const std::string& encoded) { return encoded.starts_with(name); });
  put(file);
  return file;
}

TEST(GgufPack, GgufNamesStayGguf) {
  const auto files = opened(small_pack("gguf"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->format, "pack (layout 0, GGUF v3)");
  EXPECT_EQ(files->pack_layout, 0);
  EXPECT_EQ(files->scheme, NameScheme::gguf);
  EXPECT_EQ(files->tensors[0].checksum, UINT64_MAX);
  EXPECT_EQ(files->tensors[1].checksum, 5u);
}

TEST(GgufPack, HuggingFaceFilesComeBack) {
  const auto files = opened(small_pack("hugging_face"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->scheme, NameScheme::hugging_face);
  EXPECT_EQ(files->config, R"({"model_type":"llama","vocab_size":7})");
  EXPECT_EQ(files->metadata.text("model_type"), "llama");
  EXPECT_FALSE(files->metadata.has("general.architecture"));
  EXPECT_EQ(files->tokenizer.files.size(), 2u);
  EXPECT_EQ(files->tokenizer.files.at("tokenizer.json"), "{}");
  EXPECT_EQ(files->tokenizer.chat_templates.at("tool"), "{{ x }}");
  EXPECT_EQ(files->tokenizer.configured_vocab_size, 7);
  EXPECT_EQ(files->tokenizer.configured_eos_ids, (std::vector<int64_t>{2, 3}));
}

TEST(GgufPack, UnknownLayoutsAreRefusedByName) {
  const auto files =
      opened(with(small_pack("gguf"), pack_keys::kLayout, [](GgufWriter& f) { f.u32(pack_keys::kLayout, 7); }));
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().code, ErrorCode::unsupported);
  EXPECT_NE(files.error().message.find("layout 7"), std::string::npos) << files.error().message;
}

struct Wrong {
  std::string_view key;
  std::function<void(GgufWriter&)> put;
  std::string_view says;
};

TEST(GgufPack, HeadersThatSayTooLittleOrTooMuch) {
  const Wrong all[] = {
      {pack_keys::kLayout, [](GgufWriter& f) { f.text(pack_keys::kLayout, "0"); }, "no whole number"},
      {pack_keys::kLayout, [](GgufWriter&) {}, "is missing"},
      {pack_keys::kNames, [](GgufWriter&) {}, "neither gguf nor hugging_face"},
      {pack_keys::kNames, [](GgufWriter& f) { f.text(pack_keys::kNames, "mlx\x01"); }, "neither gguf nor hugging_face"},
      {pack_keys::kChecksums, [](GgufWriter&) {}, "has 0 entries for 2 tensors"},
      {pack_keys::kChecksums,
       [](GgufWriter& f) {
         f.numbers<int64_t>(pack_keys::kChecksums, 11, {1, 2, 3});
       },
       "has 3 entries for 2 tensors"},
      {pack_keys::kChecksums, [](GgufWriter& f) { f.text(pack_keys::kChecksums, "1"); }, "has 0 entries for 2 tensors"},
      {pack_keys::kHeader, [](GgufWriter&) {}, "no number of 64 bits"},
      {pack_keys::kHeader, [](GgufWriter& f) { f.u32(pack_keys::kHeader, 5); }, "no number of 64 bits"},
      {pack_keys::kHeader, [](GgufWriter& f) { f.number<double>(pack_keys::kHeader, 12, 1.0); },
       "no number of 64 bits"},
      {pack_keys::kHeader, [](GgufWriter& f) { f.text(pack_keys::kHeader, "abcd"); }, "no number of 64 bits"},
      {"general.alignment", [](GgufWriter& f) { f.u32("general.alignment", 1024); }, "general.alignment 4096"},
      {"moxie.pack.file.config.json", [](GgufWriter&) {}, "config.json is missing"},
      {"moxie.pack.file.config.json", [](GgufWriter& f) { f.text("moxie.pack.file.config.json", "{"); }, "config.json"},
      {"moxie.pack.file.generation_config.json",
       [](GgufWriter& f) { f.text("moxie.pack.file.generation_config.json", "["); }, "generation_config.json"},
      {"token", [](GgufWriter& f) { f.tensors.clear(); }, "without tensors"},
      {"split", [](GgufWriter& f) { f.split(0, 3, 2); }, "one file"},
  };
  for (const Wrong& wrong : all) {
    const auto files = opened(with(small_pack("hugging_face"), wrong.key, wrong.put));
    ASSERT_FALSE(files.ok()) << wrong.says;
    EXPECT_EQ(files.error().code, ErrorCode::corrupt) << files.error().message;
    EXPECT_NE(files.error().message.find(wrong.says), std::string::npos) << files.error().message;
    EXPECT_NE(files.error().message.find("pack.gguf"), std::string::npos) << files.error().message;
  }
}

TEST(GgufPack, AHeaderWithAnotherChecksumIsDamaged) {
  const auto files = opened(small_pack("gguf"), false);
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().code, ErrorCode::corrupt);
  EXPECT_NE(files.error().message.find("the checksum of its header is 0000000000000000, but its bytes give "),
            std::string::npos)
      << files.error().message;
}

}  // namespace
}  // namespace moxie
