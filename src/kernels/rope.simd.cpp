// Rotary position embedding of one token's heads, angles given as cosines and sines.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Pairs (i, i + half).
void rotate_halves(float* x, int half, const float* cos, const float* sin) {
  int i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const FloatVec a = load(x + i), b = load(x + half + i), c = load(cos + i), s = load(sin + i);
    store(x + i, a * c - b * s);
    store(x + half + i, a * s + b * c);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = a * cos[i] - b * sin[i];
    x[half + i] = a * sin[i] + b * cos[i];
  }
}

// Pairs (2i, 2i + 1).
void rotate_neighbours(float* x, int half, const float* cos, const float* sin) {
  for (int i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

}  // namespace

void rope(float* x, int heads, int head_dim, int half, const float* cos, const float* sin, bool neox) {
  for (int head = 0; head < heads; ++head, x += head_dim) {
    if (neox) {
      rotate_halves(x, half, cos, sin);
    } else {
      rotate_neighbours(x, half, cos, sin);
    }
  }
}

}  // namespace moxie::MOXIE_TARGET
