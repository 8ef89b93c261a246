#include "convert/importance.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace moxie {
namespace {

namespace fs = std::filesystem;

template <typename T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& to, const std::string& text) {
  put(to, static_cast<int32_t>(text.size()));
  to += text;
}

// One entry of the older form: mean squares times calls.
std::string older_entry(const std::string& name, int32_t calls, const std::vector<float>& values) {
  std::string out;
  put_text(out, name);
  put(out, calls);
  put(out, static_cast<int32_t>(values.size()));
  for (const float value : values) put(out, value);
  return out;
}

class Importance : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("moxie-importance-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string at(const char* name) const { return (folder_ / name).string(); }
  std::string written(const std::string& bytes) const {
    std::ofstream(folder_ / "file.dat", std::ios::binary) << bytes;
    return at("file.dat");
  }
  static ImportanceMatrix example() {
    ImportanceMatrix matrix;
    matrix.entries["blk.0.attn_q.weight"] = {.sums = {8, 2, 4}, .counts = {4}};
    matrix.entries["blk.0.ffn_up_exps.weight"] = {.sums = {6, 3, 0, 0, 10, 5}, .counts = {3, 0, 5}};
    matrix.datasets = {"stories.txt"};
    matrix.chunks = 2;
    matrix.chunk_tokens = 4;
    return matrix;
  }

  fs::path folder_;
};

TEST_F(Importance, ComesBackFromTheFormOfToday) {
  const ImportanceMatrix matrix = example();
  ASSERT_TRUE(write_importance(matrix, at("a.gguf"), false).ok());
  const auto read = read_importance(at("a.gguf"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->entries.size(), matrix.entries.size());
  for (const auto& [name, entry] : matrix.entries) {
    EXPECT_EQ(read->entries.at(name).sums, entry.sums) << name;
    EXPECT_EQ(read->entries.at(name).counts, entry.counts) << name;
  }
  EXPECT_EQ(read->datasets, matrix.datasets);
  EXPECT_EQ(read->chunks, 2u);
  EXPECT_EQ(read->chunk_tokens, 4u);
  EXPECT_FALSE(write_importance(matrix, at("a.gguf"), false).ok()) << "nothing is overwritten unless asked for";
}

// The older form keeps means alone: weights come back, counts do not.
TEST_F(Importance, TheOlderFormKeepsTheWeights) {
  const ImportanceMatrix matrix = example();
  ASSERT_TRUE(write_importance(matrix, at("a.dat"), false).ok());
  const auto read = read_importance(at("a.dat"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  for (const auto& [name, matrices] : {std::pair{"blk.0.attn_q.weight", 1}, {"blk.0.ffn_up_exps.weight", 3}}) {
    const int64_t columns = std::string(name).ends_with("q.weight") ? 3 : 2;
    EXPECT_EQ(read->weights(name, matrices, columns).value(), matrix.weights(name, matrices, columns).value()) << name;
  }
  EXPECT_EQ(read->chunks, 2u);
  EXPECT_EQ(read->datasets, matrix.datasets);
}

TEST_F(Importance, ReadsTheOlderFormAsItWasWritten) {
  std::string file;
  put(file, int32_t{2});
  file += older_entry("blk.0.attn_q.weight", 4, {8, 2, 4});
  file += older_entry("blk.0.ffn_up.1.weight", 2, {6, 3});
  const auto without_end = read_importance(written(file));
  ASSERT_TRUE(without_end.ok()) << without_end.error().message;
  EXPECT_EQ(without_end->weights("blk.0.attn_q.weight", 1, 3).value(), (std::vector<float>{2, 0.5f, 1}));
  put(file, int32_t{17});
  put_text(file, "wiki.txt");
  const auto whole = read_importance(written(file));
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->chunks, 17u);
  EXPECT_EQ(whole->datasets, std::vector<std::string>{"wiki.txt"});
}

TEST_F(Importance, ExpertsAreFoundWhicheverWayTheyWereMeasured) {
  const ImportanceMatrix merged = example();
  EXPECT_EQ(merged.weights("blk.0.ffn_up_exps.weight", 3, 2).value(), (std::vector<float>{2, 1, 1, 1, 2, 1}))
      << "what no token went through counts alike";
  EXPECT_EQ(merged.weights("blk.0.ffn_up.2.weight", 1, 2).value(), (std::vector<float>{2, 1}));
  ImportanceMatrix single;
  single.entries["blk.0.ffn_up.0.weight"] = {.sums = {6, 3}, .counts = {3}};
  single.entries["blk.0.ffn_up.2.weight"] = {.sums = {10, 5}, .counts = {5}};
  EXPECT_EQ(single.weights("blk.0.ffn_up_exps.weight", 3, 2).value(), (std::vector<float>{2, 1, 1, 1, 2, 1}));
  EXPECT_TRUE(single.weights("blk.1.ffn_up_exps.weight", 3, 2).value().empty());
}

TEST_F(Importance, OfAnotherModelIsRefused) {
  const auto misfit = example().weights("blk.0.attn_q.weight", 1, 64);
  ASSERT_FALSE(misfit.ok());
  EXPECT_EQ(misfit.error().code, ErrorCode::invalid_argument);
  ImportanceMatrix other;
  other.entries["blk.0.attn_q.weight"] = {.sums = {1, 1}, .counts = {1}};
  EXPECT_FALSE(example().add(other).ok());
}

TEST_F(Importance, SumsAddUp) {
  ImportanceMatrix both = example();
  ASSERT_TRUE(both.add(example()).ok());
  EXPECT_EQ(both.entries.at("blk.0.attn_q.weight").sums, (std::vector<float>{16, 4, 8}));
  EXPECT_EQ(both.entries.at("blk.0.ffn_up_exps.weight").counts, (std::vector<float>{6, 0, 10}));
  EXPECT_EQ(both.chunks, 4u);
  EXPECT_EQ(both.datasets.size(), 2u);
}

// It counts chunks and has one count for all experts.
TEST_F(Importance, TheOlderFormAddsUpLikeTheOther) {
  ASSERT_TRUE(write_importance(example(), at("a.dat"), false).ok());
  const auto older = read_importance(at("a.dat"));
  ASSERT_TRUE(older.ok()) << older.error().message;
  ImportanceMatrix both = example();
  const auto added = both.add(*older);
  ASSERT_TRUE(added.ok()) << added.error().message;
  for (const auto& [name, matrices] : {std::pair{"blk.0.attn_q.weight", 1}, {"blk.0.ffn_up_exps.weight", 3}}) {
    const int64_t columns = std::string(name).ends_with("q.weight") ? 3 : 2;
    EXPECT_EQ(both.weights(name, matrices, columns).value(), example().weights(name, matrices, columns).value())
        << name;
  }
  EXPECT_EQ(both.entries.at("blk.0.attn_q.weight").counts, std::vector<float>{8})
      << "a text counts as much whichever form it was kept in";
}

TEST_F(Importance, DamagedFilesAreRefusedByName) {
  std::string whole;
  put(whole, int32_t{1});
  whole += older_entry("blk.0.attn_q.weight", 4, {8, 2, 4});
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto read = read_importance(written(whole.substr(0, bytes)));
    ASSERT_FALSE(read.ok()) << bytes;
    EXPECT_NE(read.error().message.find("file.dat"), std::string::npos) << read.error().message;
  }
  std::string many;
  put(many, int32_t{1});
  put_text(many, "blk.0.attn_q.weight");
  put(many, int32_t{1});
  put(many, int32_t{INT32_MAX});  // values that are not there
  EXPECT_FALSE(read_importance(written(many)).ok());
  for (const float odd : {NAN, INFINITY, -1.0f}) {
    std::string file;
    put(file, int32_t{1});
    file += older_entry("blk.0.attn_q.weight", 4, {8, odd, 4});
    EXPECT_FALSE(read_importance(written(file)).ok()) << odd;
  }
  ASSERT_TRUE(write_importance(example(), at("a.gguf"), false).ok());
  const auto size = fs::file_size(at("a.gguf"));
  for (uint64_t bytes = 1; bytes < size; bytes += 7) {
    fs::copy_file(at("a.gguf"), at("cut.gguf"), fs::copy_options::overwrite_existing);
    fs::resize_file(at("cut.gguf"), size - bytes);
    EXPECT_FALSE(bytes > 32 && read_importance(at("cut.gguf")).ok()) << bytes;
  }
}

}  // namespace
}  // namespace moxie
