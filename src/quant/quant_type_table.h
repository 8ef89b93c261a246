// One CPU target's list of weight types: how table.simd.cpp hands it to quant_type.cpp. Plain data.
#pragma once

#include "quant/quant_type.h"

namespace moxie {

struct QuantTypeTable {
  const QuantType* const* entries;
  size_t count;
};

}  // namespace moxie
