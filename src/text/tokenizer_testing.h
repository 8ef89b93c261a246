// What the tokenizer tests share: the committed tokenizers and vectors.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/tokenizer_source.h"
#include "support/paths.h"
#include "text/tokenizer.h"

namespace moxie {

inline std::string tokenizer_data(const std::string& name) {
  return (source_dir() + "/tests/data/tokenizers/") + name;
}

inline std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A source with these files of a folder under tests/data/tokenizers.
inline TokenizerSource files_source(const std::string& folder, const std::vector<std::string>& names) {
  TokenizerSource source;
  for (const std::string& name : names) source.files[name] = read_whole(tokenizer_data(folder + "/" + name));
  return source;
}

inline std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerSource& source) {
  auto made = Tokenizer::create(source);
  if (!made.ok()) {
    ADD_FAILURE() << made.error().message;
    return nullptr;
  }
  return std::move(made).value();
}

inline std::vector<nlohmann::json> read_json_lines(const std::string& path) {
  std::vector<nlohmann::json> rows;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

inline const Tokenizer& mixtral() {
  static const auto tokenizer =
      make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.model", "tokenizer_config.json"}));
  return *tokenizer;
}

}  // namespace moxie
