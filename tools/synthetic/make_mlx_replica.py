#!/usr/bin/env python3
"""Writes the files of a 4-bit MLX Mixtral without its data: headers, index and config, the shards full size but empty.

For tests that read headers only. Needs the standard library alone.

    make_mlx_replica.py -o mixtral-8x7b-4bit [--layers 32] [--bits 4] [--group 64]
"""

import argparse
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shapes import SHAPES

SHARD_BYTES = 5 << 30  # MLX begins a new file rather than exceed this


def layers_of(shape):
    """(name, dimensions) of every module in the order of the model: (..., out, in), or one dimension for a norm."""
    hidden, ffn, experts = shape["hidden"], shape["ffn"], shape["experts"]
    q_rows, kv_rows = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    yield "model.embed_tokens", (shape["vocab"], hidden)
    for layer in range(shape["layers"]):
        parts = {
            "self_attn.q_proj": (q_rows, hidden),
            "self_attn.k_proj": (kv_rows, hidden),
            "self_attn.v_proj": (kv_rows, hidden),
            "self_attn.o_proj": (hidden, q_rows),
            "block_sparse_moe.gate": (experts, hidden),
            "block_sparse_moe.switch_mlp.gate_proj": (experts, ffn, hidden),
            "block_sparse_moe.switch_mlp.up_proj": (experts, ffn, hidden),
            "block_sparse_moe.switch_mlp.down_proj": (experts, hidden, ffn),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        for name, dims in parts.items():
            yield f"model.layers.{layer}.{name}", dims
    yield "model.norm", (hidden,)
    yield "lm_head", (shape["vocab"], hidden)


def tensors_of(shape, bits, group):
    """(name, dtype, dimensions): a quantized layer is packed words, and a scale and a bias for each group."""
    for name, dims in layers_of(shape):
        *outer, inputs = dims
        if not outer:
            yield f"{name}.weight", "F16", [inputs]
            continue
        yield f"{name}.weight", "U32", [*outer, inputs * bits // 32]
        yield f"{name}.scales", "F16", [*outer, inputs // group]
        yield f"{name}.biases", "F16", [*outer, inputs // group]


def tensor_bytes(dtype, dims):
    size = {"U32": 4, "F16": 2}[dtype]
    for dim in dims:
        size *= dim
    return size


def shards_of(tensors):
    """Lists of tensors, each list at most SHARD_BYTES."""
    shards, size = [[]], 0
    for tensor in tensors:
        more = tensor_bytes(*tensor[1:])
        if shards[-1] and size + more > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += more
    return shards


def write_shard(path, tensors):
    entries, at = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, dims in tensors:
        end = at + tensor_bytes(dtype, dims)
        entries[name] = {"dtype": dtype, "shape": dims, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + at)
    return at


def config(shape, bits, group):
    quantization = {"group_size": group, "bits": bits}
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "hidden_act": "silu",
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["ffn"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "num_local_experts": shape["experts"],
        "num_experts_per_tok": shape["used"],
        "vocab_size": shape["vocab"],
        "max_position_embeddings": shape["context"],
        "rms_norm_eps": shape["norm_epsilon"],
        "rope_theta": shape["rope_base"],
        "sliding_window": None,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
        "quantization": quantization,
        "quantization_config": quantization,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, help="instead of 32")
    parser.add_argument("--bits", type=int, choices=(2, 4, 8), default=4)
    parser.add_argument("--group", type=int, choices=(32, 64, 128), default=64)
    parser.add_argument("-o", "--out", required=True, type=Path, help="a folder, made if it does not exist")
    args = parser.parse_args()
    shape = SHAPES["mixtral-32l"] | ({"layers": args.layers} if args.layers else {})
    tensors = list(tensors_of(shape, args.bits, args.group))
    shards = shards_of(tensors)
    args.out.mkdir(parents=True, exist_ok=True)
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        total += write_shard(args.out / name, shard)
        weight_map |= {tensor[0]: name for tensor in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (args.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=4))
    (args.out / "config.json").write_text(json.dumps(config(shape, args.bits, args.group), indent=4))
    print(f"{args.out}: {total} bytes, {len(tensors)} tensors, {len(shards)} files")


if __name__ == "__main__":
    main()
