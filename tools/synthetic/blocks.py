"""Random blocks of the GGUF types: random bits for the quants, scales that give a wanted standard deviation.

Every block decodes to values of zero mean. A deviation is one number, or one for each block; 0 gives zeros. Imports
numpy only when blocks are made.
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
    "q5_0": Type(6, 32, 22),
    "q8_0": Type(8, 32, 34),
    "q2_k": Type(10, 256, 84),
    "q3_k": Type(11, 256, 110),
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


def tensor_bytes(type_name, dims):
    return block_count(type_name, dims) * block_bytes(type_name)


def _uniform_deviation(levels):
    """Standard deviation of 0..levels-1, all equally likely."""
    return ((levels * levels - 1) / 12) ** 0.5


def _off_centre_rms(levels):
    """Root mean square of -levels/2..levels/2-1. Half a level off centre: a random sign of the scale makes up for it."""
    return (_uniform_deviation(levels) ** 2 + 0.25) ** 0.5


def _rms_between(low, high):
    """Root mean square of low..high-1, all equally likely."""
    return (sum(value * value for value in range(low, high)) / (high - low)) ** 0.5


def _random_bytes(np, rng, *dims):
    """Random bytes that may be written to. Drawn as words: Generator.bytes is ten times slower."""
    count = int(np.prod(dims))
    return rng.integers(0, 1 << 64, -(-count // 8), dtype="u8").view("u1")[:count].reshape(dims)


def _random_signs(np, rng, *dims):
    return (1 - 2 * (_random_bytes(np, rng, *dims) & 1)).astype("i1")


def _halves(np, values, count):
    return np.broadcast_to(np.asarray(values, "<f2"), count).copy().view("u1").reshape(-1, 2)


def _plain(np, rng, type_name, count, deviation):
    values = rng.standard_normal(count, dtype="f4") * np.asarray(deviation, "f4")
    if type_name == "f32":
        return values.astype("<f4").tobytes()
    if type_name == "f16":
        return values.astype("<f2").tobytes()
    return (values.view("u4") >> 16).astype("<u2").tobytes()


def _off_centre(levels):
    """q4_0, q5_0: a scale, then the bits of the levels."""

    def fill(np, rng, raw, deviation):
        scale = np.asarray(deviation) / _off_centre_rms(levels)
        raw[:, :2] = _halves(np, scale * _random_signs(np, rng, len(raw)), len(raw))

    return fill


def _q8_0(np, rng, raw, deviation):
    quants = raw[:, 2:].view("i1")
    quants[quants == -128] = 0  # no encoder writes it, and without it the levels are centred
    raw[:, :2] = _halves(np, np.asarray(deviation) / _uniform_deviation(255), len(raw))


def _q2_k(np, rng, raw, deviation):
    scales = 8 + (_random_bytes(np, rng, len(raw), 16) & 7)
    d = np.asarray(deviation) / (_rms_between(8, 16) * _uniform_deviation(4))
    raw[:, :16] = scales | scales << 4
    raw[:, 80:82] = _halves(np, d, len(raw))
    raw[:, 82:84] = _halves(np, d.astype("<f2") * 1.5, len(raw))


def _q3_k(np, rng, raw, deviation):
    # Random bits make scales of -32..31, both they and the levels half off centre.
    d = np.asarray(deviation) / (_off_centre_rms(64) * _off_centre_rms(8))
    raw[:, 108:110] = _halves(np, d * _random_signs(np, rng, len(raw)), len(raw))


def pack_scales_and_mins(np, scales):
    """The 12 bytes of Q4_K and Q5_K with eight 6-bit scales and mins equal to them. scales: (blocks, 8), bytes."""
    packed = np.empty((len(scales), 12), "u1")
    low, high = scales[:, :4], scales[:, 4:]
    packed[:, :4] = low | (high >> 4) << 6
    packed[:, 4:8] = packed[:, :4]
    packed[:, 8:] = (high & 15) | (high & 15) << 4
    return packed


def _with_mins(levels):
    """q4_k, q5_k: value = d * s * q - dmin * s with dmin = d * (levels - 1) / 2 is centred whatever the scale s."""

    def fill(np, rng, raw, deviation):
        scales = 32 + (_random_bytes(np, rng, len(raw), 8) & 31)
        d = np.asarray(deviation) / (_rms_between(32, 64) * _uniform_deviation(levels))
        raw[:, 0:2] = _halves(np, d, len(raw))
        raw[:, 2:4] = _halves(np, d.astype("<f2") * np.float64(levels - 1) / 2, len(raw))
        raw[:, 4:16] = pack_scales_and_mins(np, scales)

    return fill


def _q6_k(np, rng, raw, deviation):
    scales = 64 + (_random_bytes(np, rng, len(raw), 16) & 63).astype("i1")
    raw[:, 192:208] = (scales * _random_signs(np, rng, len(raw), 16)).view("u1")
    d = np.asarray(deviation) / (_rms_between(64, 128) * _off_centre_rms(64))
    raw[:, 208:210] = _halves(np, d, len(raw))


_FILL = {
    "q4_0": _off_centre(16),
    "q5_0": _off_centre(32),
    "q8_0": _q8_0,
    "q2_k": _q2_k,
    "q3_k": _q3_k,
    "q4_k": _with_mins(16),
    "q5_k": _with_mins(32),
    "q6_k": _q6_k,
}


def random_blocks(rng, type_name, count, deviation):
    """`count` blocks: bytes, or an array (count, bytes of a block)."""
    import numpy as np

    if TYPES[type_name].elements == 1:
        return _plain(np, rng, type_name, count, deviation)
    raw = _random_bytes(np, rng, count, block_bytes(type_name))
    _FILL[type_name](np, rng, raw, deviation)
    return raw
