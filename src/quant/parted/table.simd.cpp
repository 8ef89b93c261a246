// The entries of parted.inc as compiled for this target.
#include "core/simd.h"
#include "quant/quant_type_table.h"

namespace moxie::MOXIE_TARGET {

#define MOXIE_ENTRY(name) extern const QuantType name;
#include "quant/parted.inc"
#undef MOXIE_ENTRY

namespace {
constinit const QuantType* const kEntries[] = {
#define MOXIE_ENTRY(name) &name,
#include "quant/parted.inc"
#undef MOXIE_ENTRY
};
}  // namespace

extern constinit const QuantTypeTable parted_type_table = {kEntries, sizeof kEntries / sizeof kEntries[0]};

}  // namespace moxie::MOXIE_TARGET
