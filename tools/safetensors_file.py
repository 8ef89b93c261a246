"""Reads and writes safetensors files with numpy alone.

bfloat16 has no numpy type: reading widens it to float32, writing takes float32 that bfloat16 holds exactly.
"""

import json
import struct
from pathlib import Path

import numpy as np

_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def round_to_bf16(values):
    """The nearest bfloat16 of each float32, ties to even, returned as float32."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)
    return rounded.view("<f4").reshape(np.shape(values))


def _bf16_bytes(values):
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    if np.any(bits & 0xFFFF):
        raise ValueError("values are not exact in bfloat16; round them first")
    return (bits >> 16).astype("<u2").tobytes()


def write(path, tensors, metadata=None):
    """Writes {name: float32 array} as bfloat16, in the given order."""
    header = {"__metadata__": metadata or {"format": "pt"}}
    at = 0
    blobs = []
    for name, values in tensors.items():
        blob = _bf16_bytes(values)
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read(path):
    """{name: array}; bfloat16 comes back as float32."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(raw, _NUMPY[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def read_checkpoint(folder):
    """All tensors of a Hugging Face folder, single file or sharded by an index."""
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return read(folder / "model.safetensors")
    weight_map = json.loads(index.read_text())["weight_map"]
    tensors = {}
    for shard in sorted(set(weight_map.values())):
        tensors.update(read(folder / shard))
    missing = set(weight_map) - set(tensors)
    if missing:
        raise ValueError(f"{folder}: the index names tensors that no shard holds: {sorted(missing)[:3]}")
    return tensors
