"""Vocabularies for synthetic models, made up or read from a tokenizer.model. Needs the standard library alone."""

import itertools
import struct
from pathlib import Path

from gguf_plain import BOOL, I32, SPACE, STRING, U32, array_entry, entry, sentencepiece_entries


def synthetic_pieces(count):
    """A SentencePiece-like vocabulary: bytes, letters, and pieces of two, three and four letters."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    letters = [SPACE] + [chr(code) for code in range(33, 127)]
    small = [chr(code) for code in range(97, 123)]
    words = itertools.chain(
        letters,
        ("".join(word) for length in (1, 2, 3, 4) for word in itertools.product([SPACE] + small, *[small] * length)),
    )
    pieces += itertools.islice(words, count - len(pieces))
    types = [2, 3, 3] + [6] * 256 + [1] * (count - 259)
    scores = [0.0] * 259 + [float(-rank) for rank in range(count - 259)]
    return pieces[:count], scores[:count], types[:count]


def read_sentencepiece(path):
    """(pieces, scores, types) of a tokenizer.model, read as protobuf."""
    pieces, scores, types = [], [], []
    for field, message in protobuf_fields(Path(path).read_bytes()):
        if field != 1:
            continue
        values = {1: b"", 2: 0.0, 3: 1} | dict(protobuf_fields(message))
        pieces.append(values[1])
        scores.append(values[2])
        types.append(values[3])
    return pieces, scores, types


def protobuf_fields(data):
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        elif key & 7 == 2:
            size, at = varint(at)
            value, at = data[at : at + size], at + size
        else:
            form, size = ("<f", 4) if key & 7 == 5 else ("<d", 8)
            (value,), at = struct.unpack_from(form, data, at), at + size
        yield key >> 3, value


def byte_level_entries(count):
    """A byte-level BPE vocabulary: 256 bytes, then every pair, then pairs with a third, each with its merge."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    symbols = [chr(byte) for byte in kept] + [chr(256 + index) for index in range(len(others))]
    pairs = [(a, b) for a in symbols for b in symbols]
    triples = ((a + b, c) for a, b in pairs for c in symbols)
    merges = list(itertools.islice(itertools.chain(pairs, triples), count - 257))
    tokens = symbols + [a + b for a, b in merges] + ["<|endoftext|>"]
    return [
        entry("tokenizer.ggml.model", STRING, "gpt2"),
        entry("tokenizer.ggml.pre", STRING, "qwen2"),
        array_entry("tokenizer.ggml.tokens", STRING, tokens),
        array_entry("tokenizer.ggml.token_type", I32, [1] * (count - 1) + [3]),
        array_entry("tokenizer.ggml.merges", STRING, [f"{a} {b}" for a, b in merges]),
        entry("tokenizer.ggml.eos_token_id", U32, count - 1),
        entry("tokenizer.ggml.add_bos_token", BOOL, False),
    ]


def tokenizer_entries(shape, path):
    """GGUF keys of the tokenizer: made up, or the tokenizer.model at `path`."""
    if shape["arch"] != "llama":
        return byte_level_entries(shape["vocab"])
    if not path:
        return sentencepiece_entries(*synthetic_pieces(shape["vocab"]))
    pieces, scores, types = read_sentencepiece(path)
    if len(pieces) != shape["vocab"]:
        raise SystemExit(f"{path}: {len(pieces)} pieces, the shape has {shape['vocab']}")
    return sentencepiece_entries(pieces, scores, types)
