// Every type's decoder against values that an independent decoder made (tests/data/quant-golden.txt), bit for bit.
#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "quant/quant_type.h"
#include "support/paths.h"

namespace moxie {
namespace {

struct Golden {
  std::vector<std::byte> block;
  std::vector<uint32_t> values;  // bits of each decoded float
};

std::vector<std::byte> bytes_from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// By lower-case type name.
std::map<std::string, Golden> read_goldens() {
  std::map<std::string, Golden> goldens;
  std::ifstream file(source_dir() + "/tests/data/quant-golden.txt");
  Golden* current = nullptr;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    if (line.find_first_of("GHIJKLMNOPQRSTUVWXYZ_") != std::string::npos) {
      std::string name, hex;
      words >> name >> hex;
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      current = &goldens[name];
      current->block = bytes_from_hex(hex);
    } else if (current != nullptr) {
      for (std::string word; words >> word;)
        current->values.push_back(static_cast<uint32_t>(std::stoul(word, nullptr, 16)));
    }
  }
  return goldens;
}

constexpr uint32_t kMinusZero = 0x80000000u;

TEST(QuantGolden, DecodeIsBitExactOnEveryTarget) {
  const auto goldens = read_goldens();
  ASSERT_GE(goldens.size(), 25u) << "tests/data/quant-golden.txt is missing or damaged";
  int checked = 0;
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    for (const QuantType* type : quant_types(target.name)) {
      if (!type->computable() || type->block_values == 1) continue;
      SCOPED_TRACE(std::string(type->name) + " on " + std::string(target.name));
      const auto found = goldens.find(std::string(type->name));
      ASSERT_NE(found, goldens.end()) << "no golden block";
      const Golden& golden = found->second;
      ASSERT_EQ(golden.block.size(), static_cast<size_t>(type->block_bytes));
      ASSERT_EQ(golden.values.size(), static_cast<size_t>(type->block_values));
      // Three blocks at an odd address: the same values thrice, nothing beyond.
      std::vector<std::byte> blocks(1);
      for (int i = 0; i < 3; ++i) blocks.insert(blocks.end(), golden.block.begin(), golden.block.end());
      std::vector<float> decoded(3 * golden.values.size() + 1, 12345.0f);
      type->decode(blocks.data() + 1, decoded.data(), 3);
      EXPECT_EQ(decoded.back(), 12345.0f);
      for (size_t i = 0; i + 1 < decoded.size(); ++i) {
        uint32_t bits, expected = golden.values[i % golden.values.size()];
        std::memcpy(&bits, &decoded[i], sizeof bits);
        if (bits == kMinusZero) bits = 0;  // the sign of zero is not part of the definition
        if (expected == kMinusZero) expected = 0;
        ASSERT_EQ(bits, expected) << "value " << i;
      }
      ++checked;
    }
  }
  EXPECT_GE(checked, 13);
}

TEST(QuantGolden, CodebookTypesAreSizedAndRefused) {
  const auto goldens = read_goldens();
  for (const char* name : {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"}) {
    const QuantType* type = find_quant_type(name);
    ASSERT_NE(type, nullptr) << name;
    EXPECT_FALSE(type->computable()) << name;
    EXPECT_EQ(type->multiply, nullptr) << name;
    EXPECT_EQ(type->encode, nullptr) << name;
    ASSERT_TRUE(goldens.contains(name)) << name;
    EXPECT_EQ(goldens.at(name).block.size(), static_cast<size_t>(type->block_bytes)) << name;
    EXPECT_EQ(type->row_bytes(2 * type->block_values), 2 * type->block_bytes) << name;
  }
}

}  // namespace
}  // namespace moxie
