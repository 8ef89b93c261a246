#!/usr/bin/env python3
"""Makes the GPTQ, AWQ, bitsandbytes, FP8 and compressed-tensors folders of tests/data/golden: the tiny Mixtral there,
quantized by tools/quantized_layouts.py, with logits from `transformers` in float64 on what the numbers stand for.

    make_quantized_golden.py [--out tests/data/golden] [NAME ...]
needs torch, transformers, safetensors, bitsandbytes, compressed-tensors, numpy
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import quantized_layouts as layouts
from make_golden import Reference

ROOT = Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 12
MIN_ROUTER_GAP = 0.1
VOCAB = 128


def gptq_config(bits, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": 32, "desc_act": False, "sym": False} | more


MODELS = {
    "mixtral-gptq4": {
        "about": "GPTQ 4 bits, zero points of version 1",
        "quantize": lambda m: layouts.gptq(m),
        "config": gptq_config(4),
    },
    "mixtral-gptq4-v2": {
        "about": "GPTQ 4 bits, zero points of version 2, one group for all inputs",
        "quantize": lambda m: layouts.gptq(m, group=-1, version=2),
        "config": gptq_config(4, group_size=-1, checkpoint_format="gptq_v2"),
    },
    "mixtral-gptq3-order": {
        "about": "GPTQ 3 bits, inputs in another order (desc_act)",
        "quantize": lambda m: layouts.gptq(m, bits=3, group=16, act_order=True),
        "config": gptq_config(3, group_size=16, desc_act=True),
    },
    "mixtral-gptq8-order": {
        "about": "GPTQ 8 bits, inputs in another order (desc_act)",
        "quantize": lambda m: layouts.gptq(m, bits=8, group=32, act_order=True),
        "config": gptq_config(8, desc_act=True),
    },
    "mixtral-awq": {
        "about": "AWQ 4 bits, GEMM",
        "quantize": lambda m: layouts.awq(m),
        "config": {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
    },
    "mixtral-nf4": {
        "about": "bitsandbytes nf4 with nested maxima",
        "quantize": lambda m: layouts.bitsandbytes_4bit(m),
        "config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    },
    "mixtral-fp4": {
        "about": "bitsandbytes fp4 without",
        "quantize": lambda m: layouts.bitsandbytes_4bit(m, "fp4", nested=False),
        "config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    },
    "mixtral-int8": {
        "about": "bitsandbytes int8",
        "quantize": lambda m: layouts.bitsandbytes_8bit(m),
        "config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    },
    "mixtral-fp8": {
        "about": "FP8 with scales for blocks",
        "quantize": lambda m: layouts.fp8(m),
        "config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [32, 32]},
    },
    "mixtral-packed4": {
        "about": "compressed-tensors 4 bits, symmetric",
        "quantize": lambda m: layouts.compressed_tensors(m),
        "config": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    },
    "mixtral-packed4-zeros": {
        "about": "compressed-tensors 4 bits with zero points",
        "quantize": lambda m: layouts.compressed_tensors(m, symmetric=False),
        "config": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    },
    "mixtral-packed4-order": {
        "about": "compressed-tensors 4 bits, inputs in another order (activation ordering)",
        "quantize": lambda m: layouts.compressed_tensors_order(m),
        "config": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    },
    "mixtral-packed-nvfp4": {
        "about": "compressed-tensors nvfp4",
        "quantize": lambda m: layouts.nvfp4(m),
        "config": {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"},
    },
    "mixtral-packed-int8": {
        "about": "compressed-tensors int8, a scale for every row",
        "quantize": lambda m: layouts.int8_rows(m),
        "config": {"quant_method": "compressed-tensors", "format": "int-quantized"},
    },
}


def is_quantized(name, tensor):
    """What such checkpoints quantize: every linear layer but routers and the output."""
    return tensor.dim() == 2 and not any(part in name for part in ("embed_tokens", "lm_head", "block_sparse_moe.gate"))


def choose_prompt(reference):
    """Grows a prompt, token by token, of which no position has a close choice of experts."""
    rng = np.random.RandomState(11)
    ids = []
    while len(ids) < PROMPT_TOKENS:
        for candidate in rng.permutation(np.arange(3, VOCAB)):
            reference.router_gap = float("inf")
            reference.logits([*ids, int(candidate)])
            if reference.router_gap >= MIN_ROUTER_GAP:
                ids.append(int(candidate))
                break
        else:
            raise SystemExit("no token has a clear choice of experts")
    return ids


def make(name, facts, out):
    source = ROOT / "tests/data/golden/mixtral"
    config = json.loads((source / "config.json").read_text())
    stored, exact = {}, {}
    for key, tensor in load_file(source / "model.safetensors").items():
        if not is_quantized(key, tensor):
            stored[key], exact[key] = tensor, tensor.double()
            continue
        module = key.removesuffix(".weight")
        parts, values = facts["quantize"](tensor.float().numpy())
        stored |= {module + ending: part.contiguous() for ending, part in parts.items()}
        exact[key] = torch.from_numpy(np.ascontiguousarray(values)).double()
    with tempfile.TemporaryDirectory() as copy:
        (Path(copy) / "config.json").write_text(json.dumps(config))
        save_file(exact, Path(copy) / "model.safetensors", metadata={"format": "pt"})
        reference = Reference(copy)
        ids = choose_prompt(reference)
        reference.router_gap = float("inf")
        logits = reference.logits(ids)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": facts["config"]}, indent=1) + "\n")
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    np.save(folder / "logits.npy", logits.astype("<f4"))
    golden = {
        "family": "mixtral",
        "about": facts["about"],
        "prompt_ids": ids,
        "greedy_ids": [int(logits[-1].argmax())],
        "min_router_gap": round(reference.router_gap, 5),
        "logit_range": round(float(np.ptp(logits)), 4),
        "variants": [{"path": ".", "type": facts["config"]["quant_method"], "experts": "per-expert", "logits": "logits.npy"}],
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(name, golden["logit_range"], golden["min_router_gap"], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/golden")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, facts in MODELS.items():
        if not options.names or name in options.names:
            make(name, facts, options.out)


if __name__ == "__main__":
    main()
