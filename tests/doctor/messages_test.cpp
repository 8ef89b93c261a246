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
  say(sound_ones());
  EXPECT_GE(count_, 60);
  const std::string expected = read_all(source_dir() + "/tests/doctor/messages.txt");
  if (all_ == expected) return;
  const std::string actual = testing::TempDir() + "/doctor-messages.txt";
  std::ofstream(actual) << all_;
  ADD_FAILURE() << "tests/doctor/messages.txt differs from " << actual;
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
