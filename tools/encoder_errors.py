#!/usr/bin/env python3
"""Prints the relative errors of the reference quantizers (Python package gguf) on the numbers that src/quant/encoder_test.cpp makes,
for the table in that file."""
import gguf
import numpy as np

MASK = (1 << 64) - 1


def numbers(count):
    """Nearly normal, exact in single precision: sums of four 16-bit numbers from a linear congruential generator."""
    state, out = 1, np.empty(count, dtype=np.float32)
    for i in range(count):
        total = 0
        for _ in range(4):
            state = (state * 6364136223846793005 + 1442695040888963407) & MASK
            total += state >> 48
        out[i] = np.float32((total - 131070) / 65536.0)
    return out


x = numbers(65536)
for name in ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4"]:
    kind = gguf.GGMLQuantizationType[name]
    decoded = gguf.quants.dequantize(gguf.quants.quantize(x.reshape(-1, 256), kind), kind).reshape(-1)
    error = decoded.astype(np.float64) - x
    print(f"{name.lower():5} {np.sqrt((error**2).sum() / (x.astype(np.float64) ** 2).sum()):.9f}")
