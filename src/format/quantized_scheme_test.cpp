// Every scheme of quantized.inc: what joins, and what is refused with a reason. The numbers themselves are checked by
// quant/parted_test.cpp and the golden models.
#include "format/quantized_scheme.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::TempFolder;

struct Piece {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string data;  // empty: anything
};

int64_t width(const std::string& dtype) {
  if (dtype == "I64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  return dtype == "F16" || dtype == "BF16" || dtype == "I16" ? 2 : 1;
}

std::string file_of(const std::vector<Piece>& pieces) {
  std::string header = "{", data;
  for (const Piece& piece : pieces) {
    int64_t bytes = width(piece.dtype);
    std::string shape;
    for (const int64_t dim : piece.shape) {
      bytes *= dim;
      shape += (shape.empty() ? "" : ",") + std::to_string(dim);
    }
    header +=
        fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", header.size() > 1 ? "," : "",
                    piece.name, piece.dtype, shape, data.size(), data.size() + static_cast<size_t>(bytes));
    data += piece.data.empty() ? std::string(static_cast<size_t>(bytes), '\0') : piece.data;
  }
  std::string out;
  test::put<uint64_t>(out, header.size() + 1);
  return out + header + "}" + data;
}

Result<WeightFiles> opened(const std::vector<Piece>& pieces, const std::string& config = "{}") {
  const TempFolder folder;
  folder.write("model.safetensors", file_of(pieces));
  folder.write("config.json", config);
  return open_weights(folder.path());
}

// The pieces with one of them changed, or left out.
std::vector<Piece> with(std::vector<Piece> pieces, const Piece& changed) {
  for (Piece& piece : pieces) {
    if (piece.name == changed.name) piece = changed;
  }
  return pieces;
}
std::vector<Piece> without(std::vector<Piece> pieces, const std::string& name) {
  std::erase_if(pieces, [&](const Piece& piece) { return piece.name == name; });
  return pieces;
}

TensorInfo joined(const Result<WeightFiles>& files, const std::string& name = "p.weight") {
  TensorInfo none;
  none.parted = std::make_shared<PartedTensor>();
  none.type = find_quant_type("f32");
  EXPECT_TRUE(files.ok()) << files.error().message;
  const TensorInfo* tensor = files.ok() ? files->find(name) : nullptr;
  EXPECT_NE(tensor, nullptr) << name;
  EXPECT_TRUE(tensor != nullptr && tensor->parted != nullptr);
  return tensor == nullptr || !tensor->parted ? none : *tensor;
}

void expect_refused(const Result<WeightFiles>& files, ErrorCode code, const std::vector<std::string>& words) {
  ASSERT_FALSE(files.ok()) << words.front();
  EXPECT_EQ(files.error().code, code) << files.error().message;
  for (const std::string& word : words)
    EXPECT_NE(files.error().message.find(word), std::string::npos) << files.error().message;
}
void expect_corrupt(const Result<WeightFiles>& files, const std::vector<std::string>& words) {
  expect_refused(files, ErrorCode::corrupt, words);
}

// ---- MLX ----

std::vector<Piece> mlx(int64_t bits, int64_t group, const std::string& scales = "F16") {
  return {{"norm.weight", "F16", {4}, ""},
          {"p.weight", "U32", {8, 256 * bits / 32}, ""},
          {"p.scales", scales, {8, 256 / group}, ""},
          {"p.biases", scales, {8, 256 / group}, ""}};
}

TEST(QuantizedMlx, EveryWidthAndGroup) {
  for (const int64_t bits : {2, 3, 4, 5, 6, 8}) {
    for (const int64_t group : {8, 16, 32, 64, 128, 256}) {
      const auto config = fmt::format(R"({{"quantization":{{"bits":{},"group_size":{}}}}})", bits, group);
      const auto files = opened(mlx(bits, group, group == 64 ? "BF16" : "F32"), config);
      const TensorInfo& tensor = joined(files);
      EXPECT_EQ(tensor.shape, (std::vector<int64_t>{8, 256}));
      EXPECT_EQ(tensor.dtype, fmt::format("MLX {}-bit", bits));
      EXPECT_EQ(tensor.parted->layout.group, group);
      EXPECT_EQ(tensor.parted->layout.bits, bits);
      const bool native = (bits == 4 || bits == 8) && group % 32 == 0;
      EXPECT_EQ(tensor.type->native, native);
      EXPECT_EQ(files->notices.size(), native ? 0u : 1u);
      uint64_t bytes = 0;
      for (const TensorPart& part : tensor.parted->parts) {
        EXPECT_EQ(part.row_bytes * 8, part.bytes);
        bytes += part.bytes;
      }
      EXPECT_EQ(tensor.bytes, bytes);
      EXPECT_EQ(files->tensors.size(), 2u) << "scales and biases are no tensors of their own";
    }
  }
}

TEST(QuantizedMlx, ModulesMayHaveTheirOwnWidth) {
  const auto files =
      opened(mlx(8, 32), R"({"quantization":{"bits":4,"group_size":64,"p":{"bits":8,"group_size":32}}})");
  EXPECT_EQ(joined(files).type->name, "mlx8");
  EXPECT_TRUE(files->notices.empty());
}

// 8 bits in groups of 32 have as many words and scales a row as 4 bits in groups of 64; the row's length tells.
TEST(QuantizedMlx, ShapesCountMoreThanTheConfig) {
  const auto files = opened(mlx(8, 32), R"({"hidden_size":256,"quantization":{"bits":4,"group_size":64}})");
  EXPECT_EQ(joined(files).type->name, "mlx8");
  EXPECT_EQ(files->notices.size(), 1u);
  EXPECT_EQ(joined(opened(mlx(4, 64), R"({"hidden_size":256})")).type->name, "mlx4");
  expect_corrupt(opened(mlx(4, 64), R"({"quantization":{"bits":4,"group_size":48}})"),
                 {"'p.weight'", "group_size: 48"});
  expect_corrupt(opened(mlx(4, 64)), {"'p.weight'", "bits: nothing"});
}

// What config.json does not say, or says wrong, the name of the module and the groups that MLX writes decide.
TEST(QuantizedMlx, OfSeveralWidthsTheLikelyOne) {
  const auto columns = [](const std::string& module, std::vector<Piece> pieces, const std::string& config) {
    for (Piece& piece : pieces) {
      if (piece.name.starts_with("p.")) piece.name.replace(0, 1, module);
    }
    return joined(opened(pieces, config), module + ".weight").shape.back();
  };
  const std::string sizes = R"({"hidden_size":256,"intermediate_size":128)";
  for (const std::string& config : {sizes + "}", sizes + R"(,"quantization":{"bits":6,"group_size":48}})"}) {
    EXPECT_EQ(columns("a.gate_proj", mlx(4, 64), config), 256) << "4 bits in groups of 64";
    EXPECT_EQ(columns("a.down_proj", mlx(4, 64), config), 128) << "8 bits in groups of 32";
    EXPECT_EQ(columns("a.o_proj", mlx(4, 32), config), 256) << "not 8 bits in groups of 16";
  }
}

TEST(QuantizedMlx, StackedExpertsKeepTheirLeadingDimension) {
  const TensorInfo& tensor = joined(opened(
      {{"p.weight", "U32", {3, 8, 32}, ""}, {"p.scales", "F16", {3, 8, 4}, ""}, {"p.biases", "F16", {3, 8, 4}, ""}},
      R"({"quantization":{"bits":4,"group_size":64}})"));
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{3, 8, 256}));
  EXPECT_EQ(tensor.parted->layout.rows, 24);
  EXPECT_EQ(tensor.parted->parts[0].row_bytes, 128u);
}

TEST(QuantizedMlx, FloatModes) {
  const auto form = [](int64_t bits, int64_t group) {
    return std::vector<Piece>{{"p.weight", "U32", {8, 256 * bits / 32}, ""}, {"p.scales", "U8", {8, 256 / group}, ""}};
  };
  EXPECT_EQ(joined(opened(form(4, 32), R"({"quantization":{"mode":"mxfp4"}})")).type->name, "mlx_mxfp4");
  EXPECT_EQ(joined(opened(form(8, 32), R"({"quantization":{"mode":"mxfp8"}})")).type->name, "mlx_float");
  EXPECT_EQ(joined(opened(form(4, 16), R"({"quantization":{"mode":"nvfp4"}})")).type->name, "mlx_float");
  expect_corrupt(opened(form(4, 32), R"({"quantization":{"mode":"mxfp8"}})"), {"'p.weight'", "mxfp8"});
  expect_corrupt(opened(form(4, 128)), {"'p.weight'", "no mode"});
  auto scaled = form(4, 16);
  scaled.push_back({"p.global_scale", "F32", {1}, ""});
  expect_refused(opened(scaled), ErrorCode::unsupported, {"global_scale"});
}

TEST(QuantizedMlx, PartsThatDoNotBelongTogether) {
  const std::string config = R"({"quantization":{"bits":4,"group_size":64}})";
  const auto good = mlx(4, 64);
  ASSERT_TRUE(opened(good, config).ok());
  expect_corrupt(opened(without(good, "p.biases"), config), {"'p.biases'", "missing"});
  expect_corrupt(opened(with(good, {"p.biases", "F16", {8, 3}, ""}), config), {"'p.biases'", "[8, 4]"});
  expect_corrupt(opened(with(good, {"p.biases", "BF16", {8, 4}, ""}), config), {"'p.biases'", "F16"});
  expect_corrupt(opened(with(good, {"p.scales", "F16", {7, 4}, ""}), config), {"'p.scales'", "[7, 4]"});
  expect_corrupt(opened(with(good, {"p.scales", "I16", {8, 4}, ""}), config), {"'p.biases'", "I16"});
  auto orphan = good;
  orphan.push_back({"q.scales", "F16", {8, 4}, ""});
  expect_corrupt(opened(orphan, config), {"'q.weight'", "missing"});
}

// ---- GPTQ ----

std::string order(int64_t inputs, int64_t group, int32_t swapped = -1) {
  std::string text;
  for (int64_t i = 0; i < inputs; ++i)
    test::put<int32_t>(text, i == 0 && swapped >= 0 ? swapped : static_cast<int32_t>(i / group));
  return text;
}

std::vector<Piece> gptq(int64_t bits, int64_t group) {
  return {{"p.qweight", "I32", {256 * bits / 32, 64}, ""},
          {"p.qzeros", "I32", {256 / group, 64 * bits / 32}, ""},
          {"p.scales", "F16", {256 / group, 64}, ""},
          {"p.g_idx", "I32", {256}, order(256, group)}};
}

TEST(QuantizedGptq, EveryWidthAndGroup) {
  for (const int64_t bits : {2, 3, 4, 8}) {
    for (const int64_t group : {32, 64, 128, 256}) {
      const auto files = opened(gptq(bits, group));
      const TensorInfo& tensor = joined(files);
      EXPECT_EQ(tensor.shape, (std::vector<int64_t>{64, 256}));
      EXPECT_EQ(tensor.type->name, bits == 4 ? "gptq4" : "gptq");
      EXPECT_EQ(tensor.parted->layout.group, group);
      EXPECT_EQ(tensor.parted->layout.zero_step, 1);
      EXPECT_EQ(tensor.parted->parts.size(), 3u);
      EXPECT_EQ(files->tensors.size(), 1u);
      EXPECT_EQ(files->notices.size(), bits == 4 ? 0u : 1u);
    }
  }
  EXPECT_EQ(joined(opened(without(gptq(4, 64), "p.g_idx"))).type->name, "gptq4");
}

TEST(QuantizedGptq, ZeroPointsOfBothVersions) {
  EXPECT_EQ(joined(opened(gptq(4, 64), R"({"quantization_config":{"checkpoint_format":"gptq_v2"}})"))
                .parted->layout.zero_step,
            0);
  EXPECT_EQ(
      joined(opened(gptq(4, 64), R"({"quantization_config":{"checkpoint_format":"gptq"}})")).parted->layout.zero_step,
      1);
  expect_refused(opened(gptq(4, 64), R"({"quantization_config":{"checkpoint_format":"marlin"}})"),
                 ErrorCode::unsupported, {"marlin", "gptq_v2"});
}

TEST(QuantizedGptq, InputsInAnotherOrder) {
  const auto files = opened(with(gptq(4, 64), {"p.g_idx", "I32", {256}, order(256, 64, 3)}));
  EXPECT_EQ(joined(files).type->name, "gptq");
  EXPECT_EQ(joined(files).parted->parts.size(), 4u);
  ASSERT_EQ(files->notices.size(), 1u);
  EXPECT_NE(files->notices[0].find("desc_act"), std::string::npos);
  expect_corrupt(opened(with(gptq(4, 64), {"p.g_idx", "I32", {256}, order(256, 64, 4)})),
                 {"'p.g_idx'", "group 4", "there are 4"});
}

TEST(QuantizedGptq, PartsThatDoNotBelongTogether) {
  const auto good = gptq(4, 64);
  expect_corrupt(opened(without(good, "p.qzeros")), {"'p.qzeros'", "missing"});
  expect_corrupt(opened(with(good, {"p.qzeros", "I32", {4, 7}, ""})), {"'p.qzeros'", "64 outputs"});
  expect_corrupt(opened(with(good, {"p.qzeros", "I32", {3, 8}, ""})), {"'p.scales'"});
  expect_corrupt(opened(with(good, {"p.scales", "I16", {4, 64}, ""})), {"'p.scales'", "F16"});
  expect_corrupt(opened(with(good, {"p.g_idx", "I32", {255}, ""})), {"'p.g_idx'", "256"});
}

// ---- AWQ ----

std::vector<Piece> awq(int64_t group) {
  return {{"p.qweight", "I32", {256, 8}, ""},
          {"p.qzeros", "I32", {256 / group, 8}, ""},
          {"p.scales", "F16", {256 / group, 64}, ""}};
}

TEST(QuantizedAwq, GroupsAndVersions) {
  for (const int64_t group : {16, 32, 128, 256}) {
    const TensorInfo& tensor =
        joined(opened(awq(group), R"({"quantization_config":{"quant_method":"awq","version":"GEMM"}})"));
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{64, 256}));
    EXPECT_EQ(tensor.type->name, group == 16 ? "awq" : "awq4");
    EXPECT_EQ(tensor.parted->layout.group, group);
  }
  expect_refused(opened(awq(64), R"({"quantization_config":{"quant_method":"awq","version":"gemv"}})"),
                 ErrorCode::unsupported, {"gemv", "gemm"});
  expect_refused(opened(awq(64), R"({"quantization_config":{"quant_method":"awq","bits":3}})"), ErrorCode::unsupported,
                 {"3 bits"});
  expect_corrupt(opened(with(awq(64), {"p.scales", "F16", {4, 63}, ""})), {"'p.scales'"});
  expect_corrupt(opened(with(awq(64), {"p.scales", "F16", {3, 64}, ""})), {"'p.scales'"});
  expect_corrupt(opened(without(awq(64), "p.qzeros")), {"'p.qzeros'", "missing"});
}

// ---- bitsandbytes ----

std::vector<Piece> nf4(const std::string& state) {
  return {{"p.weight", "U8", {1024, 1}, ""},
          {"p.weight.absmax", "F32", {32}, ""},
          {"p.weight.quant_map", "F32", {16}, ""},
          {"p.weight.quant_state.bitsandbytes__nf4", "U8", {static_cast<int64_t>(state.size())}, state}};
}
std::vector<Piece> nested(const std::string& state) {
  auto pieces = with(nf4(state), {"p.weight.absmax", "U8", {32}, ""});
  pieces.push_back({"p.weight.nested_absmax", "F32", {2}, ""});
  pieces.push_back({"p.weight.nested_quant_map", "F32", {256}, ""});
  return pieces;
}
constexpr const char* kState = R"({"quant_type":"nf4","blocksize":64,"shape":[16,128],"dtype":"bfloat16"})";
constexpr const char* kNested =
    R"({"quant_type":"nf4","blocksize":64,"shape":[16,128],"nested_blocksize":16,"nested_offset":0.25})";

TEST(QuantizedBitsandbytes, FourBits) {
  const TensorInfo& plain = joined(opened(nf4(kState)));
  EXPECT_EQ(plain.shape, (std::vector<int64_t>{16, 128}));
  EXPECT_EQ(plain.type->name, "bnb4");
  EXPECT_EQ(plain.dtype, "bitsandbytes nf4");
  EXPECT_EQ(plain.parted->layout.group, 64);
  const TensorInfo& twice = joined(opened(nested(kNested)));
  EXPECT_EQ(twice.parted->layout.constant, 0.25f);
  EXPECT_EQ(twice.parted->layout.group_rows, 16);
  EXPECT_EQ(twice.parted->parts.size(), 5u);
}

TEST(QuantizedBitsandbytes, FourBitsThatDoNotBelongTogether) {
  expect_corrupt(opened(without(nf4(kState), "p.weight.quant_state.bitsandbytes__nf4")), {"quant_state", "missing"});
  expect_corrupt(opened(without(nf4(kState), "p.weight.quant_map")), {"quant_map", "missing"});
  expect_corrupt(opened(nf4("{nonsense")), {"quant_state"});
  expect_corrupt(opened(nf4(R"({"blocksize":64,"shape":[16,130]})")), {"'p.weight'", "1040"});
  expect_corrupt(opened(nf4(R"({"blocksize":32,"shape":[16,128]})")), {"absmax", "64"});
  expect_corrupt(opened(nf4(R"({"blocksize":0,"shape":[16,128]})")), {"blocksize"});
  expect_corrupt(opened(nf4(R"({"blocksize":64,"shape":[4294967296,4294967296]})")), {"quant_state", "shape"});
  expect_corrupt(opened(without(nested(kNested), "p.weight.nested_quant_map")), {"nested_quant_map", "missing"});
  expect_corrupt(opened(nested(kState)), {"nested_absmax"});
}

TEST(QuantizedBitsandbytes, EightBits) {
  const std::vector<Piece> good = {{"p.weight", "I8", {8, 64}, ""}, {"p.SCB", "F32", {8}, ""}};
  EXPECT_EQ(joined(opened(good)).type->name, "bnb8");
  auto row_major = good;
  row_major.push_back({"p.weight_format", "U8", {1}, std::string(1, '\0')});
  EXPECT_EQ(opened(row_major)->tensors.size(), 1u);
  row_major.back().data = "\2";
  expect_refused(opened(row_major), ErrorCode::unsupported, {"weight_format 2"});
  expect_corrupt(opened(with(good, {"p.SCB", "F32", {7}, ""})), {"'p.SCB'", "8 values"});
  expect_corrupt(opened(with(good, {"p.weight", "I8", {8, 60}, ""})), {"'p.weight'", "32"});
}

// Beside the weights, where config.json says nothing.
TEST(QuantizedGptq, ConfigurationsOf2023) {
  const auto opened_beside = [](const std::vector<Piece>& pieces, const char* name, const char* text,
                                const char* config = "{}") {
    const TempFolder folder;
    folder.write("model.safetensors", file_of(pieces));
    folder.write("config.json", config);
    folder.write(name, text);
    return open_weights(folder.path());
  };
  const auto step = [&](const Result<WeightFiles>& files) { return joined(files).parted->layout.zero_step; };
  const auto plain = without(gptq(4, 64), "p.g_idx");
  const char* second = R"({"bits":4,"group_size":64,"checkpoint_format":"gptq_v2"})";
  EXPECT_EQ(step(opened_beside(plain, "quantize_config.json", second)), 0);
  EXPECT_EQ(step(opened_beside(plain, "other.json", second)), 1);
  EXPECT_EQ(step(opened_beside(plain, "quantize_config.json", second,
                               R"({"quantization_config":{"quant_method":"gptq","bits":4}})")),
            1)
      << "what config.json says comes first";
  expect_refused(opened_beside(plain, "quantize_config.json", R"({"is_marlin_format":true})"), ErrorCode::unsupported,
                 {"'marlin'"});
  expect_corrupt(opened_beside(plain, "quantize_config.json", "{"), {"quantize_config.json"});
  const std::vector<Piece> awq = {
      {"p.qweight", "I32", {64, 2}, ""}, {"p.qzeros", "I32", {2, 2}, ""}, {"p.scales", "F16", {2, 16}, ""}};
  EXPECT_EQ(joined(opened_beside(awq, "quant_config.json", R"({"w_bit":4,"version":"GEMM"})")).type->name, "awq4");
  expect_refused(opened_beside(awq, "quant_config.json", R"({"w_bit":4,"version":"GEMV"})"), ErrorCode::unsupported,
                 {"version 'gemv'"});
  auto brain = awq;
  brain.back().dtype = "BF16";
  EXPECT_EQ(joined(opened(brain)).type->name, "awq");
  EXPECT_EQ(joined(opened(with(plain, {"p.scales", "BF16", plain[2].shape, ""}))).type->name, "gptq");
}

// ---- compressed-tensors ----

std::string numbers(std::initializer_list<int64_t> values) {
  std::string text;
  for (const int64_t value : values) test::put<int64_t>(text, value);
  return text;
}
std::vector<Piece> packed(int64_t bits, int64_t group) {
  return {{"p.weight_packed", "I32", {12, 256 * bits / 32}, ""},
          {"p.weight_scale", "BF16", {12, 256 / group}, ""},
          {"p.weight_shape", "I64", {2}, numbers({12, 256})}};
}

TEST(QuantizedCompressedTensors, WidthsGroupsAndZeroPoints) {
  EXPECT_EQ(joined(opened(packed(4, 128))).type->name, "packed4");
  EXPECT_EQ(joined(opened(packed(4, 256))).parted->layout.group, 256);
  EXPECT_EQ(joined(opened(packed(8, 32))).type->name, "packed");
  auto off_centre = packed(4, 64);
  off_centre.push_back({"p.weight_zero_point", "I32", {2, 4}, ""});
  EXPECT_EQ(joined(opened(off_centre)).parted->parts.size(), 3u);
  off_centre.back().shape = {2, 3};
  expect_corrupt(opened(off_centre), {"weight_zero_point", "[2, 4]"});
}

TEST(QuantizedCompressedTensors, InputsInAnotherOrder) {
  auto ordered = packed(4, 64);
  ordered.push_back({"p.weight_g_idx", "I32", {256}, ""});
  const TensorInfo tensor = joined(opened(ordered));
  EXPECT_EQ(tensor.type->name, "packed_order");
  EXPECT_EQ(tensor.parted->parts.size(), 3u);
  ordered.push_back({"p.weight_zero_point", "I32", {2, 4}, ""});
  EXPECT_EQ(joined(opened(ordered)).parted->parts.size(), 4u);
  auto unused = packed(4, 64);
  unused.push_back({"p.weight_g_idx", "I32", {256}, std::string(256 * 4, '\xff')});
  EXPECT_EQ(joined(opened(unused)).type->name, "packed4") << "-1 throughout: no order";
  EXPECT_EQ(opened(unused)->tensors.size(), 1u);
  unused.back().data.replace(40, 4, std::string("\4\0\0\0", 4));
  expect_corrupt(opened(unused), {"'p.weight_g_idx'", "input 0 is of group -1; there are 4"});
  unused.back() = {"p.weight_g_idx", "I32", {255}, ""};
  expect_corrupt(opened(unused), {"'p.weight_g_idx'", "I32 [256]"});
}

std::string float_bytes(float value) {
  std::string text;
  test::put<float>(text, value);
  return text;
}

TEST(QuantizedCompressedTensors, FloatsOfFourBits) {
  const std::vector<Piece> nv = {{"p.weight_packed", "U8", {12, 32}, ""},
                                 {"p.weight_scale", "F8_E4M3", {12, 4}, ""},
                                 {"p.weight_global_scale", "F32", {1}, float_bytes(4)},
                                 {"p.input_global_scale", "F32", {1}, float_bytes(2)}};
  const TensorInfo tensor = joined(opened(nv));
  EXPECT_EQ(tensor.type->name, "mlx_float");
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{12, 64}));
  EXPECT_EQ(tensor.parted->layout.constant, 0.25f);
  const std::vector<Piece> mx = {{"p.weight_packed", "U8", {12, 32}, ""}, {"p.weight_scale", "U8", {12, 2}, ""}};
  EXPECT_EQ(joined(opened(mx)).type->name, "mlx_mxfp4");
  expect_corrupt(opened(with(nv, {"p.weight_scale", "F8_E4M3", {12, 2}, ""})), {"[12, 2]", "groups of 16"});
  expect_corrupt(opened(with(mx, {"p.weight_scale", "U8", {12, 4}, ""})), {"[12, 4]", "groups of 32"});
  expect_corrupt(opened(with(nv, {"p.weight_global_scale", "F32", {1}, float_bytes(0)})),
                 {"'p.weight_global_scale'", "says 0"});
  expect_corrupt(opened(with(nv, {"p.weight_global_scale", "F32", {2}, ""})), {"one number of F32"});
  expect_corrupt(opened(without(nv, "p.weight_scale")), {"weight_scale", "missing"});
  auto off_centre = mx;
  off_centre.push_back({"p.weight_zero_point", "U8", {12, 2}, ""});
  expect_refused(opened(off_centre), ErrorCode::unsupported, {"weight_zero_point", "symmetric"});
}

TEST(QuantizedCompressedTensors, SignedBytes) {
  const std::vector<Piece> rows = {{"p.weight", "I8", {12, 64}, ""}, {"p.weight_scale", "BF16", {12, 1}, ""}};
  EXPECT_EQ(joined(opened(rows)).type->name, "int8_rows");
  EXPECT_EQ(joined(opened(rows)).parted->layout.group_rows, 1);
  const auto all = with(rows, {"p.weight_scale", "F32", {1}, ""});
  EXPECT_EQ(joined(opened(all)).parted->layout.group_rows, 12);
  expect_corrupt(opened(with(rows, {"p.weight_scale", "BF16", {11, 1}, ""})), {"'p.weight_scale'", "12 rows"});
  expect_corrupt(opened(with(rows, {"p.weight_scale", "I8", {12, 1}, ""})), {"should be floats"});
  expect_corrupt(opened(with(rows, {"p.weight", "I8", {12, 60}, ""})), {"'p.weight'", "multiple of 32"});
}

TEST(QuantizedCompressedTensors, PartsThatDoNotBelongTogether) {
  const auto good = packed(4, 64);
  expect_corrupt(opened(without(good, "p.weight_shape")), {"weight_shape", "missing"});
  expect_corrupt(opened(without(good, "p.weight_scale")), {"weight_scale", "missing"});
  expect_corrupt(opened(with(good, {"p.weight_shape", "I64", {2}, numbers({12, 255})})), {"[12, 255]"});
  expect_corrupt(opened(with(good, {"p.weight_shape", "I64", {2}, numbers({-1, 256})})), {"[-1, 256]"});
  expect_corrupt(opened(with(good, {"p.weight_scale", "BF16", {12, 3}, ""})), {"[12, 3]"});
}

// ---- FP8 ----

TEST(QuantizedFp8, BlocksRowsAndOne) {
  const auto form = [](const std::string& scale, const std::string& dtype, std::vector<int64_t> shape) {
    return std::vector<Piece>{{"p.weight", "F8_E4M3", {200, 300}, ""}, {"p." + scale, dtype, std::move(shape), ""}};
  };
  const TensorInfo& blocks = joined(opened(form("weight_scale_inv", "F32", {2, 3})));
  EXPECT_EQ(blocks.parted->layout.group, 128);
  EXPECT_EQ(blocks.parted->layout.group_rows, 128);
  const std::string config = R"({"quantization_config":{"weight_block_size":[100,50]}})";
  EXPECT_EQ(joined(opened(form("weight_scale_inv", "BF16", {2, 6}), config)).parted->layout.group, 50);
  EXPECT_EQ(joined(opened(form("weight_scale", "F32", {200, 1}))).parted->layout.group_rows, 1);
  EXPECT_EQ(joined(opened(form("weight_scale", "F32", {}))).parted->layout.group_rows, 200);
  expect_corrupt(opened(form("weight_scale_inv", "F32", {2, 4})), {"weight_scale_inv", "[128, 128]"});
  expect_corrupt(opened(form("weight_scale_inv", "U8", {2, 3})), {"weight_scale_inv", "F32"});
  expect_corrupt(opened({{"p.weight", "F8_E4M3", {4, 4}, ""}}), {"'p.weight_scale_inv'", "missing"});
}

TEST(QuantizedSchemes, MatricesThatAreThereTwice) {
  auto pieces = gptq(4, 64);
  pieces.push_back({"p.weight", "F16", {64, 256}, ""});
  expect_corrupt(opened(pieces), {"'p.weight'", "twice"});
}

// ---- GPT-OSS ----

constexpr const char* kGptOss =
    R"({"model_type":"gpt_oss","num_local_experts":4,"hidden_size":64,"intermediate_size":32})";

const std::vector<Piece> kPublished = {{"l.experts.gate_up_proj_blocks", "U8", {4, 64, 2, 16}, ""},
                                       {"l.experts.gate_up_proj_scales", "U8", {4, 64, 2}, ""},
                                       {"l.experts.gate_up_proj_bias", "BF16", {4, 64}, ""},
                                       {"l.experts.down_proj_blocks", "U8", {4, 64, 1, 16}, ""},
                                       {"l.experts.down_proj_scales", "U8", {4, 64, 1}, ""},
                                       {"l.experts.down_proj_bias", "BF16", {4, 64}, ""}};
const std::vector<Piece> kTransposed = {{"l.experts.gate_up_proj", "BF16", {4, 64, 64}, ""},
                                        {"l.experts.gate_up_proj_bias", "F16", {4, 64}, ""},
                                        {"l.experts.down_proj", "F32", {4, 32, 64}, ""},
                                        {"l.experts.down_proj_bias", "F32", {4, 64}, ""}};

TEST(QuantizedGptOss, GateAndUpComeApart) {
  const auto files = opened(kPublished, kGptOss);
  for (const auto& [name, first] : {std::pair{"gate_proj", 0}, std::pair{"up_proj", 1}}) {
    const TensorInfo matrix = joined(files, fmt::format("l.experts.{}.weight", name));
    EXPECT_EQ(matrix.shape, (std::vector<int64_t>{4, 32, 64}));
    EXPECT_EQ(matrix.type->name, "mlx_mxfp4");
    EXPECT_EQ(matrix.parted->layout.row_begin, first);
    EXPECT_EQ(matrix.parted->layout.row_step, 2);
    EXPECT_EQ(matrix.bytes, uint64_t{4 * 64 * 2 * 17 / 2});
    EXPECT_EQ(matrix.parted->parts.at(0).row_bytes, 2u * 2 * 16);
    const TensorInfo biases = joined(files, fmt::format("l.experts.{}.bias", name));
    EXPECT_EQ(biases.shape, (std::vector<int64_t>{4, 32}));
    EXPECT_EQ(biases.type->name, "strided_bf16");
    EXPECT_EQ(biases.parted->layout.row_begin, first);
  }
  EXPECT_EQ(joined(files, "l.experts.down_proj.weight").shape, (std::vector<int64_t>{4, 64, 32}));
  ASSERT_NE(files->find("l.experts.down_proj.bias"), nullptr);
  EXPECT_EQ(files->tensors.size(), 6u);
  EXPECT_EQ(files->total_bytes(), uint64_t{4 * 64 * 2 * 17 + 4 * 64 * 17 + 2 * 4 * 64 * 2});
}

TEST(QuantizedGptOss, TransposedFloats) {
  const auto files = opened(kTransposed, kGptOss);
  const TensorInfo up = joined(files, "l.experts.up_proj.weight");
  EXPECT_EQ(up.type->name, "strided_bf16");
  EXPECT_EQ(up.dtype, "BF16");
  EXPECT_EQ(up.shape, (std::vector<int64_t>{4, 32, 64}));
  EXPECT_EQ(up.parted->layout.row_begin, 1);
  EXPECT_EQ(up.parted->layout.column_step, 64);
  EXPECT_EQ(up.parted->layout.group_rows, 32);
  const TensorInfo down = joined(files, "l.experts.down_proj.weight");
  EXPECT_EQ(down.type->name, "strided_f32");
  EXPECT_EQ(down.shape, (std::vector<int64_t>{4, 64, 32}));
  EXPECT_EQ(down.parted->layout.row_step, 1);
  EXPECT_EQ(joined(files, "l.experts.gate_proj.bias").type->name, "strided_f16");
  EXPECT_EQ(files->tensors.size(), 6u);
}

TEST(QuantizedGptOss, OtherModelsAreLeftAlone) {
  const auto files = opened({{"l.experts.gate_up_proj", "BF16", {4, 64, 64}, ""}}, R"({"model_type":"mixtral"})");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_NE(files->find("l.experts.gate_up_proj"), nullptr);
}

TEST(QuantizedGptOss, WhatDoesNotFitIsNamed) {
  const auto published = [](const Piece& changed) { return opened(with(kPublished, changed), kGptOss); };
  const auto transposed = [](const Piece& changed) { return opened(with(kTransposed, changed), kGptOss); };
  expect_corrupt(published({"l.experts.gate_up_proj_blocks", "U8", {4, 64, 2, 8}, ""}),
                 {"'l.experts.gate_up_proj_blocks' of U8 [4, 64, 2, 8]", "[..., rows, groups, 16]", "download"});
  expect_corrupt(published({"l.experts.gate_up_proj_blocks", "U8", {4, 32, 2, 16}, ""}),
                 {"gate_up_proj_blocks", "should be [4, 64, 2, 16] by config.json (num_local_experts 4"});
  expect_corrupt(published({"l.experts.down_proj_blocks", "U8", {4, 64, 2, 16}, ""}),
                 {"down_proj_blocks", "should be [4, 64, 1, 16] by config.json"});
  expect_corrupt(published({"l.experts.gate_up_proj_scales", "U8", {4, 64, 1}, ""}),
                 {"gate_up_proj_scales' of U8 [4, 64, 1]", "[4, 64, 2], as its blocks have"});
  expect_corrupt(published({"l.experts.gate_up_proj_scales", "F16", {4, 64, 2}, ""}), {"should be of U8"});
  expect_corrupt(published({"l.experts.gate_up_proj_bias", "BF16", {4, 62}, ""}), {"should be [4, 64] by config.json"});
  expect_corrupt(published({"l.experts.gate_up_proj_bias", "I32", {4, 64}, ""}), {"should be of BF16, F16 or F32"});
  expect_corrupt(published({"l.experts.down_proj_bias", "BF16", {4, 63}, ""}), {"should be [4, 64] by config.json"});
  for (const char* gone : {"l.experts.gate_up_proj_bias", "l.experts.gate_up_proj_scales", "l.experts.down_proj_scales",
                           "l.experts.gate_up_proj_blocks", "l.experts.down_proj_bias"}) {
    expect_corrupt(opened(without(kPublished, gone), kGptOss), {gone, "missing", "download"});
  }
  expect_corrupt(opened({{"x_blocks", "U8", {3, 0, 16}, ""}, {"x_scales", "U8", {3, 0}, ""}}), {"holds no rows"});
  expect_corrupt(opened({{"x.experts.gate_up_proj_blocks", "U8", {2, 3, 1, 16}, ""},
                         {"x.experts.gate_up_proj_scales", "U8", {2, 3, 1}, ""}}),
                 {"as many rows of gate as of up"});
  expect_corrupt(transposed({"l.experts.gate_up_proj", "BF16", {4, 32, 64}, ""}),
                 {"'l.experts.gate_up_proj' of BF16 [4, 32, 64]", "should be [4, 64, 64] by config.json"});
  expect_corrupt(transposed({"l.experts.down_proj", "BF16", {4, 64, 32}, ""}),
                 {"should be [4, 32, 64] by config.json"});
  expect_corrupt(transposed({"l.experts.gate_up_proj", "F8_E4M3", {4, 64, 64}, ""}), {"should be of BF16, F16 or F32"});
  expect_corrupt(transposed({"l.experts.down_proj", "BF16", {4 * 32, 64}, ""}), {"should have 3 dimensions"});
  for (const char* gone : {"l.experts.gate_up_proj_bias", "l.experts.down_proj_bias"})
    expect_corrupt(opened(without(kTransposed, gone), kGptOss), {gone, "missing", "download"});
}

// ---- the rows of all experts in one matrix ----

TEST(ExpertRows, BecomeAMatrixForEach) {
  const std::vector<Piece> pieces = {{"model.layers.3.block_sparse_moe.w1", "BF16", {4 * 24, 16}, ""},
                                     {"model.layers.3.block_sparse_moe.w2", "F16", {4 * 24, 16}, ""},
                                     {"model.layers.3.block_sparse_moe.w3.weight", "BF16", {4 * 24, 16}, ""}};
  const char* config = R"({"num_local_experts":4,"hidden_size":16})";
  const auto files = opened(pieces, config);
  ASSERT_TRUE(files.ok()) << files.error().message;
  for (const char* name : {"gate_proj", "up_proj"}) {
    const TensorInfo* rows = files->find(fmt::format("model.layers.3.block_sparse_moe.switch_mlp.{}.weight", name));
    ASSERT_NE(rows, nullptr) << name;
    EXPECT_EQ(rows->shape, (std::vector<int64_t>{4, 24, 16}));
    EXPECT_FALSE(rows->parted);
  }
  const TensorInfo down = joined(files, "model.layers.3.block_sparse_moe.switch_mlp.down_proj.weight");
  EXPECT_EQ(down.shape, (std::vector<int64_t>{4, 16, 24}));
  EXPECT_EQ(down.type->name, "strided_f16");
  EXPECT_EQ(down.parted->layout.column_step, 16);

  const auto changed = [&](const Piece& piece) { return opened(with(pieces, piece), config); };
  expect_corrupt(changed({"model.layers.3.block_sparse_moe.w1", "BF16", {4 * 24 + 1, 16}, ""}),
                 {"block_sparse_moe.w1' of BF16 [97, 16]", "the rows of 4 experts (num_experts) with 16 numbers each"});
  expect_corrupt(changed({"model.layers.3.block_sparse_moe.w2", "BF16", {4 * 16, 24}, ""}), {"[64, 24]", "16 numbers"});
  expect_corrupt(changed({"model.layers.3.block_sparse_moe.w2", "I8", {4 * 24, 16}, ""}), {"should be of BF16"});
  expect_corrupt(opened(pieces, R"({"hidden_size":16})"), {"nothing says how many they are", "num_experts"});
  expect_corrupt(opened(pieces, R"({"num_local_experts":0})"), {"said to be 0", "(1 to 65535)"});
}

}  // namespace
}  // namespace moxie
