#!/usr/bin/env python3
"""Writes a GGUF of a real model's shape with random weights, straight in quantized form.

For speed and memory measurements and header tests: text is meaningless. Weights have zero mean and a standard
deviation of about 1/sqrt(inputs), so activations stay in range and logits are finite. Needs numpy, except with
--sparse, which writes the header and leaves the data as a hole of the right size.

    make_synthetic.py --shape mixtral-2l --type q4_k_m -o M.gguf [--experts split] [--sparse]
"""

import argparse
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import blocks
from gguf_plain import BOOL, F32, I32, SPACE, STRING, U32, array_entry, entry, header, padding, sentencepiece_entries

CHUNK_BYTES = 64 << 20

_MIXTRAL = {
    "arch": "llama",
    "layers": 32,
    "hidden": 4096,
    "ffn": 14336,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "experts": 8,
    "used": 2,
    "vocab": 32000,
    "context": 32768,
    "rope_base": 1e6,
    "norm_epsilon": 1e-5,
}
_QWEN3 = {
    "arch": "qwen3moe",
    "layers": 48,
    "hidden": 2048,
    "ffn": 768,
    "heads": 32,
    "kv_heads": 4,
    "head_dim": 128,
    "experts": 128,
    "used": 8,
    "vocab": 151936,
    "context": 40960,
    "rope_base": 1e6,
    "norm_epsilon": 1e-6,
}
SHAPES = {
    "mixtral-2l": _MIXTRAL | {"layers": 2},
    "mixtral-32l": _MIXTRAL,
    "mixtral-layer": _MIXTRAL | {"layers": 1, "ffn": 3584, "vocab": 512, "context": 4096},
    "qwen3-30b-2l": _QWEN3 | {"layers": 2},
    "qwen3-30b-48l": _QWEN3,
}
# Number llama.cpp gives each mixture in general.file_type.
FILE_TYPES = {"q4_0": 2, "q8_0": 7, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18, "f16": 1, "bf16": 32}
BASE_TYPES = {"q4_k_m": "q4_k", "q5_k_m": "q5_k"}


def takes_more_bits(layer, layers):
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def type_of(role, layer, shape, mixture):
    """The type llama.cpp's quantizer gives a tensor of this role."""
    base = BASE_TYPES.get(mixture, mixture)
    if role in ("norm", "router"):
        return "f32"
    if base in ("f16", "bf16", "q8_0"):
        return base
    if role == "output":
        return "q6_k"
    if shape["experts"] == 8:
        if role in ("attn_k", "attn_v"):
            return "q8_0"
        if role == "attn_output" and mixture == "q4_k_m":
            return "q5_k"
    if role in ("attn_v", "ffn_down") and mixture in BASE_TYPES and takes_more_bits(layer, shape["layers"]):
        return "q6_k"
    return base


def layer_tensors(layer, shape, experts_layout):
    """(name, dimensions, role) of one layer."""
    hidden, ffn, experts = shape["hidden"], shape["ffn"], shape["experts"]
    q_rows, kv_rows = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    yield "attn_norm", (hidden,), "norm"
    yield "attn_q", (hidden, q_rows), "attn_q"
    yield "attn_k", (hidden, kv_rows), "attn_k"
    yield "attn_v", (hidden, kv_rows), "attn_v"
    yield "attn_output", (q_rows, hidden), "attn_output"
    if shape["arch"] == "qwen3moe":
        yield "attn_q_norm", (shape["head_dim"],), "norm"
        yield "attn_k_norm", (shape["head_dim"],), "norm"
    yield "ffn_norm", (hidden,), "norm"
    yield "ffn_gate_inp", (hidden, experts), "router"
    parts = (("ffn_gate", (hidden, ffn)), ("ffn_down", (ffn, hidden)), ("ffn_up", (hidden, ffn)))
    if experts_layout == "merged":
        for role, dims in parts:
            yield f"{role}_exps", (*dims, experts), role
    else:
        for expert in range(experts):
            for role, dims in parts:
                yield f"{role}.{expert}", dims, role


def all_tensors(shape, mixture, experts_layout):
    """(name, dimensions, type name), in file order."""
    hidden, vocab = shape["hidden"], shape["vocab"]
    yield "token_embd.weight", (hidden, vocab), type_of("token_embd", 0, shape, mixture)
    for layer in range(shape["layers"]):
        for name, dims, role in layer_tensors(layer, shape, experts_layout):
            yield f"blk.{layer}.{name}.weight", dims, type_of(role, layer, shape, mixture)
    yield "output_norm.weight", (hidden,), "f32"
    yield "output.weight", (hidden, vocab), type_of("output", 0, shape, mixture)


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
    import struct

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
    if shape["arch"] != "llama":
        return byte_level_entries(shape["vocab"])
    if not path:
        return sentencepiece_entries(*synthetic_pieces(shape["vocab"]))
    pieces, scores, types = read_sentencepiece(path)
    if len(pieces) != shape["vocab"]:
        raise SystemExit(f"{path}: {len(pieces)} pieces, the shape has {shape['vocab']}")
    return sentencepiece_entries(pieces, scores, types)


def metadata(args, shape):
    arch = shape["arch"]
    integers = {
        "block_count": "layers",
        "context_length": "context",
        "embedding_length": "hidden",
        "feed_forward_length": "ffn",
        "attention.head_count": "heads",
        "attention.head_count_kv": "kv_heads",
        "attention.key_length": "head_dim",
        "attention.value_length": "head_dim",
        "rope.dimension_count": "head_dim",
        "expert_count": "experts",
        "expert_used_count": "used",
        "vocab_size": "vocab",
    }
    if arch == "qwen3moe":
        integers["expert_feed_forward_length"] = "ffn"
    entries = [
        entry("general.architecture", STRING, arch),
        entry("general.name", STRING, f"synthetic {args.shape} {args.type}"),
        entry("general.file_type", U32, FILE_TYPES[args.type]),
        entry("general.quantization_version", U32, 2),
        entry(f"{arch}.attention.layer_norm_rms_epsilon", F32, shape["norm_epsilon"]),
        entry(f"{arch}.rope.freq_base", F32, shape["rope_base"]),
    ]
    entries += [entry(f"{arch}.{key}", U32, shape[value]) for key, value in integers.items()]
    return entries + tokenizer_entries(shape, args.tokenizer)


def write_data(out, tensors, seed):
    import numpy as np

    rng = np.random.Generator(np.random.SFC64(seed))
    for name, dims, type_name in tensors:
        if name.endswith("norm.weight"):
            out.write(np.ones(dims, "<f4").tobytes())
        else:
            left = blocks.block_count(type_name, dims)
            deviation = max(0.02, dims[0] ** -0.5)
            while left:
                count = min(left, CHUNK_BYTES // blocks.block_bytes(type_name))
                out.write(blocks.random_blocks(rng, type_name, count, deviation))
                left -= count
        out.write(padding(out.tell()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="mixtral-2l")
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="q4_k_m")
    parser.add_argument("--experts", choices=("merged", "split"), default="merged")
    parser.add_argument("--layers", type=int, help="instead of the shape's own")
    parser.add_argument("--tokenizer", help="a tokenizer.model of the right size instead of made-up pieces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sparse", action="store_true", help="no data: a file of full size that takes no room")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    shape = SHAPES[args.shape] | ({"layers": args.layers} if args.layers else {})
    tensors = list(all_tensors(shape, args.type, args.experts))
    sized = [
        (name, dims, blocks.TYPES[kind].gguf_id, blocks.block_count(kind, dims) * blocks.block_bytes(kind))
        for name, dims, kind in tensors
    ]
    head = header(metadata(args, shape), sized)
    total = len(head) + sum(size + len(padding(size)) for *_, size in sized)
    with open(args.out, "wb") as out:
        out.write(head)
        if args.sparse:
            out.truncate(total)
        else:
            write_data(out, tensors, args.seed)
    print(f"{args.out}: {total} bytes, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
