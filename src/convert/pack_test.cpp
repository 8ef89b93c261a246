#include "convert/pack.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "format/formats/gguf_pack.h"
#include "model/model.h"
#include "support/paths.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Pack : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "moxie-pack-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string golden(const std::string& name) { return source_dir() + "/tests/data/golden/" + name; }
  std::string path(const std::string& name = "pack.gguf") const { return (folder_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(folder_ / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path(name);
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  Result<PackSummary> pack(const std::string& source, const std::string& to, const PackOptions& options = {}) {
    auto files = open_weights(source);
    if (!files.ok()) return std::move(files).error();
    Log log([this](LogLevel, std::string_view text) { said_ += std::string(text) + "\n"; });
    return write_pack(*files, to, options, log);
  }

  fs::path folder_;
  std::string said_;
};

TEST_F(Pack, RecordsAreAlignedWholeAndInOrder) {
  for (const char* name : {"mixtral/merged.gguf", "mixtral/split.gguf", "mixtral/q8_0.gguf", "qwen2_moe/merged.gguf",
                           "mixtral-shards", "mixtral-stacked", "qwen2_moe-sparse-step", "olmoe/model.safetensors"}) {
    SCOPED_TRACE(name);
    const std::string to = path(std::string(std::to_string(entries())));
    const auto summary = pack(golden(name), to);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    const auto source = open_weights(golden(name)), packed = open_weights(to);
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    EXPECT_EQ(packed->pack_layout, 0);
    EXPECT_EQ(packed->files.size(), 1u);
    Log log;
    const auto from = plan_model(*source, {}, log), into = plan_model(*packed, {}, log);
    ASSERT_TRUE(into.ok()) << into.error().message;
    EXPECT_EQ(into->experts.layout, "packed");
    std::vector<std::string> sources;
    for (const WeightPart& part : source->files) sources.push_back(contents(part.path));
    const std::string bytes = contents(to);
    const auto same = [&](const ProjectionRecord& a, const ProjectionRecord& b) {
      return a.bytes() == b.bytes() && a.rows == b.rows && a.columns == b.columns &&
             a.tensor->dtype == b.tensor->dtype &&
             std::memcmp(sources[static_cast<size_t>(a.tensor->file)].data() + a.offset(), bytes.data() + b.offset(),
                         a.bytes()) == 0;
    };
    uint64_t end = 0, last_dense = 0;
    int64_t experts = 0;
    std::set<const TensorInfo*> in_records;
    ASSERT_EQ(from->experts.experts.size(), into->experts.experts.size());
    for (size_t layer = 0; layer < from->experts.experts.size(); ++layer) {
      ASSERT_EQ(from->experts.experts[layer].size(), into->experts.experts[layer].size());
      for (size_t id = 0; id < from->experts.experts[layer].size(); ++id, ++experts) {
        const ExpertRecord &a = from->experts.experts[layer][id], &b = into->experts.experts[layer][id];
        EXPECT_TRUE(same(a.gate, b.gate) && same(a.up, b.up) && same(a.down, b.down)) << layer << ":" << id;
        EXPECT_EQ(b.gate.offset() % 4096, 0u);
        EXPECT_TRUE(end == 0 || b.gate.offset() == end) << "one record behind the other";
        const auto behind = [](const ProjectionRecord& p) { return (p.offset() + p.bytes() + 4095) / 4096 * 4096; };
        EXPECT_EQ(b.up.offset(), behind(b.gate));
        EXPECT_EQ(b.down.offset(), behind(b.up));
        end = behind(b.down);
        for (const ProjectionRecord* p : {&b.gate, &b.up, &b.down}) in_records.insert(p->tensor);
      }
    }
    EXPECT_EQ(experts, summary->experts);
    EXPECT_EQ(end, bytes.size());
    for (const TensorInfo& tensor : packed->tensors) {
      if (in_records.contains(&tensor)) continue;
      EXPECT_EQ(tensor.offset % 4096, 0u);
      last_dense = std::max(last_dense, tensor.offset);
      const TensorInfo* before = source->find(tensor.name);
      ASSERT_NE(before, nullptr) << tensor.name;
      EXPECT_EQ(before->shape, tensor.shape);
      ASSERT_EQ(before->bytes, tensor.bytes);
      EXPECT_EQ(std::memcmp(sources[static_cast<size_t>(before->file)].data() + before->offset,
                            bytes.data() + tensor.offset, tensor.bytes),
                0);
    }
    EXPECT_EQ(packed->tensors.size(), in_records.size() + static_cast<size_t>(summary->dense_tensors));
    for (const TensorInfo* tensor : in_records) EXPECT_GT(tensor->offset, last_dense);
    EXPECT_TRUE(verify_checksums(*packed).ok());
  }
}

TEST_F(Pack, EverythingThatTheSourceSaysComesAlong) {
  for (const std::string& name :
       {golden("qwen2_moe/merged.gguf"), golden("mixtral-shards"), golden("llama/f32-00002-of-00002.gguf"),
        source_dir() + "/tests/data/models/stories260k-moe8"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(pack(name, path(), {.overwrite = true}).ok());
    const auto source = open_weights(name), packed = open_weights(path());
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    EXPECT_EQ(source->scheme, packed->scheme);
    EXPECT_EQ(source->config, packed->config);
    for (const auto& [key, value] : source->metadata.all()) {
      if (key.starts_with("split.") || key == "general.alignment") continue;
      const MetadataValue* found = packed->metadata.find(key);
      ASSERT_NE(found, nullptr) << key;
      EXPECT_TRUE(*found == value) << key;
    }
    for (const auto& [key, value] : packed->metadata.all()) {
      EXPECT_TRUE(source->metadata.has(key) || key.starts_with("moxie.pack.") || key == "general.alignment") << key;
    }
    EXPECT_EQ(source->tokenizer.files, packed->tokenizer.files);
    EXPECT_EQ(source->tokenizer.chat_templates, packed->tokenizer.chat_templates);
    EXPECT_EQ(source->tokenizer.configured_vocab_size, packed->tokenizer.configured_vocab_size);
    EXPECT_EQ(source->tokenizer.configured_eos_ids, packed->tokenizer.configured_eos_ids);
    ASSERT_EQ(source->tokenizer.gguf.has_value(), packed->tokenizer.gguf.has_value());
    // A pack of a pack is the same file.
    ASSERT_TRUE(pack(path(), path("again.gguf"), {.overwrite = true}).ok());
    EXPECT_TRUE(contents(path()) == contents(path("again.gguf")));
  }
}

TEST_F(Pack, EqualWeightsHaveOneFingerprint) {
  const auto merged = pack(golden("mixtral/merged.gguf"), path("a")),
             split = pack(golden("mixtral/split.gguf"), path("b"));
  const auto other = pack(golden("mixtral/q8_0.gguf"), path("c"));
  ASSERT_TRUE(merged.ok() && split.ok() && other.ok());
  EXPECT_EQ(merged->fingerprint, split->fingerprint);
  EXPECT_NE(merged->fingerprint, other->fingerprint);
}

TEST_F(Pack, EveryCutIsNoticed) {
  ASSERT_TRUE(pack(golden("mixtral/merged.gguf"), path()).ok());
  const std::string whole = contents(path());
  for (size_t length = 0; length < whole.size(); length += 1 + length / 3) {
    const auto files = open_weights(write("cut", whole.substr(0, length)));
    ASSERT_FALSE(files.ok()) << length;
    EXPECT_FALSE(files.error().message.empty());
  }
}

TEST_F(Pack, EveryWrongByteOfTheHeaderIsNoticed) {
  ASSERT_TRUE(pack(golden("mixtral-stacked"), path()).ok());
  const auto source = FileSource::open(path());
  const auto header = read_gguf_header(*source);
  ASSERT_TRUE(header.ok());
  ASSERT_GT(header->data_start, 1000u);
  std::string bytes = contents(path());
  for (size_t at = 0; at < header->data_start; at += at < 600 ? 1 : 37) {
    const char flipped = static_cast<char>(at % 2 == 0 ? 1 : 128);
    bytes[at] = static_cast<char>(bytes[at] ^ flipped);
    EXPECT_FALSE(open_weights(write("flipped", bytes)).ok()) << at;
    bytes[at] = static_cast<char>(bytes[at] ^ flipped);
  }
  EXPECT_TRUE(open_weights(write("flipped", bytes)).ok());
}

TEST_F(Pack, WrongBytesOfTensorsAreNamed) {
  ASSERT_TRUE(pack(golden("mixtral-shards"), path()).ok());
  const auto files = open_weights(path());
  ASSERT_TRUE(files.ok());
  std::string bytes = contents(path());
  const auto expect = [&](const char* tensor, const std::string& words) {
    const TensorInfo* info = files->find(tensor);
    ASSERT_NE(info, nullptr);
    bytes[info->offset + info->bytes - 1] ^= 1;
    const auto damaged = open_weights(write("damaged", bytes));
    ASSERT_TRUE(damaged.ok()) << "headers only";
    const auto verified = verify_checksums(*damaged);
    ASSERT_FALSE(verified.ok());
    EXPECT_EQ(verified.error().code, ErrorCode::corrupt);
    EXPECT_NE(verified.error().message.find(words), std::string::npos) << verified.error().message;
    const auto again = pack(path("damaged"), path("again"));
    ASSERT_FALSE(again.ok()) << "damage is not packed anew";
    EXPECT_EQ(again.error().code, ErrorCode::corrupt);
  };
  expect("model.layers.1.block_sparse_moe.experts.6.w2.weight",
         "1 of 65 tensors do not have their checksums: expert 6 of layer 1 (");
  expect("model.norm.weight", "2 of 65 tensors do not have their checksums: model.norm.weight, expert 6 of layer 1 (");
  const auto plain = open_weights(golden("mixtral-shards"));
  EXPECT_EQ(verify_checksums(*plain).error().code, ErrorCode::unsupported);
}

TEST_F(Pack, PlacesThatMustNotBeOverwritten) {
  const std::string source = path("source.gguf");
  fs::copy_file(golden("mixtral/merged.gguf"), source);
  fs::create_symlink(source, folder_ / "link.gguf");
  for (const std::string& itself : {source, path("link.gguf")}) {
    const auto refused = pack(source, itself, {.overwrite = true});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(refused.error().message.find("is the model itself"), std::string::npos) << refused.error().message;
  }
  EXPECT_TRUE(contents(source) == contents(golden("mixtral/merged.gguf")));
  write("taken", "something");
  EXPECT_EQ(pack(source, path("taken")).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(contents(path("taken")), "something");
  ASSERT_TRUE(pack(source, path("taken"), {.overwrite = true}).ok());
  EXPECT_TRUE(open_weights(path("taken")).ok());
}

TEST_F(Pack, CancellingLeavesNothing) {
  int calls = 0;
  const auto given_up = pack(golden("mixtral/merged.gguf"), path(), {.on_progress = [&](uint64_t done, uint64_t total) {
                               EXPECT_LE(done, total);
                               return ++calls < 5;
                             }});
  ASSERT_FALSE(given_up.ok());
  EXPECT_EQ(given_up.error().code, ErrorCode::cancelled);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Pack, ModelsThatCannotBeRunAreRefused) {
  const auto unknown = pack(golden("mixtral/merged.gguf"), path(), {.arch = "qwen2_moe"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace moxie
