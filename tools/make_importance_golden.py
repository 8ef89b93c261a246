#!/usr/bin/env python3
"""Makes the importance.gguf of golden models: what `moxie imatrix` must measure, from `transformers` in float64.

Each model's prompt goes through it once. The inputs of all linear layers are caught by hooks; those of the experts are
computed from the block's input and the weights on disk, since newer versions keep experts in one module. The file is
written with the gguf package, in the form of llama.cpp's importance matrices.

    make_importance_golden.py [NAME ...]      needs torch, transformers, gguf, safetensors, numpy
"""

import json
import re
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors import safe_open

GOLDENS = Path(__file__).resolve().parent.parent / "tests/data/golden"
NAMES = ("mixtral", "qwen2_moe", "llama")
ARCHES = {
    "mixtral": gguf.MODEL_ARCH.LLAMA,
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2_moe": gguf.MODEL_ARCH.QWEN2MOE,
}


def expert_weights(weights, layer, expert):
    """gate, up and down of one expert, under the names of either family."""
    prefix = f"model.layers.{layer}."
    old = prefix + f"block_sparse_moe.experts.{expert}."
    if old + "w1.weight" in weights:
        return [weights[old + name + ".weight"] for name in ("w1", "w3", "w2")]
    new = prefix + f"mlp.experts.{expert}."
    return [weights[new + name + ".weight"] for name in ("gate_proj", "up_proj", "down_proj")]


def router_weight(weights, layer):
    for name in ("block_sparse_moe.gate", "mlp.gate"):
        found = weights.get(f"model.layers.{layer}.{name}.weight")
        if found is not None:
            return found
    return None


class Sums:
    """Sums of squares by GGUF name: (matrices, columns), and rows counted."""

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, name, rows, matrix=0, matrices=1):
        sums = self.sums.setdefault(name, np.zeros((matrices, rows.shape[-1])))
        counts = self.counts.setdefault(name, np.zeros((matrices, 1)))
        sums[matrix] += (rows.reshape(-1, rows.shape[-1]) ** 2).sum(0).numpy()
        counts[matrix] += rows.numel() // rows.shape[-1]


def add_experts(sums, weights, config, layer, x):
    experts = config.get("num_local_experts") or config["num_experts"]
    router = router_weight(weights, layer)
    sums.add(f"blk.{layer}.ffn_gate_inp.weight", x)
    chosen = (x @ router.T).topk(config["num_experts_per_tok"], dim=-1).indices
    for expert in range(experts):
        rows = x[(chosen == expert).any(-1)]
        gate, up, down = expert_weights(weights, layer, expert)
        assert down.shape[0] == x.shape[-1]
        hidden = torch.nn.functional.silu(rows @ gate.T) * (rows @ up.T)
        for name, inputs in (("gate", rows), ("up", rows), ("down", hidden)):
            sums.add(f"blk.{layer}.ffn_{name}_exps.weight", inputs, expert, experts)


def measure(folder, arch, chunks):
    """chunks: lists of token ids, each computed on its own."""
    config = json.loads((folder / "config.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, experts_implementation="eager")
    with safe_open(folder / "model.safetensors", "pt") as file:
        weights = {key: file.get_tensor(key).double() for key in file.keys()}
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    sums = Sums()

    def catch(module_name):
        gguf_name = names.get_name(module_name)

        def hook(module, inputs):
            x = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            if isinstance(module, torch.nn.Linear):
                sums.add(gguf_name + ".weight", x)
            else:
                add_experts(sums, weights, config, int(re.search(r"layers\.(\d+)\.", module_name)[1]), x)

        return hook

    for module_name, module in model.named_modules():
        router = module_name.endswith(".gate") or module_name == "lm_head"
        if isinstance(module, torch.nn.Linear) and not router and ".experts." not in module_name:
            module.register_forward_pre_hook(catch(module_name))
        elif hasattr(module, "experts"):
            module.register_forward_pre_hook(catch(module_name))
    with torch.no_grad():
        for ids in chunks:
            model(torch.tensor([ids]))
    return sums


def write(path, sums, tokens):
    writer = gguf.GGUFWriter(path, "imatrix")
    del writer.kv_data[0]["general.architecture"]
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["prompt_ids"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", tokens)
    for name in sorted(sums.sums):
        writer.add_tensor(name + ".in_sum2", sums.sums[name].astype(np.float32))
        writer.add_tensor(name + ".counts", sums.counts[name].astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    for name in sys.argv[1:] or NAMES:
        folder = GOLDENS / name
        ids = json.loads((folder / "golden.json").read_text())["prompt_ids"]
        write(folder / "importance.gguf", measure(folder, ARCHES[name], [ids]), len(ids))


if __name__ == "__main__":
    main()
