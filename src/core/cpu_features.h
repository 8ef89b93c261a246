// Which level of the x86-64 instruction set this CPU and its operating system have. Thread-safe. False on other
// architectures.
#pragma once

namespace moxie {

bool cpu_is_x86_64_v2();
bool cpu_is_x86_64_v3();  // AVX2, BMI, BMI2, F16C, FMA, LZCNT, MOVBE
bool cpu_is_x86_64_v4();  // v3 and AVX-512 F, BW, CD, DQ, VL
bool cpu_has_avx_vnni();
bool cpu_has_avx512_vnni();
bool cpu_has_avx512_bf16();
bool cpu_has_gfni();
// AMX with products of bytes and of bfloat16. Asks Linux to let this process use the tile registers, which it grants
// once and for all threads; until a thread uses them that costs nothing.
bool cpu_allows_amx();

}  // namespace moxie
