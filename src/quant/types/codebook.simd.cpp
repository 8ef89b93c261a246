// The types whose values are looked up in large fixed tables. They are recognised and sized, so that a file that holds
// them can be listed and refused by name, but not computed: the tables cannot be derived.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {

extern constinit const QuantType iq2_xxs = recognised_only("iq2_xxs", "2.1 bits, codebook", 16, 256, 66);
extern constinit const QuantType iq2_xs = recognised_only("iq2_xs", "2.3 bits, codebook", 17, 256, 74);
extern constinit const QuantType iq3_xxs = recognised_only("iq3_xxs", "3.1 bits, codebook", 18, 256, 98);
extern constinit const QuantType iq1_s = recognised_only("iq1_s", "1.6 bits, codebook", 19, 256, 50);
extern constinit const QuantType iq3_s = recognised_only("iq3_s", "3.4 bits, codebook", 21, 256, 110);
extern constinit const QuantType iq2_s = recognised_only("iq2_s", "2.6 bits, codebook", 22, 256, 82);
extern constinit const QuantType iq1_m = recognised_only("iq1_m", "1.75 bits, codebook", 29, 256, 56);

}  // namespace moxie::MOXIE_TARGET
