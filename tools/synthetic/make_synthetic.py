#!/usr/bin/env python3
"""Writes a GGUF of a real model's shape with random weights, straight in quantized form.

For speed and memory measurements and header tests: text is meaningless, logits are finite. Needs numpy, except with
--sparse, which writes the header and leaves the data as a hole of the right size.

    make_synthetic.py --shape mixtral-2l --type q4_k_m -o M.gguf
    make_synthetic.py --shape mixtral-32l --routing mixtral -o L.gguf
    make_synthetic.py --published Q4_K_M --sparse -o replica.gguf
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import blocks
import weights
from gguf_plain import F32, STRING, U32, entry, header, padding
from mixtures import FILE_TYPES
from shapes import SHAPES, all_tensors
from vocabulary import tokenizer_entries

# The Mixtral-8x7B files that were published in December 2023: one tensor per expert.
PUBLISHED = {name.upper(): name for name in ("q2_k", "q3_k_m", "q4_0", "q4_k_m", "q5_0", "q5_k_m", "q6_k", "q8_0")}
FLUSH_BYTES = 1 << 30


def metadata(args, shape):
    arch = shape["arch"]
    integers = {
        "block_count": "layers",
        "context_length": "context",
        "embedding_length": "hidden",
        "feed_forward_length": "ffn",
        "attention.head_count": "heads",
        "attention.head_count_kv": "kv_heads",
        "rope.dimension_count": "head_dim",
        "expert_count": "experts",
        "expert_used_count": "used",
    }
    if args.era == "today":
        integers |= {"attention.key_length": "head_dim", "attention.value_length": "head_dim", "vocab_size": "vocab"}
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


class Progress:
    """A line on stderr: bytes written, speed, what comes next."""

    def __init__(self, total):
        self.total, self.start, self.shown = total, time.monotonic(), 0.0

    def show(self, done, name):
        now = time.monotonic()
        if now - self.shown < (0.2 if sys.stderr.isatty() else 10) and done < self.total:
            return
        self.shown = now
        end = "\r" if sys.stderr.isatty() and done < self.total else "\n"
        rate = done / max(now - self.start, 1e-3)
        print(f"{done / 1e9:.2f} of {self.total / 1e9:.2f} GB, {rate / 1e6:.0f} MB/s, {name:40}", end=end, file=sys.stderr)


def write_data(out, tensors, values_of, seed, total):
    import numpy as np

    rng = np.random.Generator(np.random.SFC64(seed))
    progress, flushed = Progress(total), 0
    for name, dims, type_name in tensors:
        for chunk in weights.chunks_of(rng, type_name, dims, values_of(name, dims)):
            out.write(chunk)
            progress.show(out.tell(), name)
        out.write(padding(out.tell()))
        if out.tell() - flushed >= FLUSH_BYTES or out.tell() == total:
            # Nobody reads these pages soon: give the page cache back.
            out.flush()
            os.fdatasync(out.fileno())
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            flushed = out.tell()


def write_file(args, head, tensors, values_of, total):
    """Under another name until it is complete."""
    partial = Path(f"{args.out}.partial")
    if not args.sparse and shutil.disk_usage(partial.absolute().parent).free < total:
        raise SystemExit(f"{args.out}: needs {total} bytes, which the disk does not have; free some or take fewer --layers")
    with open(partial, "wb") as out:
        out.write(head)
        if args.sparse:
            out.truncate(total)
        else:
            write_data(out, tensors, values_of, args.seed, total)
    partial.replace(args.out)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="mixtral-2l")
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="q4_k_m")
    parser.add_argument("--experts", choices=("merged", "split"), default="merged")
    parser.add_argument("--era", choices=("today", "2023"), default="today", help="whose types: today's quantizer's, or the first one's")
    parser.add_argument("--published", choices=PUBLISHED, help="the file of that name of December 2023: sets the four above")
    parser.add_argument("--routing", choices=("random", "mixtral"), default="random", help="mixtral: repeats experts as Mixtral does")
    parser.add_argument("--layers", type=int, help="instead of the shape's own")
    parser.add_argument("--tokenizer", help="a tokenizer.model of the right size instead of made-up pieces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sparse", action="store_true", help="no data: a file of full size that takes no room")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    if args.published:
        args.shape, args.type, args.experts, args.era = "mixtral-32l", PUBLISHED[args.published], "split", "2023"
    return args


def main():
    args = parse_args()
    shape = SHAPES[args.shape] | ({"layers": args.layers} if args.layers else {})
    values_of = weights.plain
    if args.routing == "mixtral" and not args.sparse:
        if args.type not in ("q4_k_m", "q8_0"):
            raise SystemExit(f"--routing mixtral is written in q4_k_m or q8_0, not in {args.type}")
        from routing import CalibratedModel

        values_of = CalibratedModel(shape, args.seed).values_of
    tensors = list(all_tensors(shape, args.type, args.experts, args.era))
    sized = [(name, dims, blocks.TYPES[kind].gguf_id, blocks.tensor_bytes(kind, dims)) for name, dims, kind in tensors]
    head = header(metadata(args, shape), sized)
    total = len(head) + sum(size + len(padding(size)) for *_, size in sized)
    write_file(args, head, tensors, values_of, total)
    print(f"{args.out}: {total} bytes, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
