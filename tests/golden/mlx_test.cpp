// MLX checkpoints whose experts and routers stand under other names: the same bits.
#include <gtest/gtest.h>

#include "format/test_files.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

namespace fs = golden::fs;

const std::vector<int32_t> kMlxIds = {5, 109, 28, 15, 57, 4, 52, 64};

fs::path mlx_folder(const std::string& name) {
  return golden::data_folder() / "golden" / name;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// The model with parts of its tensors' names replaced.
void write_renamed(const test::TempFolder& folder, const std::string& model,
                   const std::vector<std::pair<std::string, std::string>>& names) {
  const std::string whole = golden::file_bytes(mlx_folder(model) / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), sizeof length);
  std::string header = whole.substr(8, length), out;
  std::string config = golden::file_bytes(mlx_folder(model) / "config.json");
  for (const auto& [from, to] : names) {
    ASSERT_NE(header.find(from), std::string::npos) << from;
    replace_all(header, from, to);
    replace_all(config, from, to);
  }
  test::put<uint64_t>(out, header.size());
  folder.write("model.safetensors", out + header + whole.substr(8 + length));
  folder.write("config.json", config);
}

TEST(MlxModels, NamesOfEveryFamily) {
  const std::vector<std::pair<std::string, std::string>> forms[] = {
      {{"block_sparse_moe.switch_mlp", "mlp.switch_mlp"}, {"block_sparse_moe.gate", "mlp.gate"}},
      {{"block_sparse_moe.switch_mlp", "mlp.experts"}, {"block_sparse_moe.gate", "mlp.router"}},
      {{"block_sparse_moe.gate", "block_sparse_moe.router.layer"}},
      {{"block_sparse_moe.switch_mlp", "feed_forward.experts"}, {"block_sparse_moe.gate", "feed_forward.router"}},
      {{"block_sparse_moe.switch_mlp", "feed_forward.switch_mlp"}, {"block_sparse_moe.gate", "feed_forward.gate"}},
      {{"block_sparse_moe.switch_mlp", "mixer.switch_mlp"}, {"block_sparse_moe.gate", "mixer.gate"}},
  };
  const auto expected = golden::logits_of({.model = mlx_folder("mixtral-mlx-mixed").string()}, kMlxIds);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  for (const auto& names : forms) {
    const test::TempFolder folder;
    ASSERT_NO_FATAL_FAILURE(write_renamed(folder, "mixtral-mlx-mixed", names));
    const auto found = golden::logits_of({.model = folder.path()}, kMlxIds);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_TRUE(*found == *expected) << names[0].second;
  }
}

}  // namespace
}  // namespace moxie
