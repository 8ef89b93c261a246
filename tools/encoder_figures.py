#!/usr/bin/env python3
"""Prints the table of docs/quantization.md on writing types: the error and speed of moxie's encoders beside llama.cpp's,
on one layer of normally distributed numbers, and the error on the demo model's weights.

    encoder_figures.py [--moxie build/moxie] [--threads 2] [--folder /dev/shm] [TYPE ...]
needs numpy, gguf, llama-cpp-python
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
# llama.cpp's numbers; of the mixtures those that have one type for nearly all.
TYPES = {
    "f16": 1, "bf16": 32, "q8_0": 7, "q5_1": 9, "q5_0": 8, "q4_1": 3, "q4_0": 2, "q6_k": 18, "q5_k_s": 16, "q4_k_s": 14,
    "q3_k_s": 11, "q2_k": 10, "iq4_nl": 25, "iq4_xs": 30,
}  # fmt: skip
HIDDEN, FFN, VOCABULARY, REPETITIONS = 2048, 4096, 256, 3


def write_layer(path):
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in {"block_count": 1, "context_length": 512, "embedding_length": HIDDEN, "feed_forward_length": FFN,
                       "attention.head_count": 16}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_string("tokenizer.ggml.model", "llama")
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(VOCABULARY)])
    writer.add_array("tokenizer.ggml.scores", [0.0] * VOCABULARY)
    writer.add_array("tokenizer.ggml.token_type", [1] * VOCABULARY)

    def add(name, *shape):
        values = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))
        writer.add_tensor(name + ".weight", values if len(shape) > 1 else np.ones(shape, np.float32))

    for name in ("token_embd", "output"):
        add(name, VOCABULARY, HIDDEN)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        add(name, HIDDEN)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{name}", HIDDEN, HIDDEN)
    for name in ("ffn_gate", "ffn_up"):
        add(f"blk.0.{name}", FFN, HIDDEN)
    add("blk.0.ffn_down", HIDDEN, FFN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def by_moxie(program, source, out, name, threads):
    subprocess.run([program, "convert", source, out, "--type", name, "--threads", str(threads), "--force"], check=True,
                   capture_output=True)


def by_llama(source, out, file_type, threads):
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, threads
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) != 0:
        raise SystemExit(f"llama.cpp does not write type {file_type}")


def seconds(action):
    times = []
    for _ in range(REPETITIONS):
        start = time.monotonic()
        action()
        times.append(time.monotonic() - start)
    return sorted(times)[REPETITIONS // 2]


def error(original, path):
    """Root mean square of what quantizing changed over that of the original."""
    plain = {tensor.name: tensor.data for tensor in gguf.GGUFReader(original).tensors}
    changed = power = 0.0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.F32 or not tensor.name.startswith("blk."):
            continue
        before = plain[tensor.name]
        after = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(before.shape)
        changed += float(np.square(after - before, dtype=np.float64).sum())
        power += float(np.square(before, dtype=np.float64).sum())
    return (changed / power) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moxie", default=ROOT / "build/moxie")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("types", nargs="*")
    options = parser.parse_args()
    import gguf_convert
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    print("| type | error | llama.cpp | on the demo model | llama.cpp | MB/s | llama.cpp |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        layer, demo = Path(folder) / "layer.gguf", Path(folder) / "demo.gguf"
        write_layer(layer)
        gguf_convert.convert(ROOT / "models/demo", demo, "f32")
        megabytes = layer.stat().st_size / 1e6
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        for name in options.types or TYPES:
            speed = [megabytes / seconds(lambda: by_moxie(options.moxie, layer, ours, name, options.threads)),
                     megabytes / seconds(lambda: by_llama(layer, theirs, TYPES[name], options.threads))]
            errors = [error(layer, ours), error(layer, theirs)]
            by_moxie(options.moxie, demo, ours, name, options.threads)
            by_llama(demo, theirs, TYPES[name], options.threads)
            errors += [error(demo, ours), error(demo, theirs)]
            print(f"| `{name}` | " + " | ".join(f"{100 * e:.3g} %" for e in errors) + " | "
                  + " | ".join(f"{s:.0f}" for s in speed) + " |", flush=True)


if __name__ == "__main__":
    main()
