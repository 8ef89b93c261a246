#include "quant/quant_type.h"

#include "core/cpu_features.h"
#include "quant/quant_type_table.h"

#define MOXIE_CPU_TARGET(name, needs, supported) \
  namespace moxie::name {                        \
  extern const QuantTypeTable quant_type_table;  \
  extern const QuantTypeTable parted_type_table; \
  }
#include "kernels/targets.inc"
#undef MOXIE_CPU_TARGET

namespace moxie {
namespace {

struct NamedTable {
  std::string_view target;
  const QuantTypeTable* table;
  const QuantTypeTable* parted;
};
constexpr NamedTable kTables[] = {
#define MOXIE_CPU_TARGET(name, needs, supported) {#name, &name::quant_type_table, &name::parted_type_table},
#include "kernels/targets.inc"
#undef MOXIE_CPU_TARGET
};

struct ForeignIds {
  int64_t first;
  int64_t last;
  std::string_view what;
};
constexpr ForeignIds kForeignIds[] = {
    {4, 4, "Q4_2, removed from GGUF in 2023: quantize the original model again, e.g. to Q4_0"},
    {5, 5, "Q4_3, removed from GGUF in 2023: quantize the original model again, e.g. to Q4_1"},
    {9, 9, "Q8_1, a run-time format that no file should hold"},
    {15, 15, "Q8_K, a run-time format that no file should hold"},
    {31, 31, "Q4_0_4_4, removed from GGUF in 2024: use the Q4_0 file of the same model"},
    {32, 32, "Q4_0_4_8, removed from GGUF in 2024: use the Q4_0 file of the same model"},
    {33, 33, "Q4_0_8_8, removed from GGUF in 2024: use the Q4_0 file of the same model"},
    {36, 36, "IQ4_NL_4_4, removed from GGUF in 2024 (or I2_S of a BitNet fork): use the IQ4_NL file of the same model"},
    {37, 37, "IQ4_NL_4_8, removed from GGUF in 2024: use the IQ4_NL file of the same model"},
    {38, 38, "IQ4_NL_8_8, removed from GGUF in 2024: use the IQ4_NL file of the same model"},
    {97, 99, "private to ik_llama.cpp: Q8 interleaved; use a file quantized by llama.cpp"},
    {133, 133, "private to ik_llama.cpp: Q6_0; use a file quantized by llama.cpp"},
    {134, 134, "private to ik_llama.cpp: IQ1_BN; use a file quantized by llama.cpp"},
    {135, 135, "private to ik_llama.cpp: IQ2_BN; use a file quantized by llama.cpp"},
    {136, 136, "private to ik_llama.cpp: Q8_K64; use a file quantized by llama.cpp"},
    {137, 137, "private to ik_llama.cpp: IQ2_K; use a file quantized by llama.cpp"},
    {138, 138, "private to ik_llama.cpp: IQ3_K; use a file quantized by llama.cpp"},
    {139, 139, "private to ik_llama.cpp: IQ4_K; use a file quantized by llama.cpp"},
    {140, 140, "private to ik_llama.cpp: IQ5_K; use a file quantized by llama.cpp"},
    {141, 141, "private to ik_llama.cpp: IQ6_K; use a file quantized by llama.cpp"},
    {144, 144, "private to ik_llama.cpp: IQ4_KS; use a file quantized by llama.cpp"},
    {145, 145, "private to ik_llama.cpp: IQ2_KS; use a file quantized by llama.cpp"},
    {146, 146, "private to ik_llama.cpp: IQ4_KSS; use a file quantized by llama.cpp"},
    {147, 151, "private to ik_llama.cpp: a Q8 variant; use a file quantized by llama.cpp"},
    {152, 152, "private to ik_llama.cpp: IQ5_KS; use a file quantized by llama.cpp"},
    {153, 153, "private to ik_llama.cpp: IQ2_KT; use a file quantized by llama.cpp"},
    {154, 154, "private to ik_llama.cpp: IQ3_KT; use a file quantized by llama.cpp"},
    {155, 155, "private to ik_llama.cpp: IQ4_KT; use a file quantized by llama.cpp"},
    {156, 156, "private to ik_llama.cpp: IQ3_KS; use a file quantized by llama.cpp"},
    {157, 157, "private to ik_llama.cpp: IQ2_KL; use a file quantized by llama.cpp"},
    {158, 158, "private to ik_llama.cpp: IQ1_KT; use a file quantized by llama.cpp"},
    {202, 399, "private to ik_llama.cpp: rows interleaved (_R4, _R8, _R16); use a file quantized by llama.cpp"},
};

}  // namespace

std::span<const QuantType* const> quant_types(std::string_view target) {
  for (const NamedTable& named : kTables) {
    if (named.target == target) return {named.table->entries, named.table->count};
  }
  return {};
}

std::span<const QuantType* const> parted_types(std::string_view target) {
  for (const NamedTable& named : kTables) {
    if (named.target == target) return {named.parted->entries, named.parted->count};
  }
  return {};
}

const QuantType* find_quant_type(std::string_view name, std::string_view target) {
  for (const QuantType* type : parted_types(target)) {
    if (type->name == name) return type;
  }
  for (const QuantType* type : quant_types(target)) {
    if (type->name == name) return type;
  }
  return nullptr;
}

bool is_unquantized(const QuantType& type) {
  const QuantType* plain = type.twin.empty() ? &type : find_quant_type(type.twin);
  return plain->block_values == 1 && !plain->parted();
}

const QuantType* fast_quant_type(const QuantType& type) {
  return type.fast != nullptr && cpu_has_avx512_bf16() ? type.fast : &type;
}

const QuantType* find_quant_type_by_gguf_id(int id, std::string_view target) {
  for (const QuantType* type : quant_types(target)) {
    if (type->gguf_id == id) return type;
  }
  return nullptr;
}

std::string_view describe_gguf_type_id(int64_t id) {
  for (const ForeignIds& ids : kForeignIds) {
    if (id >= ids.first && id <= ids.last) return ids.what;
  }
  return {};
}

}  // namespace moxie
