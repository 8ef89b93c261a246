#!/usr/bin/env python3
"""Writes tests/data/golden/mixtral-consolidated and mixtral-rows: the weights of mixtral in Mistral's own layout, and in
the one of the first torrent, where the experts of a layer are one matrix for each of w1, w2, w3. The same logits.

    make_consolidated_golden.py [--out tests/data/golden]      needs numpy
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import safetensors_file

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests/data/golden/mixtral"
NAMES = {
    "model.embed_tokens.": "tok_embeddings.", "model.norm.": "norm.", "lm_head.": "output.",
    "self_attn.q_proj.": "attention.wq.", "self_attn.k_proj.": "attention.wk.", "self_attn.v_proj.": "attention.wv.",
    "self_attn.o_proj.": "attention.wo.", "input_layernorm.": "attention_norm.",
    "post_attention_layernorm.": "ffn_norm.", "block_sparse_moe.": "feed_forward.", "model.layers.": "layers.",
}  # fmt: skip


def interleave(rows, heads):
    """Rows of q or k from halves of a head to neighbouring pairs."""
    per_head = rows.shape[0] // heads
    return rows.reshape(heads, 2, per_head // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def renamed(config):
    tensors = {}
    for name, values in safetensors_file.read(SOURCE / "model.safetensors").items():
        if re.search("(q|k)_proj", name):
            values = interleave(values, config[f"num_{'attention' if 'q_proj' in name else 'key_value'}_heads"])
        for old, new in NAMES.items():
            name = name.replace(old, new)
        tensors[name] = values
    return tensors


def experts_together(tensors, config):
    """The reverse of what transformers' convert_mixtral_weights_to_hf.py does: w2 transposed, then all experts' rows."""
    together = {name: values for name, values in tensors.items() if ".feed_forward." not in name}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"layers.{layer}"
        together[f"{prefix}.block_sparse_moe.gate.weight"] = tensors[f"{prefix}.feed_forward.gate.weight"]
        for part in ("w1", "w2", "w3"):
            names = [f"{prefix}.feed_forward.experts.{e}.{part}.weight" for e in range(config["num_local_experts"])]
            matrices = [tensors[name].T if part == "w2" else tensors[name] for name in names]
            together[f"{prefix}.block_sparse_moe.{part}"] = np.ascontiguousarray(np.concatenate(matrices))
    return together


def write(folder, config, tensors, about, experts):
    folder.mkdir(parents=True, exist_ok=True)
    safetensors_file.write(folder / "consolidated.safetensors", tensors)
    params = {
        "dim": config["hidden_size"], "n_layers": config["num_hidden_layers"],
        "head_dim": config["hidden_size"] // config["num_attention_heads"], "hidden_dim": config["intermediate_size"],
        "n_heads": config["num_attention_heads"], "n_kv_heads": config["num_key_value_heads"],
        "norm_eps": config["rms_norm_eps"], "vocab_size": config["vocab_size"],
        "moe": {"num_experts": config["num_local_experts"], "num_experts_per_tok": config["num_experts_per_tok"]},
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(params, indent=1) + "\n")
    golden = json.loads((SOURCE / "golden.json").read_text())
    golden["about"] = about
    golden["variants"] = [
        {"path": "consolidated.safetensors", "type": "bf16", "experts": experts, "logits": "logits.npy"}
    ]
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    shutil.copy(SOURCE / "logits.npy", folder / "logits.npy")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/golden")
    out = parser.parse_args().out
    config = json.loads((SOURCE / "config.json").read_text())
    tensors = renamed(config)
    write(out / "mixtral-consolidated", config, tensors,
          "Mistral's own layout: consolidated.safetensors and params.json, no rope_theta", "per-expert")
    write(out / "mixtral-rows", config, experts_together(tensors, config),
          "the layout of the first torrent: one matrix for w1, w2, w3 of all experts, w2 transposed", "stacked")


if __name__ == "__main__":
    main()
