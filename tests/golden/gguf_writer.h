// Writes small GGUF v3 files for tests: what a test says, without checks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "quant/quant_type.h"

namespace moxie::golden {

class GgufWriter {
 public:
  void set(const std::string& key, uint32_t value) { entry(key, 4, value); }
  void set(const std::string& key, float value) { entry(key, 6, value); }
  void set(const std::string& key, const std::string& value) {
    put_text(metadata_, key);
    put(metadata_, uint32_t{8});
    put_text(metadata_, value);
    ++keys_;
  }

  // Rows of `columns` values: `distinct` random rows (sigma / sqrt(columns)), encoded and repeated. shape: torch order.
  void add_random(const std::string& name, const QuantType& type, std::vector<int64_t> shape, float sigma,
                  uint32_t seed) {
    const int64_t columns = shape.back();
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const int64_t distinct = std::min<int64_t>(rows, 61);
    std::vector<float> row(static_cast<size_t>(columns));
    std::vector<std::byte> encoded(static_cast<size_t>(distinct * type.row_bytes(columns)));
    uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
    for (int64_t r = 0; r < distinct; ++r) {
      for (float& value : row) {
        double sum = 0;  // twelve uniform numbers: near enough to normal
        for (int i = 0; i < 12; ++i) {
          state = state * 6364136223846793005ull + 1442695040888963407ull;
          sum += static_cast<double>(state >> 40) / 16777216.0;
        }
        value = static_cast<float>((sum - 6) * sigma / std::sqrt(static_cast<double>(columns)));
      }
      type.encode(row.data(), encoded.data() + r * type.row_bytes(columns), columns / type.block_values, nullptr);
    }
    Tensor tensor{name, &type, std::move(shape), {}};
    tensor.data.resize(static_cast<size_t>(rows * type.row_bytes(columns)));
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(tensor.data.data() + r * type.row_bytes(columns),
                  encoded.data() + (r * 7 % distinct) * type.row_bytes(columns),
                  static_cast<size_t>(type.row_bytes(columns)));
    }
    tensors_.push_back(std::move(tensor));
  }

  void add(const std::string& name, const QuantType& type, std::vector<int64_t> shape,
           const std::vector<float>& values) {
    Tensor tensor{name, &type, std::move(shape), {}};
    const int64_t blocks = static_cast<int64_t>(values.size()) / type.block_values;
    tensor.data.resize(static_cast<size_t>(blocks * type.block_bytes));
    type.encode(values.data(), tensor.data.data(), blocks, nullptr);
    tensors_.push_back(std::move(tensor));
  }

  // What the tensor added last under this name decodes to.
  std::vector<float> decoded(const std::string& name) const {
    for (const Tensor& tensor : tensors_) {
      if (tensor.name != name) continue;
      const int64_t blocks = static_cast<int64_t>(tensor.data.size()) / tensor.type->block_bytes;
      std::vector<float> values(static_cast<size_t>(blocks * tensor.type->block_values));
      tensor.type->decode(tensor.data.data(), values.data(), blocks);
      return values;
    }
    return {};
  }

  void add_ones(const std::string& name, int64_t count) {
    const std::vector<float> ones(static_cast<size_t>(count), 1.0f);
    Tensor tensor{name, find_quant_type("f32"), {count}, {}};
    tensor.data.resize(ones.size() * 4);
    std::memcpy(tensor.data.data(), ones.data(), tensor.data.size());
    tensors_.push_back(std::move(tensor));
  }

  void write(const std::filesystem::path& path) const {
    std::string head;
    head += "GGUF";
    put(head, uint32_t{3});
    put(head, uint64_t{tensors_.size()});
    put(head, uint64_t{keys_});
    head += metadata_;
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      put_text(head, tensor.name);
      put(head, static_cast<uint32_t>(tensor.shape.size()));
      for (size_t i = tensor.shape.size(); i-- > 0;) put(head, static_cast<uint64_t>(tensor.shape[i]));
      put(head, static_cast<uint32_t>(tensor.type->gguf_id));
      put(head, offset);
      offset += padded(tensor.data.size());
    }
    head.resize(padded(head.size()));
    std::ofstream out(path, std::ios::binary);
    out << head;
    for (const Tensor& tensor : tensors_) {
      out.write(reinterpret_cast<const char*>(tensor.data.data()), static_cast<std::streamsize>(tensor.data.size()));
      const std::string padding(padded(tensor.data.size()) - tensor.data.size(), '\0');
      out << padding;
    }
  }

 private:
  struct Tensor {
    std::string name;
    const QuantType* type;
    std::vector<int64_t> shape;
    std::vector<std::byte> data;
  };
  static size_t padded(size_t bytes) { return (bytes + 31) / 32 * 32; }
  template <typename T>
  static void put(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void put_text(std::string& to, const std::string& text) {
    put(to, uint64_t{text.size()});
    to += text;
  }
  template <typename T>
  void entry(const std::string& key, uint32_t type, T value) {
    put_text(metadata_, key);
    put(metadata_, type);
    put(metadata_, value);
    ++keys_;
  }

  std::string metadata_;
  uint64_t keys_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace moxie::golden
