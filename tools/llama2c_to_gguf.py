#!/usr/bin/env python3
"""Rewrites a llama2.c model (.bin and its tokenizer .bin) as a float32 GGUF of arch llama. Standard library only.

llama2.c rotates neighbouring pairs, as arch llama does, so no row is moved. The output matrix is the embedding and is
left out.

    llama2c_to_gguf.py MODEL.bin TOKENIZER.bin OUT.gguf
"""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gguf_plain import F32, SPACE, STRING, U32, entry, header, padding, sentencepiece_entries

NORM_EPSILON = 1e-5
ROPE_BASE = 10000.0


def read_tokenizer(path, count):
    """(pieces, scores, types): spaces as U+2581; types 1 normal, 2 unknown, 3 control, 6 byte."""
    with open(path, "rb") as file:
        data = file.read()
    at = 4
    pieces, scores, types = [], [], []
    for index in range(count):
        score, length = struct.unpack_from("<fi", data, at)
        piece = data[at + 8 : at + 8 + length]
        at += 8 + length
        kind = 2 if index == 0 else 3 if index < 3 else 6 if index < 259 else 1
        piece = (b"<unk>", b"<s>", b"</s>")[index] if index < 3 else piece.replace(b" ", SPACE.encode())
        if kind == 6:
            piece = f"<0x{index - 3:02X}>".encode()
        pieces.append(piece)
        scores.append(score)
        types.append(kind)
    if at != len(data):
        raise SystemExit(f"{path}: {len(data) - at} bytes are left after {count} pieces")
    return pieces, scores, types


class Model:
    """The header of a llama2.c file and where its tensors lie."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.dim, self.hidden, self.layers, self.heads, self.kv_heads, self.vocab, self.context = struct.unpack_from(
            "<7i", self.data
        )
        if self.vocab < 0:
            raise SystemExit(f"{path}: an output matrix of its own (vocabulary {self.vocab}) is not handled")

    def tensors(self):
        """Yields (GGUF name, dimensions with the contiguous one first, bytes), in the order of the file."""
        at = 28
        kv_dim = self.dim // self.heads * self.kv_heads
        per_layer = (
            ("attn_norm", (self.dim,)),
            ("attn_q", (self.dim, self.dim)),
            ("attn_k", (self.dim, kv_dim)),
            ("attn_v", (self.dim, kv_dim)),
            ("attn_output", (self.dim, self.dim)),
            ("ffn_norm", (self.dim,)),
            ("ffn_gate", (self.dim, self.hidden)),
            ("ffn_down", (self.hidden, self.dim)),
            ("ffn_up", (self.dim, self.hidden)),
        )
        groups = [[("token_embd", (self.dim, self.vocab))]]
        groups += [[(f"blk.{layer}.{role}", dims) for layer in range(self.layers)] for role, dims in per_layer]
        groups += [[("output_norm", (self.dim,))]]
        for name, dims in (tensor for group in groups for tensor in group):
            size = 4
            for dim in dims:
                size *= dim
            yield f"{name}.weight", dims, self.data[at : at + size]
            at += size
        rope_tables = self.context * (self.dim // self.heads) * 4
        if at + rope_tables != len(self.data):
            raise SystemExit(f"the model has {len(self.data)} bytes, its header means {at + rope_tables}")


def metadata(model, tokenizer_path):
    head_dim = model.dim // model.heads
    return [
        entry("general.architecture", STRING, "llama"),
        entry("general.name", STRING, "stories260K"),
        entry("llama.block_count", U32, model.layers),
        entry("llama.context_length", U32, model.context),
        entry("llama.embedding_length", U32, model.dim),
        entry("llama.feed_forward_length", U32, model.hidden),
        entry("llama.attention.head_count", U32, model.heads),
        entry("llama.attention.head_count_kv", U32, model.kv_heads),
        entry("llama.attention.layer_norm_rms_epsilon", F32, NORM_EPSILON),
        entry("llama.rope.dimension_count", U32, head_dim),
        entry("llama.rope.freq_base", F32, ROPE_BASE),
        entry("general.file_type", U32, 0),
    ] + sentencepiece_entries(*read_tokenizer(tokenizer_path, model.vocab))


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    model = Model(sys.argv[1])
    entries = metadata(model, sys.argv[2])
    tensors = list(model.tensors())
    infos = [(name, dims, 0, len(values)) for name, dims, values in tensors]
    with open(sys.argv[3], "wb") as out:
        out.write(header(entries, infos))
        for _, _, values in tensors:
            out.write(values + padding(len(values)))


if __name__ == "__main__":
    main()
