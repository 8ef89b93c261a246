// Broken and wrong files of every kind, each with the error it must give: code, thing, value, limit and remedy.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <functional>
#include <limits>
#include <random>

#include "format/test_files.h"
#include "format/weight_file.h"
#include "support/paths.h"

namespace moxie {
namespace {

using test::GgufTensor;
using test::GgufWriter;
using test::put;
using test::safetensors;
using test::small_gguf;
using test::small_safetensors;
using test::TempFolder;
using testing::HasSubstr;

struct BadInput {
  std::string name;
  std::function<std::string(const TempFolder&)> make;  // returns the path to open
  ErrorCode code;
  std::vector<std::string> fragments;  // of the message
};

void PrintTo(const BadInput& bad, std::ostream* out) {
  *out << bad.name;
}

// A file of these bytes, alone in its folder.
BadInput file(std::string name, std::string file_name, std::string bytes, ErrorCode code,
              std::vector<std::string> fragments) {
  return {std::move(name), [=](const TempFolder& folder) { return folder.write(file_name, bytes); }, code,
          std::move(fragments)};
}

BadInput gguf(std::string name, const GgufWriter& writer, ErrorCode code, std::vector<std::string> fragments) {
  return file(std::move(name), "m.gguf", writer.bytes(), code, std::move(fragments));
}

// One tensor in an otherwise sound file.
BadInput tensor(std::string name, GgufTensor bad, ErrorCode code, std::vector<std::string> fragments) {
  GgufWriter writer;
  writer.text("general.architecture", "llama").tensors.push_back(std::move(bad));
  return gguf(std::move(name), writer, code, std::move(fragments));
}

// safetensors with a config.json beside.
BadInput safe(std::string name, std::string bytes, ErrorCode code, std::vector<std::string> fragments) {
  return {std::move(name),
          [=](const TempFolder& folder) {
            folder.write("config.json", "{}");
            return folder.write("model.safetensors", bytes);
          },
          code, std::move(fragments)};
}

BadInput folder(std::string name, std::vector<std::pair<std::string, std::string>> files, ErrorCode code,
                std::vector<std::string> fragments) {
  return {std::move(name),
          [=](const TempFolder& at) {
            for (const auto& [file_name, bytes] : files) at.write(file_name, bytes);
            return at.path();
          },
          code, std::move(fragments)};
}

const std::string kPointer =
    "version https://"
    "git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize "
    "26441533440\n";
const std::string kZip("PK\x03\x04\x14\x00\x00\x00", 8);
const std::string kPickleRemedy = "get the safetensors revision of the model or a GGUF file";

// formats.md has these as "what kind of file is this": the usual wrong downloads.
std::vector<BadInput> not_weights() {
  using enum ErrorCode;
  const std::string big_endian("GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
  return {
      file("GitLfsPointer", "m.gguf", kPointer, corrupt,
           {"m.gguf: is a Git-LFS pointer of 136 bytes", "26441533440 bytes", "git lfs pull", "/resolve/"}),
      file("GitLfsPointerForSafetensors", "model.safetensors", kPointer, corrupt,
           {"is a Git-LFS pointer", "git lfs pull"}),
      file("WebPage", "m.gguf", "<!DOCTYPE html><html>...", corrupt,
           {"is a web page of 24 bytes", "download it again", "token"}),
      file("WebPageWithBlanks", "m.gguf", "\n  <HTML lang=en>", corrupt, {"is a web page"}),
      file("HubEntryNotFound", "m.gguf", "Entry not found", corrupt,
           {"the hub's answer \"Entry not found\"", "check the name"}),
      file("HubErrorJson", "m.gguf", "{\"error\":\"Repository not found\"}", corrupt,
           {"the hub's answer", "Repository not found", "token"}),
      file("HubBadToken", "m.gguf", "Invalid username or password.", corrupt, {"the hub's answer", "token"}),
      file("HubGated", "m.gguf", "Access to model x is restricted.", corrupt,
           {"the hub's answer", "accept the licence"}),
      file("TorchZip", "pytorch_model.bin", kZip, unsupported,
           {"is a zip archive: a PyTorch checkpoint", "runs code", kPickleRemedy}),
      file("BarePickle", "model.pth", "\x80\x02}q", unsupported, {"is a pickle", kPickleRemedy}),
      file("OldGgml", "m.bin", "lmgg\x01", unsupported,
           {"GGML file from before August 2023", "lmgg", "get a GGUF file"}),
      file("OldGgmf", "m.bin", "fmgg\x01", unsupported, {"GGML file from before August 2023"}),
      file("OldGgjt", "m.bin", "tjgg\x01", unsupported, {"GGML file from before August 2023"}),
      file("AllZero", "m.gguf", std::string(5000, '\0'), corrupt,
           {"begins with 4096 zero bytes", "a download of 5000 bytes", "resume it"}),
      file("ShortAndZero", "m.gguf", std::string(100, '\0'), corrupt, {"begins with 100 zero bytes"}),
      file("Empty", "m.gguf", "", corrupt, {"is empty (0 bytes)", "download it again"}),
      file("BigEndian", "m.gguf", big_endian, unsupported, {"big-endian GGUF", "gguf_convert_endian.py"}),
      file("Unknown", "m.gguf", "MZ\x90\x03 something", unsupported,
           {"is no weight file that moxie knows", "begins with \"MZ\\x90\\x03 something\"", "give a .gguf file"}),
      file("MiddlePieceOfAFile", "m.gguf-split-b", "xyz", unsupported,
           {"one piece of a file", "cat $(ls -v m.gguf?*) > m.gguf"}),
      file("MiddlePartOfAFile", "m.gguf.part2of3", "xyz", unsupported, {"cat $(ls -v m.gguf?*) > m.gguf"}),
      file("FirstPieceOfAFile", "m.gguf-split-a", small_gguf().bytes().substr(0, small_gguf().bytes().size() - 60),
           corrupt, {"expected", "missing", "cat $(ls -v m.gguf?*) > m.gguf"}),
  };
}

std::vector<BadInput> paths() {
  using enum ErrorCode;
  return {
      {"NoPath",
       [](const TempFolder&) { return std::string(); },
       invalid_argument,
       {"no model given", "name a .gguf file"}},
      {"AbsentFile",
       [](const TempFolder& at) { return at / "absent.gguf"; },
       not_found,
       {"absent.gguf", "check the path"}},
      {"BrokenLink",
       [](const TempFolder& at) {
         std::filesystem::create_symlink("../../blobs/abc", at / "m.gguf");
         return at / "m.gguf";
       },
       not_found,
       {"is a link to a file that is not there", "download the model again"}},
      {"NamedPipe",
       [](const TempFolder& at) {
         EXPECT_EQ(::mkfifo((at / "pipe").c_str(), 0600), 0);
         return at / "pipe";
       },
       invalid_argument,
       {"is neither a file nor a folder", "give a .gguf file"}},
      folder("EmptyFolder", {}, not_found, {"holds no weights", "is it the right folder?"}),
      folder("FolderWithoutWeights", {{"config.json", "{}"}, {"README.md", "x"}}, not_found,
             {"holds no weights", "among its 2 files"}),
      folder("FolderOfPickles", {{"config.json", "{}"}, {"pytorch_model.bin", kZip}}, unsupported,
             {"only as PyTorch or NumPy files (pytorch_model.bin)", kPickleRemedy}),
      folder("FolderOfOldMlx", {{"weights.npz", kZip}}, unsupported,
             {"old versions of MLX", "weights.npz", "mlx_lm.convert"}),
      folder("MistralLayoutWithoutParams",
             {{"consolidated.safetensors",
               safetensors(R"({"layers.0.attention_norm.weight":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                           R"("tok_embeddings.weight":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}})",
                           4)}},
             not_found, {"params.json is missing", "download it into the same folder"}),
      folder("Adapter", {{"adapter_model.safetensors", small_safetensors()}, {"adapter_config.json", "{}"}},
             unsupported, {"only an adapter", "merge it into its base model"}),
      folder(
          "SeveralSafetensors", {{"x.safetensors", small_safetensors()}, {"y.safetensors", small_safetensors()}},
          invalid_argument,
          {"holds 2 safetensors files that are no shards of one model: x.safetensors, y.safetensors", "give the path"}),
      folder("NoConfig", {{"model.safetensors", small_safetensors()}}, not_found,
             {"config.json is missing", "download it into the same folder"}),
      folder("PickleIndex",
             {{"model.safetensors.index.json", R"({"weight_map":{"a":"pytorch_model-00001-of-00002.bin"}})"}},
             unsupported, {"lists PyTorch files (pytorch_model-00001-of-00002.bin)", kPickleRemedy}),
      folder("ConfigIsAPointer", {{"model.safetensors", small_safetensors()}, {"config.json", kPointer}}, corrupt,
             {"config.json: is a Git-LFS pointer", "git lfs pull"}),
      folder("TokenizerIsAPointer",
             {{"model.safetensors", small_safetensors()}, {"config.json", "{}"}, {"tokenizer.model", kPointer}},
             corrupt, {"tokenizer.model: is a Git-LFS pointer", "git lfs pull"}),
  };
}

// Counts, strings, arrays and keys of GGUF headers.
std::vector<BadInput> gguf_headers() {
  using enum ErrorCode;
  GgufWriter version4{.version = 4}, version0{.version = 0};
  GgufWriter many_keys{.key_count = uint64_t{1} << 60}, many_tensors{.tensor_count = UINT64_MAX};
  GgufWriter sum_of_counts;  // each count fits the file, both together do not
  sum_of_counts.text("a", std::string(100, 'x')).tensor_count = 5;
  const auto raw = [](std::string_view key, uint32_t type, std::initializer_list<uint64_t> words) {
    std::string value;
    for (const uint64_t word : words) put<uint64_t>(value, word);
    GgufWriter writer;
    writer.raw(key, type, value);
    return writer;
  };
  const auto array = [](uint32_t type, uint64_t count, std::string_view rest) {
    std::string value;
    put<uint32_t>(value, type);
    put<uint64_t>(value, count);
    GgufWriter writer;
    writer.raw("key", 9, value + std::string(rest));
    return writer;
  };
  GgufWriter empty_key, twice, alignment3, alignment0, alignment_text;
  empty_key.u32("", 1);
  twice.u32("key", 1).u32("key", 2);
  alignment3.u32("general.alignment", 48);
  alignment0.u32("general.alignment", 0);
  alignment_text.text("general.alignment", "32");
  GgufWriter long_key;
  long_key.u32(std::string(65536, 'k'), 1);
  GgufWriter scores, types;
  scores.texts("tokenizer.ggml.tokens", {"a", "b"}).numbers<float>("tokenizer.ggml.scores", 6, {1});
  GgufWriter no_texts, no_floats, not_a_number, no_types;
  no_texts.u32("tokenizer.ggml.tokens", 1);
  no_floats.texts("tokenizer.ggml.scores", {"a"});
  not_a_number.numbers<float>("tokenizer.ggml.scores", 6, {0, std::numeric_limits<float>::quiet_NaN()});
  no_types.numbers<int32_t>("tokenizer.ggml.token_type", 5, {1, -1});
  types.texts("tokenizer.ggml.tokens", {"a", "b"}).numbers<int32_t>("tokenizer.ggml.token_type", 5, {1, 1, 1});
  return {
      gguf("Version4", version4, unsupported, {"GGUF version 4", "reads versions 1 to 3", "a newer moxie"}),
      gguf("Version0", version0, corrupt, {"GGUF version 0", "download it again"}),
      gguf("KeyCount", many_keys, corrupt,
           {"claims 1152921504606846976 metadata keys", "hold at most 0", "download it again"}),
      gguf("TensorCount", many_tensors, corrupt,
           {"claims 18446744073709551615 tensors", "describe at most 0", "download it again"}),
      gguf("TensorCountAfterKeys", sum_of_counts, corrupt,
           {"claims 5 tensors", "bytes after the metadata describe at most 0"}),
      gguf("EmptyKey", empty_key, corrupt, {"metadata key 1 of 1 is 0 bytes long, allowed are 1 to 65535"}),
      gguf("LongKey", long_key, corrupt, {"is 65536 bytes long, allowed are 1 to 65535"}),
      gguf("KeyTwice", twice, corrupt, {"the metadata key \"key\" appears twice", "download it again"}),
      gguf("ValueType", raw("key", 13, {0}), corrupt, {"metadata key \"key\" has value type 13; known are 0 to 12"}),
      gguf("Boolean", raw("key", 7, {2}), corrupt, {"\"key\" is a boolean of value 2", "0 or 1"}),
      gguf("StringTooLong", raw("key", 8, {100, 0}), corrupt, {"a string of \"key\" claims 100 bytes; 8 are left"}),
      gguf("StringHuge", raw("key", 8, {UINT64_MAX, 0}), corrupt,
           {"claims 18446744073709551615 bytes", "the limit is 1073741824"}),
      gguf("ArrayOfArrays", array(9, 0, ""), unsupported, {"\"key\" is an array of arrays"}),
      gguf("ArrayType", array(99, 0, ""), corrupt, {"\"key\" is an array of value type 99; known are 0 to 12"}),
      gguf("ArrayCount", array(4, 3, "12345678"), corrupt,
           {"claims 3 array elements; the 8 bytes left hold at most 2"}),
      gguf("ArrayHuge", array(8, UINT64_MAX / 4, ""), corrupt,
           {"claims 4611686018427387903 array elements", "the limit is 1073741824"}),
      gguf("ArrayBoolean", array(7, 2, "\1\7"), corrupt, {"is a boolean of value 7"}),
      gguf("AlignmentNoPower", alignment3, corrupt, {"general.alignment is 48; it must be a power of two"}),
      gguf("AlignmentZero", alignment0, corrupt, {"general.alignment is 0; it must be a power of two"}),
      gguf("AlignmentText", alignment_text, corrupt, {"general.alignment is no whole number"}),
      gguf("TokensNoTexts", no_texts, corrupt,
           {"tokenizer.ggml.tokens is no array of strings", "get another conversion"}),
      gguf("ScoresNoFloats", no_floats, corrupt, {"tokenizer.ggml.scores is no array of floats"}),
      gguf("ScoreNotANumber", not_a_number, corrupt, {"tokenizer.ggml.scores is no array of numbers: it holds NaN"}),
      gguf("TypeNegative", no_types, corrupt, {"tokenizer.ggml.token_type is no array of token types"}),
      gguf("Scores", scores, corrupt, {"tokenizer.ggml.scores has 1 entries for 2 tokens"}),
      gguf("TokenTypes", types, corrupt, {"tokenizer.ggml.token_type has 3 entries for 2 tokens"}),
  };
}

std::vector<BadInput> gguf_tensors() {
  using enum ErrorCode;
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  GgufWriter twice, overlap;
  twice.floats("a", {8}).floats("a", {8});
  overlap.tensors.push_back({.name = "a", .dims = {16}, .bytes = 64, .offset = 0});
  overlap.tensors.push_back({.name = "b", .dims = {8}, .bytes = 32, .offset = 32});
  std::vector<BadInput> cases = {
      tensor("NoName", {.name = "", .dims = {8}, .bytes = 32}, corrupt, {"tensor 1 of 1 has a name of 0 bytes"}),
      gguf("NameTwice", twice, corrupt, {"the tensor \"a\" appears twice"}),
      tensor("FiveDimensions", {.name = "w", .dims = {1, 1, 1, 1, 1}, .bytes = 4}, corrupt,
             {"tensor \"w\" has 5 dimensions, more than 4"}),
      tensor("ManyDimensions", {.name = "w", .bytes = 4, .dimensions = UINT32_MAX}, corrupt,
             {"has 4294967295 dimensions"}),
      tensor("ElementsOverflow", {.name = "w", .dims = {kHuge, 2, 2}}, corrupt,
             {"dimensions {4611686018427387904, 2, 2}, more than 2^63"}),
      tensor("BytesOverflow", {.name = "w", .dims = {kHuge}}, corrupt,
             {"4611686018427387904 elements of type F32, more than 2^63 bytes"}),
      tensor("RowOfBlocks", {.name = "w", .dims = {100, 2}, .type = 12, .bytes = 288}, corrupt,
             {"type Q4_K has rows of 100 values", "blocks of 256"}),
      tensor("Unaligned", {.name = "w", .dims = {8}, .bytes = 64, .offset = 4}, corrupt,
             {"begins at 4 of the data", "the alignment 32"}),
      tensor("OffsetOverflow", {.name = "w", .dims = {8}, .bytes = 32, .offset = ~uint64_t{31}}, corrupt,
             {"ends beyond 2^63"}),
      tensor("BeyondTheEnd", {.name = "w", .dims = {64}, .bytes = 32}, corrupt,
             {"expected 384 bytes, found 160: 224 missing", "resume it"}),
      gguf("Overlap", overlap, corrupt, {"tensors \"a\" (bytes 96 to 160) and \"b\" (from byte 128) overlap"}),
      tensor("TypeRemoved", {.name = "blk.0.w", .dims = {32}, .type = 4, .bytes = 18}, unsupported,
             {"tensor \"blk.0.w\" has type id 4: "}),
      tensor("TypeOfAFork", {.name = "w", .dims = {32}, .type = 139, .bytes = 18}, unsupported,
             {"has type id 139: ", "ik_llama.cpp"}),
      tensor("TypeUnknown", {.name = "w", .dims = {32}, .type = 100000, .bytes = 18}, unsupported,
             {"has type id 100000: ", "another quantization"}),
      tensor("TypeAboveInt", {.name = "w", .dims = {32}, .type = UINT32_MAX, .bytes = 18}, unsupported,
             {"has type id 4294967295: "}),
  };
  for (const uint32_t removed : {5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    cases.push_back(tensor(fmt::format("TypeRemoved{}", removed),
                           {.name = "w", .dims = {32}, .type = removed, .bytes = 18}, unsupported,
                           {fmt::format("has type id {}: ", removed)}));
  }
  return cases;
}

std::vector<BadInput> safetensors_headers() {
  using enum ErrorCode;
  const auto one = [](std::string_view shape, std::string_view offsets, uint64_t data, std::string_view dtype = "F32") {
    return safetensors(fmt::format(R"({{"w":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets),
                       data);
  };
  const std::string two =
      R"({{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}},"b":{{"dtype":"U8","shape":[{1}],"data_offsets":[{2},{3}]}}}})";
  std::string length_only, huge;
  put<uint64_t>(length_only, 50);
  put<uint64_t>(huge, 100'000'001);
  const std::string twice =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  return {
      safe("HeaderCutOff", length_only + "{\"a\":", corrupt, {"expected 58 bytes, found 13: 45 missing", "download"}),
      safe("HeaderTooLarge", huge + "{}", corrupt, {"header length 100000001", "from 2 to 100000000"}),
      safe("HeaderNoJson", safetensors("{\"a\" 1}", 0), corrupt,
           {"header: not valid JSON at byte", "download it again"}),
      safe("KeyTwice", safetensors(twice, 1), corrupt, {"header: the key \"a\" appears twice", "download it again"}),
      safe("DeepHeader", safetensors("{\"a\":" + std::string(5000, '[') + std::string(5000, ']') + "}", 0), unsupported,
           {"nested deeper than 8"}),
      safe("MetadataNoStrings", safetensors(R"({"__metadata__":{"format":1}})", 0), corrupt,
           {"__metadata__ \"format\" is no string"}),
      safe("NoDtype", safetensors(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4), corrupt,
           {"tensor \"w\" has no dtype"}),
      safe("NoShape", safetensors(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4), corrupt,
           {"tensor \"w\" has no shape"}),
      safe("NoOffsets", safetensors(R"({"w":{"dtype":"F32","shape":[1]}})", 4), corrupt,
           {"tensor \"w\" has no data_offsets"}),
      safe("TensorIsAString", safetensors(R"({"w":"x"})", 0), corrupt, {"tensor \"w\" has no dtype"}),
      safe("NegativeDimension", one("[-1]", "[0,4]", 4), corrupt, {"the dimension -1"}),
      safe("FractionalDimension", one("[1.5]", "[0,4]", 4), corrupt, {"the dimension 1.5"}),
      safe("HugeDimension", one("[18446744073709551615]", "[0,4]", 4), corrupt,
           {"the dimension 18446744073709551615, no whole number below 2^63"}),
      safe("ManyDimensions", one("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]", 4), corrupt,
           {"17 dimensions, more than 16"}),
      safe("ShapeOverflow", one("[4294967296,4294967296]", "[0,4]", 4), corrupt,
           {"[4294967296, 4294967296] has more than 2^63 bits"}),
      safe("BackwardOffsets", one("[1]", "[4,0]", 4), corrupt, {"data_offsets [4,0], no range"}),
      safe("HugeOffsets", one("[1]", "[0,9223372036854775807]", 4), corrupt,
           {"data_offsets [0,9223372036854775807], no range"}),
      safe("SizeAgainstShape", one("[2]", "[0,4]", 4), corrupt,
           {"shape [2] and dtype F32 takes 8 bytes, but its data_offsets hold 4"}),
      safe("HalfAByte", one("[3]", "[0,2]", 2, "F4"), corrupt, {"dtype F4 takes 2 bytes"}),
      safe("GapAtTheStart", one("[1]", "[4,8]", 8), corrupt, {"a gap before tensor \"w\"", "the header ends at byte"}),
      safe("Gap", safetensors(fmt::format(fmt::runtime(two), 4, 4, 6, 10), 10), corrupt, {"a gap before tensor \"b\""}),
      safe("Overlap", safetensors(fmt::format(fmt::runtime(two), 4, 4, 2, 6), 6), corrupt,
           {"an overlap before tensor \"b\"", "a ends at byte"}),
      safe("DataCutOff", small_safetensors().substr(0, small_safetensors().size() - 3), corrupt,
           {"3 missing", "the download is incomplete"}),
      safe("DataTooLong", small_safetensors() + "xyz", corrupt, {"3 bytes follow the last tensor"}),
  };
}

std::vector<BadInput> safetensors_folders() {
  using enum ErrorCode;
  const std::string index =
      R"({"metadata":{"total_size":1},"weight_map":{"a.weight":"model-00001-of-00003.safetensors",)"
      R"("b.weight":"model-00001-of-00003.safetensors","c":"model-00002-of-00003.safetensors",)"
      R"("d":"model-00003-of-00003.safetensors"}})";
  const auto quantized = [](std::string name, std::string header, uint64_t bytes, std::vector<std::string> fragments,
                            std::string config = "{}") {
    fragments.push_back("get a GGUF file of the model or its unquantized checkpoint");
    return folder(std::move(name), {{"config.json", config}, {"model.safetensors", safetensors(header, bytes)}},
                  unsupported, fragments);
  };
  const auto escape = [](std::string name, std::string to) {
    return folder(std::move(name),
                  {{"model.safetensors.index.json", fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", to)}}, corrupt,
                  {"which is no file name"});
  };
  return {
      folder(
          "MissingShards",
          {{"model.safetensors.index.json", index}, {"model-00001-of-00003.safetensors", small_safetensors()}},
          not_found,
          {"of the model's 3 files 2 are missing: model-00002-of-00003.safetensors, model-00003-of-00003.safetensors",
           "same folder"}),
      folder("MissingShardsWithoutIndex", {{"model-00002-of-00003.safetensors", small_safetensors()}}, not_found,
             {"model-00001-of-00003.safetensors, model-00003-of-00003.safetensors"}),
      folder("ShardLacksTensor",
             {{"config.json", "{}"},
              {"model.safetensors.index.json", R"({"weight_map":{"a.weight":"x.safetensors","zz":"x.safetensors"}})"},
              {"x.safetensors", small_safetensors()}},
             corrupt, {"the index names 1 tensors that their files do not hold: zz in x.safetensors"}),
      folder("SameTensorInTwoShards",
             {{"config.json", "{}"},
              {"model-00001-of-00002.safetensors", small_safetensors()},
              {"model-00002-of-00002.safetensors", small_safetensors()}},
             corrupt, {"both hold the tensor \"a.weight\""}),
      folder("IndexWithoutMap", {{"model.safetensors.index.json", R"({"metadata":{}})"}}, corrupt,
             {"has no weight_map", "download it again"}),
      folder("IndexNoJson", {{"model.safetensors.index.json", "{\"weight_map\":"}}, corrupt,
             {"not valid JSON", "download the index again"}),
      folder("IndexTwice", {{"model.safetensors.index.json", R"({"weight_map":{"a":"x","a":"y"}})"}}, corrupt,
             {"the key \"a\" appears twice"}),
      folder("IndexIsAWebPage", {{"model.safetensors.index.json", "<html>"}}, corrupt, {"is a web page"}),
      escape("IndexLeavesTheFolder", "../x.safetensors"),
      escape("IndexNamesAnAbsolutePath", "/etc/passwd"),
      escape("IndexNamesTheParent", ".."),
      folder("ShardIsAPointer",
             {{"config.json", "{}"},
              {"model.safetensors.index.json", R"({"weight_map":{"a":"x.safetensors"}})"},
              {"x.safetensors", kPointer}},
             corrupt, {"x.safetensors: is a Git-LFS pointer"}),
      folder("ConfigNoJson", {{"config.json", "{,}"}, {"model.safetensors", small_safetensors()}}, corrupt,
             {"config.json: not valid JSON at byte 2", "correct the file"}),
      folder("ConfigNoObject", {{"config.json", "[]"}, {"model.safetensors", small_safetensors()}}, corrupt,
             {"config.json: is no JSON object"}),
      folder("ConfigDeep", {{"config.json", std::string(100000, '[')}, {"model.safetensors", small_safetensors()}},
             unsupported, {"nested deeper than 32"}),
      folder("ConfigLarge",
             {{"config.json", std::string((16 << 20) + 1, ' ')}, {"model.safetensors", small_safetensors()}},
             unsupported, {"config.json: is 16777217 bytes, more than the 16777216"}),
      quantized("Exl2", R"({"p.q_invperm":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}})", 2,
                {"quantized with EXL2", "(quant_method \"exl2\")", "\"p.q_invperm\" of I16"},
                R"({"quantization_config":{"quant_method":"exl2"}})"),
      quantized("Hqq", R"({"p.W_q":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, {"quantized with HQQ"}),
      quantized("OtherFp8", R"({"p.weight":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}})", 1, {"FP8 (e5m2)"}),
      quantized("ByMethodAlone", R"({"p.strange":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
                {"quantized with \"newquant\" (quantization_config.quant_method"},
                R"({"quantization_config":{"quant_method":"newquant"}})"),
  };
}

class BadInputs : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputs, GivesItsError) {
  const TempFolder at;
  const std::string path = GetParam().make(at);
  const auto files = open_weights(path);
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().code, GetParam().code) << files.error().message;
  for (const std::string& fragment : GetParam().fragments) EXPECT_THAT(files.error().message, HasSubstr(fragment));
  EXPECT_THAT(files.error().message, HasSubstr(path.empty() ? "model" : at.path()));
  // Every message ends with what to do.
  EXPECT_THAT(files.error().message,
              testing::ContainsRegex("[Dd]ownload|get |[Gg]ive |check |correct |put the pieces|convert|newer moxie|"
                                     "use |merge |right (one|folder)|name a|quantize "));
}

std::string case_name(const testing::TestParamInfo<BadInput>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(NotWeights, BadInputs, testing::ValuesIn(not_weights()), case_name);
INSTANTIATE_TEST_SUITE_P(Paths, BadInputs, testing::ValuesIn(paths()), case_name);
INSTANTIATE_TEST_SUITE_P(GgufHeaders, BadInputs, testing::ValuesIn(gguf_headers()), case_name);
INSTANTIATE_TEST_SUITE_P(GgufTensors, BadInputs, testing::ValuesIn(gguf_tensors()), case_name);
INSTANTIATE_TEST_SUITE_P(SafetensorsHeaders, BadInputs, testing::ValuesIn(safetensors_headers()), case_name);
INSTANTIATE_TEST_SUITE_P(SafetensorsFolders, BadInputs, testing::ValuesIn(safetensors_folders()), case_name);

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Real files cut in the middle of the header and at random places of the data.
TEST(CutFiles, AlwaysGiveAnError) {
  const std::string golden = source_dir() + "/tests/data/golden/mixtral/";
  for (const std::string name : {"merged.gguf", "split.gguf", "model.safetensors"}) {
    const std::string bytes = read_all(golden + name);
    ASSERT_GT(bytes.size(), 100000u);
    const TempFolder at;
    at.write("config.json", "{}");
    std::mt19937 random(7);
    for (int i = 0; i < 100; ++i) {
      // The last bytes of a GGUF file are padding; a cut below is always noticed.
      const size_t length = i < 50 ? random() % 2000 : random() % (bytes.size() - 32);
      const auto files = open_weights(at.write(name, std::string_view(bytes).substr(0, length)));
      ASSERT_FALSE(files.ok()) << name << " cut to " << length;
      EXPECT_EQ(files.error().code, length == 0 || length >= 9 ? ErrorCode::corrupt : files.error().code)
          << files.error().message;
      EXPECT_THAT(files.error().message, HasSubstr(at / name));
    }
  }
}

}  // namespace
}  // namespace moxie
