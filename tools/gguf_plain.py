"""Writes GGUF headers with the standard library alone: version 3, little endian."""

import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32
SPACE = "\u2581"  # how SentencePiece vocabularies write a space

_PACK = {U32: "I", I32: "i", F32: "f", BOOL: "?"}


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def entry(key, kind, value):
    body = text(value) if kind == STRING else struct.pack("<" + _PACK[kind], value)
    return text(key) + struct.pack("<I", kind) + body


def array_entry(key, kind, values):
    if kind == STRING:
        body = b"".join(map(text, values))
    else:
        body = struct.pack(f"<{len(values)}{_PACK[kind]}", *values)
    return text(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def padding(size):
    return b"\0" * (-size % ALIGNMENT)


def header(entries, tensors):
    """The file up to its data. tensors: (name, dimensions with the contiguous one first, type id, bytes), in order."""
    infos, at = [], 0
    for name, dims, type_id, size in tensors:
        infos.append(text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type_id, at))
        at += size + len(padding(size))
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(entries)) + b"".join(entries) + b"".join(infos)
    return raw + padding(len(raw))


def sentencepiece_entries(pieces, scores, types):
    """Keys of a llama tokenizer. types: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte."""
    return [
        entry("tokenizer.ggml.model", STRING, "llama"),
        array_entry("tokenizer.ggml.tokens", STRING, pieces),
        array_entry("tokenizer.ggml.scores", F32, scores),
        array_entry("tokenizer.ggml.token_type", I32, types),
        entry("tokenizer.ggml.bos_token_id", U32, 1),
        entry("tokenizer.ggml.eos_token_id", U32, 2),
        entry("tokenizer.ggml.unknown_token_id", U32, 0),
        entry("tokenizer.ggml.add_bos_token", BOOL, True),
    ]
