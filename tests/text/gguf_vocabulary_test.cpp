// Vocabularies read from GGUF files: llama.cpp's own test texts and ids, and Mixtral's vocabulary as converters write
// it.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "format/weight_file.h"
#include "support/paths.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace moxie {
namespace {

using Ids = std::vector<int32_t>;

std::string data(const std::string& name) {
  return (source_dir() + "/tests/data/tokenizers/gguf-vocab/") + name;
}

std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> read_texts(const std::string& path) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string all = read_whole(path);
  std::vector<std::string> texts;
  size_t at = 0;
  for (size_t end = all.find(kSeparator); end != std::string::npos; end = all.find(kSeparator, at)) {
    texts.push_back(all.substr(at, end - at));
    at = end + kSeparator.size();
  }
  texts.push_back(all.substr(at));
  return texts;
}

// A line a text; the last text is empty, and so is the line behind the last newline.
std::vector<Ids> read_ids(const std::string& path) {
  std::vector<Ids> rows(1);
  std::istringstream in(read_whole(path));
  for (std::string line; std::getline(in, line); rows.emplace_back()) {
    std::istringstream numbers(line);
    for (int32_t id; numbers >> id;) rows.back().push_back(id);
  }
  return rows;
}

class GgufVocabularyFile : public testing::TestWithParam<const char*> {};

TEST_P(GgufVocabularyFile, GivesTheIdsOfLlamaCpp) {
  const std::string name = std::string("ggml-vocab-") + GetParam() + ".gguf";
  auto files = open_weights(data(name));
  ASSERT_TRUE(files.ok()) << files.error().message;
  auto tokenizer = Tokenizer::create(files->tokenizer);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const auto texts = read_texts(data(name + ".inp"));
  const auto rows = read_ids(data(name + ".out"));
  ASSERT_EQ(texts.size(), 47u);
  ASSERT_EQ(rows.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ((*tokenizer)->encode(texts[i], {}), rows[i]) << i << ": " << texts[i];
    EXPECT_EQ(decode(**tokenizer, rows[i], {.at_start_of_text = true}), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GgufVocabularyFile, testing::Values("phi-3", "gpt-2"),
                         [](const auto& info) { return info.param == std::string("phi-3") ? "phi3" : "gpt2"; });

}  // namespace
}  // namespace moxie
