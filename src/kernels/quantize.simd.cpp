// Activations to 8 bits or bfloat16, and rows of the key-value cache to its type.
#include "kernels/declare.h"
#include "quant/activations.h"

namespace moxie::MOXIE_TARGET {
namespace {

MOXIE_INLINE float largest_magnitude(const float* x, int n) {
  FloatVec largest = {};
  for (int i = 0; i < n; i += kLanes) largest = at_least(abs(load(x + i)), largest);
  return max_lanes(largest);
}

// values = round(x * inverse), to nearest even; returns their sum. n % kLanes == 0.
MOXIE_INLINE int32_t round_values(const float* x, float inverse, int n, int8_t* values) {
  typedef int8_t Bytes __attribute__((vector_size(kLanes)));
  const FloatVec s = splat(inverse);
  IntVec sums = {};
  for (int i = 0; i < n; i += kLanes) {
    const IntVec q = round_to_int(load(x + i) * s);
    const Bytes bytes = __builtin_convertvector(q, Bytes);
    std::memcpy(values + i, &bytes, sizeof bytes);
    sums += q;
  }
  int32_t sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  return sum;
}

// 0 for a row too small to be scaled up, so that no value leaves [-127, 127].
MOXIE_INLINE float inverse_of(float largest) {
  return largest < 0x1p-120f ? 0.0f : 127.0f / largest;
}

// Fills in the sums of a block; false if one does not fit.
bool add_up(ActBlock256& block) {
  bool fits = true;
  for (int i = 0; i < 32; ++i) {
    int sum = 0;
    for (int j = 0; j < 8; ++j) sum += block.values[8 * i + j];
    block.part_sums[i] = static_cast<int16_t>(sum);
  }
  for (int i = 0; i < 16; ++i) {
    block.sums[i] = static_cast<int16_t>(block.factors[i] * (block.part_sums[2 * i] + block.part_sums[2 * i + 1]));
  }
  for (int i = 0; i < 8; ++i) {
    const int sum = block.sums[2 * i] + block.sums[2 * i + 1];
    block.sums_of_32[i] = static_cast<int16_t>(sum);
    fits = fits && sum == block.sums_of_32[i];
  }
  return fits;
}

// parts: the largest magnitude of every 32 values. False if a sum does not fit, which half of kMaxActFactor rules out.
bool quantize_with(int max_factor, const float* x, const float parts[8], float largest, ActBlock256& block) {
  const float scale = largest / static_cast<float>(127 * max_factor);
  const bool zero = inverse_of(scale) == 0;
  block.scale = zero ? 0.0f : scale;
  for (int part = 0; part < 8; ++part) {
    // Rounded up, so that no value leaves [-127, 127]. What is not a number goes the way of the largest.
    const float steps = parts[part] / largest * static_cast<float>(max_factor);
    int factor = zero ? 1 : max_factor;
    if (steps < static_cast<float>(max_factor)) {
      factor = static_cast<int>(steps);
      if (factor == 0 || static_cast<float>(factor) < steps) ++factor;
    }
    const float inverse = zero ? 0.0f : 1 / (scale * static_cast<float>(factor));
    round_values(x + part * 32, inverse, 32, block.values + part * 32);
    block.factors[2 * part] = block.factors[2 * part + 1] = static_cast<int16_t>(factor);
  }
  return add_up(block);
}

void store_q8_0(const float* x, int64_t n, std::byte* out) {
  for (int64_t i = 0; i < n; i += 32, out += 34) {
    const float largest = largest_magnitude(x + i, 32);
    const uint16_t scale = f16_from_float(at_most(splat(largest / 127), splat(65504.0f))[0]);
    const float wide = float_from_f16(scale);
    const float inverse = wide == 0 ? 0.0f : 1 / wide;
    std::memcpy(out, &scale, sizeof scale);
    // The half-precision scale may be smaller than asked for: bring the largest values back to 127.
    float clamped[32];
    const FloatVec limit = splat(127 * wide);
    for (int j = 0; j < 32; j += kLanes) store(clamped + j, at_most(at_least(load(x + i + j), -limit), limit));
    round_values(clamped, inverse, 32, reinterpret_cast<int8_t*>(out + 2));
  }
}

}  // namespace

void quantize_q8_32(const float* x, int64_t n, std::byte* out) {
  ActBlock32* block = reinterpret_cast<ActBlock32*>(out);
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const float inverse = inverse_of(largest_magnitude(x + i, 32));
    block->scale = inverse == 0 ? 0.0f : largest_magnitude(x + i, 32) / 127;
    block->sum = round_values(x + i, inverse, 32, block->values);
  }
}

void quantize_q8_256(const float* x, int64_t n, std::byte* out) {
  ActBlock256* block = reinterpret_cast<ActBlock256*>(out);
  for (int64_t i = 0; i < n; i += 256, ++block) {
    float parts[8], largest = 0;
    for (int part = 0; part < 8; ++part) {
      parts[part] = largest_magnitude(x + i + part * 32, 32);
      largest = parts[part] > largest ? parts[part] : largest;
    }
    // Where most of 32 values are large and of one sign their sum does not fit: half of the factors do.
    if (!quantize_with(kMaxActFactor, x + i, parts, largest, *block)) {
      quantize_with(kMaxActFactor / 2, x + i, parts, largest, *block);
    }
  }
}

void round_bf16(const float* x, int64_t n, std::byte* out) {
  typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
  typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
  for (int64_t i = 0; i < (n + 31) / 32 * 32; i += kLanes) {
    const int64_t left = n - i;
    const FloatVec values = left >= kLanes ? load(x + i) : left > 0 ? load_part(x + i, left) : FloatVec{};
    const Words bits = (Words)values;
    // What is not a number stays so; adding to it could make it a zero.
    const Words rounded = (Words)(values == values) & (bits + 0x7fff + (bits >> 16 & 1));
    const Halves halves = __builtin_convertvector((rounded | ((Words)(values != values) & 0x7fc00000)) >> 16, Halves);
    std::memcpy(out + 2 * i, &halves, sizeof halves);
  }
}

void store_kv(const float* x, int64_t n, KvType type, std::byte* out) {
  switch (type) {
    case KvType::f32:
      std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
      return;
    case KvType::f16: {
      int64_t i = 0;
      for (; i + kLanes <= n; i += kLanes) store_f16(out + 2 * i, load(x + i));
      if (i < n) store_f16_part(out + 2 * i, load_part(x + i, n - i), n - i);
      return;
    }
    case KvType::q8_0:
      store_q8_0(x, n, out);
      return;
  }
}

void store_key(const float* x, int64_t n, KvType type, int position, std::byte* keys) {
  constexpr int kPart = 32;
  constexpr size_t kSide = kKvBlockTokens;  // from one dimension to the next
  const size_t at = static_cast<size_t>(position);
  for (int64_t i = 0; i < n; i += kPart) {
    std::byte part[kPart * sizeof(float)];
    const int count = static_cast<int>(n - i < kPart ? n - i : kPart);
    store_kv(x + i, count, type, part);
    if (type == KvType::q8_0) {
      std::byte* block = keys + static_cast<size_t>(i / kPart) * kSide * 34;
      std::memcpy(block + at * 2, part, 2);
      for (size_t j = 0; j < kPart; ++j) block[2 * kSide + j * kSide + at] = part[2 + j];
    } else {
      const size_t bytes = type == KvType::f16 ? 2 : 4;
      std::byte* to = keys + (static_cast<size_t>(i) * kSide + at) * bytes;
      for (int j = 0; j < count; ++j, to += kSide * bytes) {
        if (type == KvType::f16) {
          std::memcpy(to, part + 2 * j, 2);
        } else {
          std::memcpy(to, part + 4 * j, 4);
        }
      }
    }
  }
}

}  // namespace moxie::MOXIE_TARGET
