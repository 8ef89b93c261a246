#include "format/formats/safetensors_mlx.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::safetensors;
using test::TempFolder;

// Headers of one quantized matrix (8, 256) and a norm; bits and columns of a scale as given.
std::string header(int bits, int group, const char* scale_type = "F16", const char* biases = "p.biases") {
  const int words = 256 * bits / 32, groups = 256 / group;
  const int weight_bytes = 8 * words * 4, scale_bytes = 8 * groups * 2;
  return fmt::format(R"({{"norm.weight":{{"dtype":"F16","shape":[4],"data_offsets":[0,8]}},)"
                     R"("p.weight":{{"dtype":"U32","shape":[8,{}],"data_offsets":[8,{}]}},)"
                     R"("p.scales":{{"dtype":"{}","shape":[8,{}],"data_offsets":[{},{}]}},)"
                     R"("{}":{{"dtype":"{}","shape":[8,{}],"data_offsets":[{},{}]}}}})",
                     words, 8 + weight_bytes, scale_type, groups, 8 + weight_bytes, 8 + weight_bytes + scale_bytes,
                     biases, scale_type, groups, 8 + weight_bytes + scale_bytes, 8 + weight_bytes + 2 * scale_bytes);
}

Result<WeightFiles> opened(const std::string& header, const std::string& config, OpenFor purpose) {
  TempFolder folder;
  const size_t end = header.rfind(',');
  const uint64_t bytes = std::stoull(header.substr(end + 1));
  folder.write("model.safetensors", safetensors(header, bytes));
  folder.write("config.json", config);
  return open_weights(folder.path(), purpose);
}

TEST(SafetensorsMlx, TriplesAreSizedAsOneTensor) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      const auto config = fmt::format(R"({{"quantization":{{"bits":{},"group_size":{}}}}})", bits, group);
      const auto files = opened(header(bits, group, group == 64 ? "BF16" : "F16"), config, OpenFor::sizes);
      ASSERT_TRUE(files.ok()) << files.error().message;
      ASSERT_EQ(files->tensors.size(), 2u);
      EXPECT_EQ(files->tensors[0].name, "norm.weight");
      const TensorInfo* tensor = files->find("p.weight");
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(tensor->shape, (std::vector<int64_t>{8, 256}));
      EXPECT_EQ(tensor->bytes, 8u * (256 * static_cast<unsigned>(bits) / 8 + 256 / static_cast<unsigned>(group) * 4));
      EXPECT_EQ(static_cast<uint64_t>(8 * tensor->type->row_bytes(256)), tensor->bytes);
      EXPECT_EQ(tensor->dtype, fmt::format("MLX {}-bit", bits));
      ASSERT_TRUE(files->sizes_only.has_value());
      EXPECT_EQ(files->notices.size(), 1u);
    }
  }
}

TEST(SafetensorsMlx, ModulesMayHaveTheirOwnGroups) {
  const auto files = opened(
      header(4, 32), R"({"quantization":{"bits":4,"group_size":64,"p":{"bits":4,"group_size":32}}})", OpenFor::sizes);
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->find("p.weight")->shape.back(), 256);
}

TEST(SafetensorsMlx, ComputingIsRefusedAsEver) {
  const auto files = opened(header(4, 64), R"({"quantization":{"bits":4,"group_size":64}})", OpenFor::computing);
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().code, ErrorCode::unsupported);
  EXPECT_NE(files.error().message.find("quantized with MLX"), std::string::npos) << files.error().message;
}

TEST(SafetensorsMlx, OtherFormsAreRefusedForSizesToo) {
  const std::string config = R"({"quantization":{"bits":4,"group_size":64}})";
  EXPECT_FALSE(opened(header(4, 64, "F16", "p.other"), config, OpenFor::sizes).ok()) << "no biases";
  EXPECT_FALSE(opened(header(4, 32), config, OpenFor::sizes).ok())
      << "groups of another length: no known number of bits";
  EXPECT_FALSE(opened(header(4, 64, "I16"), config, OpenFor::sizes).ok()) << "scales that are no floats";
}

}  // namespace
}  // namespace moxie
