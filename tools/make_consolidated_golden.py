#!/usr/bin/env python3
"""Writes tests/data/golden/mixtral-consolidated: the weights of mixtral in Mistral's own layout, with the same logits.

    make_consolidated_golden.py [--out tests/data/golden]      needs numpy
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/golden")
    folder = parser.parse_args().out / "mixtral-consolidated"
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((SOURCE / "config.json").read_text())
    tensors = {}
    for name, values in safetensors_file.read(SOURCE / "model.safetensors").items():
        if re.search("(q|k)_proj", name):
            values = interleave(values, config[f"num_{'attention' if 'q_proj' in name else 'key_value'}_heads"])
        for old, new in NAMES.items():
            name = name.replace(old, new)
        tensors[name] = values
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
    golden["about"] = "Mistral's own layout: consolidated.safetensors and params.json, no rope_theta"
    golden["variants"] = [
        {"path": "consolidated.safetensors", "type": "bf16", "experts": "per-expert", "logits": "logits.npy"}
    ]
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    shutil.copy(SOURCE / "logits.npy", folder / "logits.npy")


if __name__ == "__main__":
    main()
