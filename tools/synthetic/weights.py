"""What values a tensor gets, and writing them."""

from typing import NamedTuple

import blocks

CHUNK_BYTES = 32 << 20
GROUP = 256  # channels that share a factor: the longest block of any type


class Matrix(NamedTuple):
    """Random weights of zero mean. Dimensions beyond the second repeat the rows."""

    deviation: float
    rows: object = None  # a factor for each row (output)
    groups: object = None  # a factor for each 256 columns (inputs)
    first_group: object = None  # for each row the amplitude with which its first 256 weights follow `pattern`
    pattern: object = None  # 256 numbers of 0..15; the weights are amplitude * (2 * number - 15)


class Vector(NamedTuple):
    values: object


def plain(name, dims):
    """Weights of a model without any structure: deviation 1/sqrt(inputs), norms 1."""
    if name.endswith("norm.weight"):
        return Vector([1.0] * dims[0])
    return Matrix(max(0.02, dims[0] ** -0.5))


def pattern_blocks(type_name, amplitudes, pattern):
    """256 weights in each row, amplitude * (2 * pattern - 15), as bytes (rows, bytes)."""
    import numpy as np

    amplitudes = np.asarray(amplitudes, "f8")
    rows = len(amplitudes)
    if type_name == "q8_0":
        raw = np.empty((rows, 8, 34), "u1")
        raw[:, :, 2:] = (2 * pattern - 15).astype("i1").view("u1").reshape(8, 32)
        raw[:, :, :2] = amplitudes.astype("<f2").view("u1").reshape(rows, 1, 2)
    elif type_name == "q4_k":
        # Every scale and min is 32, so value = 32 * (d * number - dmin).
        raw = np.empty((rows, 1, 144), "u1")
        d = (amplitudes / 16).astype("<f2")
        raw[:, 0, 0:2] = d.view("u1").reshape(rows, 2)
        raw[:, 0, 2:4] = (d.astype("f8") * 7.5).astype("<f2").view("u1").reshape(rows, 2)
        raw[:, 0, 4:16] = blocks.pack_scales_and_mins(np, np.full((1, 8), 32, "u1"))
        pairs = pattern.astype("u1").reshape(4, 2, 32)
        raw[:, 0, 16:] = (pairs[:, 0] | pairs[:, 1] << 4).reshape(128)
    else:
        raise SystemExit(f"weights with a pattern cannot be written as {type_name}; use q4_k_m or q8_0")
    return raw.reshape(rows, -1)


def _deviations(np, matrix, dims, kind, rows):
    """One deviation for all blocks, or one for each block of rows[0]..rows[1]-1."""
    if matrix.rows is None and matrix.groups is None:
        return matrix.deviation
    in_row = np.ones(dims[0] // kind.elements)
    if matrix.groups is not None:
        in_row = np.repeat(np.asarray(matrix.groups, "f8"), GROUP // kind.elements)
    of_rows = np.ones(rows[1] - rows[0])
    if matrix.rows is not None:
        of_rows = np.asarray(matrix.rows, "f8")[np.arange(*rows) % len(matrix.rows)]
    return (matrix.deviation * of_rows[:, None] * in_row).ravel()


def chunks_of(rng, type_name, dims, values):
    """The tensor's data, piece by piece."""
    import numpy as np

    if isinstance(values, Vector):
        yield np.asarray(values.values, "<f4").tobytes()
        return
    kind = blocks.TYPES[type_name]
    blocks_in_row = dims[0] // kind.elements
    row_bytes = blocks_in_row * kind.bytes
    row_count = blocks.tensor_bytes(type_name, dims) // row_bytes
    step = max(1, CHUNK_BYTES // row_bytes)
    for begin in range(0, row_count, step):
        end = min(begin + step, row_count)
        deviation = _deviations(np, values, dims, kind, (begin, end))
        raw = blocks.random_blocks(rng, type_name, (end - begin) * blocks_in_row, deviation)
        if values.first_group is not None:
            raw = raw.reshape(end - begin, row_bytes)
            fixed = pattern_blocks(type_name, values.first_group[begin:end], values.pattern)
            raw[:, : fixed.shape[1]] = fixed
        yield raw if isinstance(raw, bytes) else raw.tobytes()
