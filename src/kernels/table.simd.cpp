// The kernels of kernels.inc as compiled for this target.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {

extern constinit const Kernels kernels = {
    .target = MOXIE_STRING(MOXIE_TARGET),
#define MOXIE_ENTRY(name) .name = name,
#include "kernels/kernels.inc"
#undef MOXIE_ENTRY
};

}  // namespace moxie::MOXIE_TARGET
