// For tests only: writes small weight files byte by byte, right or wrong on purpose. Knows nothing of the readers.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moxie::test {

// A folder that is gone when the test ends.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "moxie-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data()) == nullptr ? std::string() : name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return (std::filesystem::path(path_) / name).string(); }
  // Returns the file's path; makes folders in between.
  std::string write(std::string_view name, std::string_view bytes) const {
    const std::string file = *this / name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file;
  }

 private:
  std::string path_;
};

template <typename T>
void put(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));  // tests run on little-endian machines, like the reader
  out.append(raw, sizeof(T));
}

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;          // contiguous first, as in the file
  uint32_t type = 0;                   // F32
  uint64_t bytes = 0;                  // of data written for it
  std::optional<uint64_t> offset;      // instead of the running one
  std::optional<uint32_t> dimensions;  // instead of dims.size()
};

struct GgufWriter {
  uint32_t version = 3;
  uint64_t alignment = 32;                          // what the layout follows; say it in a key too where it is not 32
  std::optional<uint64_t> tensor_count, key_count;  // instead of the true ones
  std::vector<std::string> keys;                    // encoded
  std::vector<GgufTensor> tensors;

  void put_size(std::string& out, uint64_t size) const {
    if (version == 1) {
      put<uint32_t>(out, static_cast<uint32_t>(size));
    } else {
      put<uint64_t>(out, size);
    }
  }
  void put_text(std::string& out, std::string_view text) const {
    put_size(out, text.size());
    out += text;
  }
  // A key whose value bytes are given as they are.
  GgufWriter& raw(std::string_view key, uint32_t type, std::string_view value) {
    std::string out;
    put_text(out, key);
    put<uint32_t>(out, type);
    keys.push_back(out + std::string(value));
    return *this;
  }
  template <typename T>
  GgufWriter& number(std::string_view key, uint32_t type, T value) {
    std::string out;
    put(out, value);
    return raw(key, type, out);
  }
  GgufWriter& u32(std::string_view key, uint32_t value) { return number(key, 4, value); }
  GgufWriter& text(std::string_view key, std::string_view value) {
    std::string out;
    put_text(out, value);
    return raw(key, 8, out);
  }
  GgufWriter& texts(std::string_view key, const std::vector<std::string>& values) {
    std::string out;
    put<uint32_t>(out, 8);
    put_size(out, values.size());
    for (const std::string& value : values) put_text(out, value);
    return raw(key, 9, out);
  }
  template <typename T>
  GgufWriter& numbers(std::string_view key, uint32_t type, const std::vector<T>& values) {
    std::string out;
    put<uint32_t>(out, type);
    put_size(out, values.size());
    for (const T value : values) put(out, value);
    return raw(key, 9, out);
  }
  GgufWriter& split(uint16_t number, uint16_t count, int32_t tensors_in_all) {
    this->number<uint16_t>("split.no", 2, number);
    this->number<uint16_t>("split.count", 2, count);
    return this->number<int32_t>("split.tensors.count", 5, tensors_in_all);
  }
  // F32 with its data.
  GgufWriter& floats(std::string_view name, std::vector<uint64_t> dims) {
    uint64_t bytes = 4;
    for (const uint64_t dim : dims) bytes *= dim;
    tensors.push_back({.name = std::string(name), .dims = std::move(dims), .bytes = bytes});
    return *this;
  }

  std::string bytes() const {
    std::string out = "GGUF";
    put<uint32_t>(out, version);
    put_size(out, tensor_count.value_or(tensors.size()));
    put_size(out, key_count.value_or(keys.size()));
    for (const std::string& key : keys) out += key;
    uint64_t running = 0;
    for (const GgufTensor& tensor : tensors) {
      put_text(out, tensor.name);
      put<uint32_t>(out, tensor.dimensions.value_or(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) put_size(out, dim);
      put<uint32_t>(out, tensor.type);
      put<uint64_t>(out, tensor.offset.value_or(running));
      running = pad(running + tensor.bytes);
    }
    if (!tensors.empty()) out.resize(pad(out.size()), '\0');
    for (const GgufTensor& tensor : tensors) {
      const size_t start = out.size();
      for (uint64_t i = 0; i < tensor.bytes; ++i) out += static_cast<char>('a' + i % 23);
      out.resize(start + pad(out.size() - start), '\0');
    }
    return out;
  }

 private:
  uint64_t pad(uint64_t size) const { return (size + alignment - 1) / alignment * alignment; }
};

// A file of this header text and this many bytes of data.
inline std::string safetensors(std::string_view header, uint64_t data_bytes) {
  std::string out;
  put<uint64_t>(out, header.size());
  out += header;
  for (uint64_t i = 0; i < data_bytes; ++i) out += static_cast<char>('a' + i % 23);
  return out;
}

// A sound little file: two tensors, one of them BF16, 40 bytes of data.
inline std::string small_safetensors() {
  return safetensors(
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b.weight":{"dtype":"BF16","shape":[8],"data_offsets":[24,40]}}  )",
      40);
}

// A sound little file with a vocabulary and two tensors.
inline GgufWriter small_gguf(uint32_t version = 3) {
  GgufWriter file{.version = version};
  file.text("general.architecture", "llama").u32("llama.block_count", 1).number<float>("llama.rope.freq_base", 6, 1e6f);
  file.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "a"});
  file.numbers<float>("tokenizer.ggml.scores", 6, {0, 0, 0, -1})
      .numbers<int32_t>("tokenizer.ggml.token_type", 5, {2, 3, 3, 1});
  file.u32("tokenizer.ggml.bos_token_id", 1).number<uint8_t>("tokenizer.ggml.add_bos_token", 7, 1);
  file.floats("token_embd.weight", {3, 4}).floats("output_norm.weight", {3});
  return file;
}

// What an aligned pack's header has, but for the checksum of the header itself, which is zero.
inline GgufWriter small_pack(std::string_view names) {
  GgufWriter file{.alignment = 4096};
  file.u32("moxie.pack.layout", 0).number<uint64_t>("moxie.pack.header", 10, 0).text("moxie.pack.names", names);
  file.numbers<int64_t>("moxie.pack.checksums", 11, {-1, 5}).u32("general.alignment", 4096);
  file.text("general.architecture", "llama")
      .text("moxie.pack.file.config.json", R"({"model_type":"llama","vocab_size":7})");
  file.text("moxie.pack.file.tokenizer.json", "{}").text("moxie.pack.template.tool", "{{ x }}");
  file.text("moxie.pack.file.generation_config.json", R"({"eos_token_id":[2,3]})");
  file.floats("token_embd.weight", {3, 4}).floats("output_norm.weight", {3});
  return file;
}

}  // namespace moxie::test
