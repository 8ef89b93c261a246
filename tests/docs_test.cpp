// Tables in docs/ that say what the lists say: each is compared with the entries. On a mismatch the test prints the
// table to paste.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "model/family.h"
#include "quant/quant_type.h"
#include "support/paths.h"

namespace moxie {
namespace {

// The text between <!-- NAME --> and <!-- end -->.
std::string section(const std::string& file, const std::string& name) {
  std::ifstream in(source_dir() + "/docs/" + file);
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str(), begin = "<!-- " + name + " -->\n";
  const size_t from = all.find(begin);
  const size_t to = all.find("<!-- end -->", from);
  if (from == std::string::npos || to == std::string::npos) return "";
  return all.substr(from + begin.size(), to - from - begin.size());
}

std::string list(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) text += fmt::format("{}`{}`", text.empty() ? "" : ", ", word);
  return text;
}

TEST(Documents, QuantizationListsEveryType) {
  std::string table =
      "| type | bits per value | what | computes | written | error of writing |\n|---|---|---|---|---|---|\n";
  for (const QuantType* type : quant_types()) {
    const double bits = 8.0 * type->block_bytes / type->block_values;
    table += fmt::format("| `{}` | {:.4g} | {} | {} | {} | {} |\n", type->name, bits, type->summary,
                         !type->computable() ? "no"
                         : type->native      ? "as stored"
                                             : "decoded by rows",
                         type->encode != nullptr ? "yes" : "no",
                         type->encode != nullptr ? fmt::format("{:.3g} %", 100 * type->max_relative_error) : "");
  }
  EXPECT_EQ(section("quantization.md", "types"), table);
}

TEST(Documents, ModelsListsEveryFamily) {
  std::string table = "| family | what | `general.architecture` | `model_type` |\n|---|---|---|---|\n";
  for (const FamilyEntry* family : family_entries()) {
    table += fmt::format("| `{}` | {} | {} | {} |\n", family->name, family->summary, list(family->gguf_archs),
                         list(family->model_types));
  }
  EXPECT_EQ(section("models.md", "families"), table);
}

}  // namespace
}  // namespace moxie
