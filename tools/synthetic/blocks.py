"""Random blocks of the GGUF types: random bits for the quants, scales that give a wanted standard deviation.

Every block decodes to values of zero mean. Imports numpy only when blocks are made.
"""

from typing import NamedTuple


class Type(NamedTuple):
    gguf_id: int
    elements: int
    bytes: int


TYPES = {
    "f32": Type(0, 1, 4),
    "f16": Type(1, 1, 2),
    "bf16": Type(30, 1, 2),
    "q4_0": Type(2, 32, 18),
    "q8_0": Type(8, 32, 34),
    "q4_k": Type(12, 256, 144),
    "q5_k": Type(13, 256, 176),
    "q6_k": Type(14, 256, 210),
}


def block_bytes(type_name):
    return TYPES[type_name].bytes


def block_count(type_name, dims):
    kind = TYPES[type_name]
    if dims[0] % kind.elements:
        raise SystemExit(f"rows of {dims[0]} do not divide into {type_name} blocks of {kind.elements}")
    total = dims[0] // kind.elements
    for dim in dims[1:]:
        total *= dim
    return total


def _uniform_deviation(levels):
    """Standard deviation of 0..levels-1, all equally likely."""
    return ((levels * levels - 1) / 12) ** 0.5


def _halves(np, values):
    return np.ascontiguousarray(values, dtype="<f2").view("u1").reshape(-1, 2)


def _random_signs(np, rng, count):
    return 1.0 - 2.0 * rng.integers(0, 2, count)


def _plain(np, rng, type_name, count, deviation):
    values = rng.standard_normal(count, dtype="f4") * np.float32(deviation)
    if type_name == "f32":
        return values.astype("<f4").tobytes()
    if type_name == "f16":
        return values.astype("<f2").tobytes()
    return (values.view("u4") >> 16).astype("<u2").tobytes()


def _q4_0(np, rng, raw, deviation):
    # The levels -8..7 are off centre by a half: a random sign of the scale makes up for it.
    scale = deviation / (_uniform_deviation(16) ** 2 + 0.25) ** 0.5
    raw[:, :2] = _halves(np, scale * _random_signs(np, rng, len(raw)))


def _q8_0(np, rng, raw, deviation):
    quants = raw[:, 2:].view("i1")
    np.maximum(quants, -127, out=quants)  # no encoder writes -128
    raw[:, :2] = _halves(np, np.full(len(raw), deviation / _uniform_deviation(255)))


def _pack_scales_and_mins(np, scales):
    """The 12 bytes of Q4_K and Q5_K with eight 6-bit scales and mins equal to them."""
    packed = np.empty((len(scales), 12), "u1")
    low, high = scales[:, :4], scales[:, 4:]
    packed[:, :4] = low | (high >> 4) << 6
    packed[:, 4:8] = low | (high >> 4) << 6
    packed[:, 8:] = (high & 15) | (high & 15) << 4
    return packed


def _k_with_mins(np, rng, raw, deviation, levels):
    # value = d * s * q - dmin * s with dmin = d * (levels - 1) / 2: centred whatever the scale s.
    scales = rng.integers(24, 64, (len(raw), 8), dtype="u1")
    scale_rms = float(np.sqrt(np.mean(np.arange(24, 64) ** 2.0)))
    d = np.full(len(raw), deviation / (scale_rms * _uniform_deviation(levels)))
    raw[:, 0:2] = _halves(np, d)
    raw[:, 2:4] = _halves(np, d.astype("<f2") * np.float64(levels - 1) / 2)
    raw[:, 4:16] = _pack_scales_and_mins(np, scales)


def _q6_k(np, rng, raw, deviation):
    scales = rng.integers(32, 128, (len(raw), 16)) * _random_signs(np, rng, (len(raw), 16))
    scale_rms = float(np.sqrt(np.mean(np.arange(32, 128) ** 2.0)))
    raw[:, 192:208] = scales.astype("i1").view("u1")
    level_rms = (_uniform_deviation(64) ** 2 + 0.25) ** 0.5
    raw[:, 208:210] = _halves(np, np.full(len(raw), deviation / (scale_rms * level_rms)))


def random_blocks(rng, type_name, count, deviation):
    """`count` blocks as bytes."""
    import numpy as np

    kind = TYPES[type_name]
    if kind.elements == 1:
        return _plain(np, rng, type_name, count, deviation)
    raw = np.frombuffer(bytearray(rng.bytes(count * kind.bytes)), "u1").reshape(count, kind.bytes)
    if type_name == "q4_0":
        _q4_0(np, rng, raw, deviation)
    elif type_name == "q8_0":
        _q8_0(np, rng, raw, deviation)
    elif type_name == "q6_k":
        _q6_k(np, rng, raw, deviation)
    else:
        _k_with_mins(np, rng, raw, deviation, 16 if type_name == "q4_k" else 32)
    return raw.tobytes()
