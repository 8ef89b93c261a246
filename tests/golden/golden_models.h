// The golden models under tests/data/golden, as their README describes them.
#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "moxie/engine.h"
#include "support/open_engine.h"
#include "support/paths.h"

namespace moxie::golden {

namespace fs = std::filesystem;

inline fs::path data_folder() {
  return fs::path(source_dir()) / "tests" / "data";
}

inline fs::path goldens() {
  return data_folder() / "golden";
}

// (tokens, vocabulary) of a .npy file, version 1.0, '<f4', C order.
struct Logits {
  int64_t tokens = 0, vocabulary = 0;
  std::vector<float> values;
};

inline Logits read_npy(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  Logits logits;
  if (bytes.size() < 10 || bytes.compare(1, 5, "NUMPY") != 0) return logits;
  const size_t header = 10 + static_cast<uint8_t>(bytes[8]) + 256 * static_cast<uint8_t>(bytes[9]);
  const std::string text = bytes.substr(10, header - 10);
  if (text.find("'<f4'") == std::string::npos || text.find("False") == std::string::npos) return logits;
  long long rows = 0, columns = 0;
  if (std::sscanf(text.c_str() + text.find('('), "(%lld, %lld)", &rows, &columns) != 2) return logits;
  logits.tokens = rows;
  logits.vocabulary = columns;
  logits.values.resize(static_cast<size_t>(rows * columns));
  if (bytes.size() != header + logits.values.size() * 4) return {};
  std::memcpy(logits.values.data(), bytes.data() + header, logits.values.size() * 4);
  return logits;
}

struct Variant {
  std::string name;  // "mixtral/merged.gguf", for messages
  fs::path path, logits;
  std::string type, experts;
};

inline bool is_one_of(const std::string& value, std::initializer_list<const char*> values) {
  return std::any_of(values.begin(), values.end(), [&](const char* each) { return value == each; });
}

// Are its matrices in several parts each (quantized safetensors), or transposed?
inline bool has_parts(const Variant& variant) {
  return is_one_of(variant.type, {"mlx", "gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "gpt-oss"}) ||
         is_one_of(variant.name, {"gpt_oss-transposed/.", "mixtral-rows/consolidated.safetensors"});
}

// Does GGUF have a form for all of its matrices, without loss?
inline bool has_gguf_form(const Variant& variant) {
  return !has_parts(variant) ||
         is_one_of(variant.name, {"mixtral-mlx-mxfp4/.", "gpt_oss-published/.", "gpt_oss-transposed/.",
                                  "mixtral-rows/consolidated.safetensors"});
}

struct Model {
  std::string name;
  std::vector<int32_t> prompt_ids, greedy_ids;
  double logit_range = 0;
  std::vector<Variant> variants;
};

inline void PrintTo(const Model& model, std::ostream* out) {
  *out << model.name;
}

// "." in a folder that also holds GGUF forms: the safetensors, named so that nothing is left to choose.
inline fs::path variant_path(const fs::path& folder, const std::string& path) {
  if (path != ".") return folder / path;
  const fs::path index = folder / "model.safetensors.index.json";
  return fs::exists(index) ? index : folder / "model.safetensors";
}

inline std::vector<Model> all_models() {
  std::vector<Model> models;
  for (const auto& entry : fs::directory_iterator(data_folder() / "golden")) {
    if (!fs::exists(entry.path() / "golden.json")) continue;
    std::ifstream in(entry.path() / "golden.json");
    const auto json = nlohmann::json::parse(in);
    Model model{.name = entry.path().filename().string(),
                .prompt_ids = json.at("prompt_ids"),
                .greedy_ids = json.at("greedy_ids"),
                .logit_range = json.at("logit_range")};
    for (const auto& v : json.at("variants")) {
      const std::string path = v.at("path");
      model.variants.push_back({.name = model.name + "/" + path,
                                .path = variant_path(entry.path(), path),
                                .logits = entry.path() / std::string(v.at("logits")),
                                .type = v.at("type"),
                                .experts = v.at("experts")});
    }
    models.push_back(std::move(model));
  }
  std::sort(models.begin(), models.end(), [](const Model& a, const Model& b) { return a.name < b.name; });
  return models;
}

// The 24 stories of tests/data/models/tinystories-valid-24.txt, white space around them removed.
inline std::vector<std::string> held_out_documents() {
  std::ifstream in(data_folder() / "models" / "tinystories-valid-24.txt");
  std::vector<std::string> all;
  std::string document;
  for (std::string line; std::getline(in, line);) {
    if (line != "<|endoftext|>") {
      document += line + "\n";
      continue;
    }
    const size_t first = document.find_first_not_of(" \n\t"), last = document.find_last_not_of(" \n\t");
    all.push_back(document.substr(first, last - first + 1));
    document.clear();
  }
  return all;
}

// The largest difference of two rows of logits; infinity where their lengths differ.
inline double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::fabs(double{a[i]} - double{b[i]}));
  return largest;
}

// False for empty ones: nothing was computed then.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Logits of every position, (ids, vocabulary), as one flat vector.
inline Result<std::vector<float>> logits_of(const EngineOptions& options, const std::vector<int32_t>& ids) {
  auto engine = test::open_engine(options);
  if (!engine.ok()) return std::move(engine).error();
  auto sequence = (*engine)->new_sequence();
  if (!sequence.ok()) return std::move(sequence).error();
  std::vector<float> all;
  auto done = (*sequence)->append(
      ids, [&](int64_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
  if (!done.ok()) return std::move(done).error();
  return all;
}

inline Result<std::vector<int32_t>> greedy(const EngineOptions& options, const std::vector<int32_t>& prompt,
                                           int64_t count) {
  auto engine = test::open_engine(options);
  if (!engine.ok()) return std::move(engine).error();
  auto sequence = (*engine)->new_sequence();
  if (!sequence.ok()) return std::move(sequence).error();
  GenerateOptions generate;
  generate.max_tokens = count;
  generate.sampling.temp = 0;
  auto result = (*sequence)->generate(prompt, generate);
  if (!result.ok()) return std::move(result).error();
  return result->ids;
}

}  // namespace moxie::golden
