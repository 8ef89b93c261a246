// What doctor says of broken and odd models of every kind, word for word: tests/doctor/messages.txt has it. Every model
// is a small sound one with one thing made wrong. What opening it says is the same sentence.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <set>

#include "doctor/diagnosis_table.h"
#include "doctor/examine_model.h"
#include "format/test_files.h"
#include "support/open_engine.h"
#include "support/paths.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;
using test::GgufWriter;
using test::put;
using test::small_gguf;
using test::small_safetensors;
using test::TempFolder;

struct Case {
  std::string name;
  std::function<std::string(const TempFolder&)> make;  // returns the model's path
  ExamineOptions options = {};
};

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string golden(const std::string& name) {
  return read_all(source_dir() + "/tests/data/golden/" + name);
}

// REQUIRES: `from` is there once at least, and `to` is as long. Replaces it everywhere.
std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  size_t at = bytes.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  for (; at != std::string::npos; at = bytes.find(from, at + to.size())) bytes.replace(at, to.size(), to);
  return bytes;
}

// The value of a 32-bit key.
std::string with_key(std::string bytes, const std::string& key, uint32_t value) {
  const size_t at = bytes.find(key);
  EXPECT_NE(at, std::string::npos) << key;
  std::memcpy(bytes.data() + at + key.size() + 4, &value, sizeof value);
  return bytes;
}

Case file(std::string name, std::string file_name, std::string bytes, ExamineOptions options = {}) {
  return {std::move(name), [=](const TempFolder& at) { return at.write(file_name, bytes); }, std::move(options)};
}

Case folder(std::string name, std::vector<std::pair<std::string, std::string>> files, ExamineOptions options = {}) {
  return {std::move(name),
          [=](const TempFolder& at) {
            for (const auto& [file_name, bytes] : files) at.write("m/" + file_name, bytes);
            fs::create_directories(at / "m");
            return at / "m";
          },
          std::move(options)};
}

// A folder of tests/data/golden with one file changed, or left out where there are no bytes.
Case changed(std::string name, std::string from, std::string file_name, std::string bytes,
             ExamineOptions options = {}) {
  return {std::move(name),
          [=](const TempFolder& at) {
            for (const auto& entry : fs::directory_iterator(source_dir() + "/tests/data/golden/" + from)) {
              const std::string found = entry.path().filename().string();
              if (found.ends_with(".safetensors") || found.ends_with(".json"))
                at.write("m/" + found, read_all(entry.path().string()));
            }
            fs::remove(at / ("m/" + file_name));
            if (!bytes.empty()) at.write("m/" + file_name, bytes);
            return at / "m";
          },
          std::move(options)};
}

const std::string kPointer =
    "version https://"
    "git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize "
    "26441533440\n";
const std::string kZip("PK\x03\x04\x14\x00\x00\x00", 8);

std::vector<Case> downloads() {
  return {
      file("LfsPointer", "m.gguf", kPointer),
      changed("LfsPointerAmongShards", "mixtral-shards", "model-00002-of-00003.safetensors", kPointer),
      changed("LfsPointerForTheTokenizer", "mixtral", "tokenizer.model", kPointer),
      file("WebPage", "m.gguf", "<!DOCTYPE html><html>sign in</html>"),
      file("HubGated", "m.gguf", "Access to model x is restricted."),
      file("HubNotFound", "m.gguf", "Entry not found"),
      file("TorchZip", "pytorch_model.bin", kZip),
      file("BarePickle", "model.pth", "\x80\x02}q"),
      folder("FolderOfPickles", {{"config.json", "{}"}, {"pytorch_model-00001-of-00002.bin", kZip}}),
      folder("PickleIndex", {{"model.safetensors.index.json", R"({"weight_map":{"a":"pytorch_model.bin"}})"}}),
      folder("OldMlx", {{"config.json", "{}"}, {"weights.npz", kZip}}),
      file("OldMlxFile", "weights.npz", kZip),
      file("OldGgml", "ggml-model-q4_0.bin", "tjgg\x03"),
      file("Zeros", "m.gguf", std::string(5000, '\0')),
      file("Empty", "m.gguf", ""),
      {"BrokenLink",
       [](const TempFolder& at) {
         fs::create_directories(at / "models--org--mix/snapshots/c");
         fs::create_symlink("../../blobs/abc", at / "models--org--mix/snapshots/c/m.gguf");
         return at / "models--org--mix/snapshots/c/m.gguf";
       }},
      {"Absent", [](const TempFolder& at) { return at / "absent.gguf"; }},
      folder("FolderWithoutWeights", {{"config.json", "{}"}, {"README.md", "x"}}),
      file("SomethingElse", "m.gguf", "MZ something"),
      file("FirstPiece", "m.gguf-split-a", golden("mixtral/merged.gguf").substr(0, 200000)),
      file("SecondPiece", "m.gguf-split-b", "xyz"),
      file("TruncatedGguf", "m.gguf", golden("mixtral/merged.gguf").substr(0, 200000)),
      file("TruncatedInTheHeader", "m.gguf", golden("mixtral/merged.gguf").substr(0, 700)),
      changed("TruncatedSafetensors", "mixtral", "model.safetensors",
              golden("mixtral/model.safetensors").substr(0, 150000)),
      file("BigEndian", "m.gguf", std::string("GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24)),
      file("FutureVersion", "m.gguf", GgufWriter{.version = 4}.bytes()),
      file("KeyTwice", "m.gguf", GgufWriter{}.u32("key", 1).u32("key", 2).bytes()),
  };
}

std::vector<Case> containers() {
  GgufWriter first = small_gguf(), second, other, adapter = small_gguf(), projector, matrix;
  first.split(0, 3, 4);
  second.split(1, 3, 4).floats("c", {4});
  other.split(2, 3, 9).floats("d", {4});
  adapter.text("general.type", "adapter");
  projector.text("general.architecture", "clip").floats("v.weight", {4});
  matrix.text("general.type", "imatrix").text("general.architecture", "imatrix").floats("x.in_sum2", {4});
  GgufWriter fork = small_gguf(), removed = small_gguf(), unknown = small_gguf();
  fork.tensors.push_back({.name = "blk.0.ffn_down_exps.weight", .dims = {256}, .type = 139, .bytes = 144});
  removed.tensors.push_back({.name = "blk.0.ffn_down_exps.weight", .dims = {256}, .type = 31, .bytes = 144});
  unknown.tensors.push_back({.name = "blk.0.ffn_down_exps.weight", .dims = {256}, .type = 1000, .bytes = 144});
  GgufWriter vocabulary = small_gguf();
  vocabulary.tensors.clear();
  return {
      folder("PartsMissing", {{"m-00001-of-00003.gguf", first.bytes()}}),
      {"PartsMixed",
       [=](const TempFolder& at) {
         at.write("m-00002-of-00003.gguf", second.bytes());
         at.write("m-00003-of-00003.gguf", other.bytes());
         return at.write("m-00001-of-00003.gguf", first.bytes());
       }},
      changed("ShardMissing", "mixtral-shards", "model-00002-of-00003.safetensors", ""),
      changed("ShardOfAnotherModel", "mixtral-shards", "model-00002-of-00003.safetensors", small_safetensors()),
      changed("NoConfig", "mixtral", "config.json", ""),
      changed("ConfigNoJson", "mixtral", "config.json", "{\"model_type\": mixtral}"),
      changed("ConfigOfAnotherKind", "mixtral", "config.json", "[]"),
      folder("SeveralModels", {{"a.gguf", small_gguf().bytes()}, {"b.gguf", small_gguf().bytes()}}),
      folder("AdapterSafetensors", {{"adapter_model.safetensors", small_safetensors()}, {"adapter_config.json", "{}"}}),
      file("AdapterGguf", "lora.gguf", adapter.bytes()),
      file("Projector", "mmproj-model-f16.gguf", projector.bytes()),
      file("ImportanceMatrix", "imatrix.gguf", matrix.bytes()),
      file("TypeOfIkLlama", "m.gguf", fork.bytes()),
      file("TypeRemoved", "m.gguf", removed.bytes()),
      file("TypeOfTheFuture", "m.gguf", unknown.bytes()),
      file("VocabularyOnly", "m.gguf", vocabulary.bytes()),
      folder("Hqq", {{"config.json", R"({"quantization_config":{"quant_method":"hqq"}})"},
                     {"model.safetensors",
                      test::safetensors(R"({"p.W_q":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1)}}),
      changed(
          "MlxScalesMissing", "mixtral-mlx4", "model.safetensors",
          replaced(golden("mixtral-mlx4/model.safetensors"), "layers.1.block_sparse_moe.switch_mlp.down_proj.biases",
                   "layers.1.block_sparse_moe.switch_mlp.down_proj.biasXX")),
  };
}

std::vector<Case> models() {
  const std::string merged = golden("mixtral/merged.gguf"), split = golden("mixtral/split.gguf");
  const std::string config = golden("mixtral/config.json");
  const auto config_with = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  std::string nan = golden("mixtral/q8_0.gguf");
  nan[nan.size() - 34 * 8] = '\x00';
  nan[nan.size() - 34 * 8 + 1] = '\x7e';
  return {
      file("UnknownArchitecture", "m.gguf",
           replaced(merged, std::string("\5\0\0\0\0\0\0\0llama", 13), std::string("\5\0\0\0\0\0\0\0lamma", 13))),
      changed("UnknownModelType", "mixtral", "config.json", config_with("\"mixtral\"", "\"brontosaurus\"")),
      changed("NoModelType", "mixtral", "config.json", config_with("\"model_type\"", "\"model_typo\"")),
      file("ForcedDense", "m.gguf", merged, {.arch = "llama"}),
      file("ForcedQwen2", "m.gguf", merged, {.arch = "qwen2"}),
      changed("ForcedOnMlx", "mixtral-mlx4", "absent", "", {.arch = "qwen3"}),
      changed("MissingTensor", "mixtral", "model.safetensors",
              replaced(golden("mixtral/model.safetensors"), "layers.1.block_sparse_moe.experts.3.w2.weight",
                       "layers.1.block_sparse_moe.experts.3.w9.weight")),
      file("MissingExperts", "m.gguf", replaced(merged, "blk.1.ffn_down_exps", "blk.1.ffn_dwon_exps")),
      file("MissingNorm", "m.gguf", replaced(merged, "blk.1.attn_norm.weight", "blk.1.attn_nrom.weight")),
      file("OneExpertMissing", "m.gguf", replaced(split, "blk.1.ffn_up.7.weight", "blk.1.ffn_up.9.weight")),
      file("MoreUsedThanThereAre", "m.gguf", with_key(merged, "llama.expert_used_count", 9)),
      file("NoneUsed", "m.gguf", with_key(merged, "llama.expert_used_count", 0)),
      file("MoreExpertsThanStored", "m.gguf", with_key(merged, "llama.expert_count", 16)),
      file("HeadsDoNotDivide", "m.gguf", with_key(merged, "llama.attention.head_count_kv", 3)),
      file("NoLayers", "m.gguf", with_key(merged, "llama.block_count", 0)),
      file("TooManyLayers", "m.gguf", with_key(merged, "llama.block_count", 4000000000u)),
      file("LayerMissing", "m.gguf", with_key(merged, "llama.block_count", 7)),
      file("NoLayerCount", "m.gguf", replaced(merged, "llama.block_count", "llama.block_xount")),
      changed("HiddenSizeOfAnotherModel", "mixtral", "config.json",
              config_with("\"hidden_size\": ", "\"hidden_size\": 1")),
      changed("RopeScalingUnknown", "mixtral", "config.json",
              config_with("\"model_type\"", "\"rope_scaling\": {\"type\": \"spiral\", \"factor\": 2}, \"model_type\"")),
      file("NotANumber", "m.gguf", nan, {.scan = true}),
  };
}

// A Llama of one layer, 256 wide, or with `experts` a Mixtral whose experts have tensors of their own. Its numbers are
// rubbish.
struct TinyModel {
  uint32_t experts = 0;
  uint64_t embedded = 4;   // rows of the embedding
  uint32_t down_type = 0;  // GGUF's number for ffn_down's type; of the first expert
  uint64_t down_row_bytes = 1024;
  uint32_t version = 3;
  bool has_merges = true, has_pre = true;

  GgufWriter gguf() const {
    GgufWriter file{.version = version};
    file.text("general.architecture", "llama").u32("llama.block_count", 1).u32("llama.context_length", 64);
    file.u32("llama.embedding_length", 256).u32("llama.feed_forward_length", 256).u32("llama.attention.head_count", 4);
    file.number<float>("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f);
    file.number<float>("llama.rope.freq_base", 6, 1e6f);
    if (experts > 0) file.u32("llama.expert_count", experts).u32("llama.expert_used_count", 1);
    file.text("tokenizer.ggml.model", "gpt2").texts("tokenizer.ggml.tokens", {"a", "b", "ab", "c"});
    if (has_merges) file.texts("tokenizer.ggml.merges", {"a b"});
    if (has_pre) file.text("tokenizer.ggml.pre", "llama-bpe");
    file.text("tokenizer.chat_template", "{{ messages }}");
    file.floats("token_embd.weight", {256, embedded}).floats("output_norm.weight", {256});
    for (const char* name : {"attn_norm", "ffn_norm"}) file.floats(layer(name), {256});
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) file.floats(layer(name), {256, 256});
    if (experts > 0) file.floats(layer("ffn_gate_inp"), {256, experts});
    for (uint32_t e = 0; e < std::max(1u, experts); ++e) {
      const std::string number = experts > 0 ? fmt::format(".{}", e) : "";
      for (const char* name : {"ffn_gate", "ffn_up"}) file.floats(layer(name + number), {256, 256});
      file.floats(layer("ffn_down" + number), {256, 256});
      if (e > 0) continue;
      file.tensors.back().type = down_type;
      file.tensors.back().bytes = 256 * down_row_bytes;
    }
    return file;
  }
  std::string bytes() const { return gguf().bytes(); }

 private:
  static std::string layer(const std::string& name) { return "blk.0." + name + ".weight"; }
};

constexpr uint32_t kQ8 = 8, kIq2Xxs = 16, kIq4Nl = 20;

std::vector<Case> odd_ones() {
  const std::string config = golden("mixtral/config.json"), mlx = golden("mixtral-mlx4/config.json");
  const auto text_with = [](std::string text, const std::string& from, const std::string& to) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    for (; at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
    return text;
  };
  const auto quantized = [](const std::string& name, const std::string& dtype) {
    return test::safetensors(fmt::format(R"({{"{}":{{"dtype":"{}","shape":[1],"data_offsets":[0,{}]}}}})", name, dtype,
                                         dtype == "I32" ? 4 : 2),
                             dtype == "I32" ? 4 : 2);
  };
  const std::string stacked = golden("mixtral-stacked/model.safetensors");
  return {
      file("Uqff", "mixtral-q4k.uqff", small_safetensors()),
      folder("Exl2", {{"config.json", R"({"quantization_config":{"quant_method":"exl2"}})"},
                      {"model.safetensors", quantized("p.q_invperm", "I16")}}),
      folder("Exl3", {{"config.json", "{}"}, {"model.safetensors", quantized("p.trellis", "I16")}}),
      folder("Aqlm", {{"config.json", R"({"quantization_config":{"quant_method":"aqlm"}})"},
                      {"model.safetensors", quantized("p.codebooks", "F16")}}),
      changed("GptqForMarlin", "mixtral-gptq4", "config.json",
              text_with(golden("mixtral-gptq4/config.json"), "\"desc_act\"",
                        "\"checkpoint_format\": \"marlin\", \"desc_act\"")),
      changed("AwqGemv", "mixtral-awq", "config.json",
              text_with(golden("mixtral-awq/config.json"), "\"gemm\"", "\"gemv\"")),
      file("TypeNotComputed", "m.gguf", TinyModel{.down_type = kIq2Xxs, .down_row_bytes = 66}.bytes()),
      file("ArchUnknownToAnyone", "m.gguf",
           replaced(golden("mixtral/merged.gguf"), std::string("\5\0\0\0\0\0\0\0llama", 13),
                    std::string("\5\0\0\0\0\0\0\0lamma", 13)),
           {.arch = "qwen3_mo"}),
      changed("TransposedExperts", "mixtral-stacked", "model.safetensors", replaced(stacked, "[8,64,32]", "[8,32,64]")),
      {"MistralWithLatentAttention",
       [=](const TempFolder& at) {
         const std::string from = "mixtral-consolidated/";
         at.write("m/consolidated.safetensors", golden(from + "consolidated.safetensors"));
         at.write("m/params.json", text_with(golden(from + "params.json"), "\"dim\"", "\"q_lora_rank\": 8, \"dim\""));
         return at / "m";
       }},
      {"NameTooLong", [](const TempFolder&) { return std::string(300, 'x'); }},
      file("NoTokenizerMerges", "m.gguf", TinyModel{.has_merges = false}.bytes()),
      file("NoPreTokenizer", "m.gguf", TinyModel{.has_pre = false}.bytes()),
      file("MoreRowsThanTokens", "m.gguf", TinyModel{.embedded = 6}.bytes()),
      file("ExpertsOfTwoTypes", "m.gguf", TinyModel{.experts = 2, .down_type = kQ8, .down_row_bytes = 272}.bytes()),
      file("TypeThatSomeDoNotRead", "m.gguf", TinyModel{.down_type = kIq4Nl, .down_row_bytes = 144}.bytes()),
      file("GgufVersion1", "m.gguf", TinyModel{.version = 1}.bytes()),
      {"SecondPartGiven",
       [](const TempFolder& at) {
         at.write("m-00001-of-00002.gguf", golden("llama/f32-00001-of-00002.gguf"));
         return at.write("m-00002-of-00002.gguf", golden("llama/f32-00002-of-00002.gguf"));
       }},
      changed("WindowOfMixtral", "mixtral", "config.json",
              text_with(config, "\"sliding_window\": null", "\"sliding_window\": 4096")),
      changed("NoRopeBase", "mixtral", "config.json", text_with(config, "\"rope_theta\"", "\"rope_thata\"")),
      changed("MlxThatConfigDoesNotMention", "mixtral-mlx4", "config.json",
              text_with(mlx, "\"quantization", "\"xuantization")),
      changed("MlxOfOtherBits", "mixtral-mlx4", "config.json", text_with(mlx, "\"bits\": 4", "\"bits\": 6")),
      changed("MlxExpertsOneByOne", "mixtral-mlx-legacy", "absent", ""),
      file("GgufCalledSafetensors", "m.safetensors", golden("mixtral/merged.gguf")),
      {"SafetensorsCalledGguf",
       [=](const TempFolder& at) {
         at.write("config.json", config);
         return at.write("m.gguf", golden("mixtral/model.safetensors"));
       }},
      file("ExpertCountMissing", "m.gguf",
           replaced(golden("mixtral/merged.gguf"), "llama.expert_count", "llama.expert_xount")),
  };
}

std::vector<Case> sound_ones() {
  const std::string merged = golden("mixtral/merged.gguf");
  return {
      file("SplitExperts", "m.gguf", golden("mixtral/split.gguf")),
      changed("Mlx", "mixtral-mlx4", "absent", ""),
      changed("Awq", "mixtral-awq", "absent", ""),
      changed("FusedExperts", "mixtral-stacked", "absent", ""),
      {"BytesChanged",
       [=](const TempFolder& at) {
         at.write("models--org--mix/blobs/" + std::string(64, 'a'), merged);
         fs::create_directories(at / "models--org--mix/snapshots/c");
         fs::create_symlink("../../blobs/" + std::string(64, 'a'), at / "models--org--mix/snapshots/c/m.gguf");
         return at / "models--org--mix/snapshots/c/m.gguf";
       },
       {.verify = true}},
      file("NothingToCompareWith", "m.gguf", merged, {.verify = true}),
  };
}

std::string line(std::string_view what, const std::string& text) {
  return text.empty() ? "" : fmt::format("  {}: {}\n", what, text);
}

std::string as_text(const ModelReport& report) {
  std::string out = report.loads ? "  loads\n" : fmt::format("  does not load: {}\n", name(report.error));
  for (const Finding& finding : report.findings) {
    out += fmt::format("  {} {}\n", name(finding.severity), finding.code);
    out += line("message", finding.message) + line("found", finding.found) + line("expected", finding.expected) +
           line("nearest", finding.near_miss) + line("remedy", finding.remedy);
  }
  return out;
}

std::string without_folder(std::string text, const std::string& folder) {
  for (size_t at = text.find(folder); at != std::string::npos; at = text.find(folder, at))
    text.replace(at, folder.size(), "DIR");
  return text;
}

class DoctorMessages : public testing::Test {
 protected:
  // Appends what is said of each to all_, and compares errors with those of opening.
  void say(const std::vector<Case>& cases) {
    for (const Case& one : cases) {
      SCOPED_TRACE(one.name);
      const TempFolder at;
      const std::string path = one.make(at);
      const auto report = examine_model(path, one.options);
      ASSERT_TRUE(report.ok()) << report.error().message;
      const auto engine = test::open_engine({.model = path, .arch = one.options.arch});
      EXPECT_EQ(report->loads, engine.ok()) << (engine.ok() ? "opens" : engine.error().message);
      if (!engine.ok()) {
        EXPECT_EQ(report->error, engine.error().code);
        const auto same = std::find_if(report->findings.begin(), report->findings.end(), [&](const Finding& finding) {
          return finding.message == engine.error().message &&
                 (engine.error().diagnosis == nullptr || finding.code == engine.error().diagnosis->code);
        });
        EXPECT_NE(same, report->findings.end()) << engine.error().message;
      }
      all_ += "== " + one.name + "\n" + without_folder(as_text(*report), at.path());
      ++count_;
    }
  }
  std::string all_;
  int count_ = 0;
};

TEST_F(DoctorMessages, AreTheseWordForWord) {
  say(downloads());
  say(containers());
  say(models());
  say(odd_ones());
  say(sound_ones());
  EXPECT_GE(count_, 95);
  const std::string expected = read_all(source_dir() + "/tests/doctor/messages.txt");
  if (all_ == expected) return;
  const std::string actual = testing::TempDir() + "/doctor-messages.txt";
  std::ofstream(actual) << all_;
  ADD_FAILURE() << "tests/doctor/messages.txt differs from " << actual;
}

// What hangs on the machine is not among those: memory, and names of stores.
TEST(DoctorMessage, OfAModelLargerThanMemory) {
  const TempFolder at;
  constexpr uint64_t kRows = (uint64_t{1} << 31) - 64;  // of the embedding
  GgufWriter file = TinyModel{.embedded = kRows}.gguf();
  file.tensors.front().bytes = 0;
  for (size_t i = 1; i < file.tensors.size(); ++i) {
    const uint64_t before = i == 1 ? kRows * 1024 : *file.tensors[i - 1].offset + file.tensors[i - 1].bytes;
    file.tensors[i].offset = (before + 31) / 32 * 32;
  }
  const std::string bytes = file.bytes(), path = at.write("m.gguf", bytes);
  fs::resize_file(path, bytes.size() + kRows * 1024);
  const auto report = examine_model(path, {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_TRUE(report->loads) << as_text(*report);
  const auto found = std::find_if(report->findings.begin(), report->findings.end(),
                                  [](const Finding& finding) { return finding.code == "larger-than-memory"; });
  ASSERT_NE(found, report->findings.end()) << as_text(*report);
  EXPECT_EQ(found->found, "2.0 TiB");
  EXPECT_EQ(found->remedy, "moxie plan " + path);
}

TEST(DoctorMessage, OfABudgetTooSmall) {
  const std::string path = source_dir() + "/tests/data/golden/mixtral/merged.gguf";
  const auto engine = test::open_engine({.model = path, .memory = "1M"});
  ASSERT_FALSE(engine.ok());
  const ModelReport report = report_of(path, engine.error());
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].code, "out-of-memory");
  EXPECT_EQ(report.findings[0].message, engine.error().message);
  EXPECT_EQ(report.findings[0].remedy, "moxie plan " + path);
}

// Every code has a model here that shows it, but for those that need another machine or store.
TEST(DoctorTable, HasAnExampleForEveryCode) {
  const std::string said = read_all(source_dir() + "/tests/doctor/messages.txt");
  const std::set<std::string_view> elsewhere = {"not-here",            // tests/cli/stores.txt
                                                "larger-than-memory",  // above
                                                "out-of-memory",       // above
                                                "unsupported"};        // what has no code of its own
  for (const DiagnosisRow& row : diagnosis_rows()) {
    if (elsewhere.contains(row.code)) continue;
    EXPECT_NE(said.find(fmt::format("  {} {}\n", name(row.severity), row.code)), std::string::npos) << row.code;
  }
}

// The page in docs is what the table prints.
TEST(DoctorTable, IsWhatTheDocumentationSays) {
  EXPECT_EQ(read_all(source_dir() + "/docs/troubleshooting.md"), troubleshooting_page())
      << "run: moxie doctor --markdown > docs/troubleshooting.md";
}

TEST(DoctorTable, HasEveryCodeOnceAndEveryReferenceARow) {
  std::set<std::string_view> codes;
  for (const DiagnosisRow& row : diagnosis_rows()) {
    EXPECT_TRUE(codes.insert(row.code).second) << row.code;
    EXPECT_FALSE(row.title.empty()) << row.code;
    EXPECT_TRUE(row.code == "notice" || !row.why.empty()) << row.code;
    // What keeps a model from loading always has a remedy.
    EXPECT_TRUE(row.severity != FindingSeverity::error || !row.remedy.empty()) << row.code;
  }
  for (const ElsewhereRow& row : elsewhere_rows()) {
    EXPECT_TRUE(row.code.empty() || codes.contains(row.code)) << row.code;
  }
}

// Codes are texts where errors are made; each must have its row.
TEST(DoctorTable, HasARowForEveryCodeInTheSources) {
  const std::regex said(R"x(\.code = ([^,}]*))x"), quoted("\"([a-z0-9-]+)\"");
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(source_dir() + "/src")) {
    const std::string path = entry.path().string();
    if (!path.ends_with(".cpp") || path.ends_with("_test.cpp")) continue;
    const std::string text = read_all(path);
    for (std::sregex_iterator at(text.begin(), text.end(), said), end; at != end; ++at) {
      const std::string expression = (*at)[1];
      for (std::sregex_iterator code(expression.begin(), expression.end(), quoted); code != end; ++code, ++found) {
        EXPECT_NE(find_diagnosis((*code)[1].str()), nullptr) << path << ": " << (*code)[1];
      }
    }
  }
  EXPECT_GT(found, 50);
}

TEST(DoctorRemedy, NamesTheRepositoryThatTheStoreTells) {
  EXPECT_EQ(pull_command("/a/hub/models--org--name/snapshots/x/m.gguf"), "moxie pull org/name");
  EXPECT_EQ(pull_command("/a/.lmstudio/models/org/name/m q.gguf"), "moxie pull 'org/name:m q.gguf'");
  EXPECT_EQ(pull_command("m.gguf"), "moxie pull REPO");
}

}  // namespace
}  // namespace moxie
