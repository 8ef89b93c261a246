#!/usr/bin/env python3
"""Makes the gpt_oss folders of tests/data/golden: one tiny random GPT-OSS model with logits from `transformers` in
float64, in the forms its weights come in. The experts' matrices are exact in MXFP4, so that all forms have one truth.

    gpt_oss        GGUF, bfloat16
    gpt_oss-mxfp4  GGUF with MXFP4 experts; no routing choice of its prompt has a gap below 0.1
    gpt_oss-apart  safetensors with gate and up apart, bfloat16, as MLX's conversions have them
    gpt_oss-published   safetensors as published: MXFP4 in _blocks and _scales, rows of gate and up in turn; prompt as above
    gpt_oss-transposed  safetensors as transformers saves it unquantized: bfloat16, transposed, gate and up in turn

    make_gpt_oss_golden.py [--out tests/data/golden]      needs torch, transformers, gguf, safetensors, numpy
"""

import argparse
import json
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import safetensors_file
import make_golden
from make_golden import Reference, check_features_noticed, find_prompt, random_tensor

ROOT = Path(__file__).resolve().parent.parent
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
GROUP = 32
CLEAR_TOKENS, CLEAR_GAP = 20, 0.15
ROPE = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 4.0,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 64,
}
CONFIG = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_local_experts": 8,
    "num_experts_per_tok": 3,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"],
    "hidden_act": "silu",
    "swiglu_limit": 7.0,
    "attention_bias": True,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_parameters": ROPE,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}
MODEL = {
    "name": "gpt_oss",
    "prompt_tokens": 40,
    "switch_off": {
        "window": {"layer_types": ["full_attention", "full_attention"]},
        "order of layers": {"layer_types": ["full_attention", "sliding_attention"]},
        "scaling": {"rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}},
        "ramp between dimensions": {"rope_parameters": ROPE | {"truncate": True}},
        "clamp": {"swiglu_limit": 1000.0},
        "sigmoid's factor": {"swiglu_alpha": 1.0},
        "third expert": {"num_experts_per_tok": 2},
    },
}


def encode_mxfp4(values):
    """(codes of one byte each, exponents of one byte per group)"""
    groups = values.reshape(*values.shape[:-1], -1, GROUP)
    exponents = np.floor(np.log2(np.abs(groups).max(axis=-1))) - 2
    scaled = groups / np.exp2(exponents)[..., None]
    codes = np.abs(scaled[..., None] - E2M1).argmin(axis=-1).astype(np.uint8)
    return codes, (exponents + 127).astype(np.uint8)


def decode_mxfp4(codes, scales):
    values = E2M1[codes] * np.exp2(scales.astype(np.float32) - 127)[..., None]
    return values.reshape(*codes.shape[:-2], -1).astype(np.float32)


def make_weights(config):
    """(plain tensors, {name: (codes, scales)} of the experts' matrices, [E, rows, columns])"""
    rng = np.random.RandomState(zlib.crc32(b"gpt_oss"))
    hidden, inner, experts = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    width, heads, kv_heads = config["head_dim"], config["num_attention_heads"], config["num_key_value_heads"]
    plain, packed = {}, {}

    def add(name, shape, kind):
        plain[name] = random_tensor(rng, shape, kind)

    def add_packed(name, shape, gain):
        packed[name] = encode_mxfp4((gain / np.sqrt(shape[-1]) * rng.standard_normal(shape)).astype(np.float32))

    add("model.embed_tokens.weight", (config["vocab_size"], hidden), "embed")
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        add(f"{prefix}.input_layernorm.weight", (hidden,), "norm")
        for part, rows in (("q", heads * width), ("k", kv_heads * width), ("v", kv_heads * width)):
            add(f"{prefix}.self_attn.{part}_proj.weight", (rows, hidden), "linear" if part == "v" else "query_key")
            add(f"{prefix}.self_attn.{part}_proj.bias", (rows,), "bias")
        add(f"{prefix}.self_attn.o_proj.weight", (hidden, heads * width), "linear")
        add(f"{prefix}.self_attn.o_proj.bias", (hidden,), "bias")
        add(f"{prefix}.self_attn.sinks", (heads,), "bias")
        add(f"{prefix}.post_attention_layernorm.weight", (hidden,), "norm")
        # Twice as large as elsewhere: two layers of 8 experts over 104 tokens leave many choices to be clear.
        plain[f"{prefix}.mlp.router.weight"] = 2 * random_tensor(rng, (experts, hidden), "router")
        add(f"{prefix}.mlp.router.bias", (experts,), "bias")
        # Large enough that the clamp at 7 acts.
        add_packed(f"{prefix}.mlp.experts.gate_up_proj", (experts, 2 * inner, hidden), 4.0)
        add(f"{prefix}.mlp.experts.gate_up_proj_bias", (experts, 2 * inner), "embed")
        add_packed(f"{prefix}.mlp.experts.down_proj", (experts, hidden, inner), 0.3)
        add(f"{prefix}.mlp.experts.down_proj_bias", (experts, hidden), "bias")
    add("model.norm.weight", (hidden,), "norm")
    add("lm_head.weight", (config["vocab_size"], hidden), "head")
    return plain, packed


def write_config(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_reference(folder, plain, packed):
    """The form of `transformers`: experts' matrices transposed, decoded."""
    decoded = {name: decode_mxfp4(*parts).swapaxes(1, 2) for name, parts in packed.items()}
    write_config(folder, CONFIG)
    safetensors_file.write(folder / "model.safetensors", plain | decoded)


def write_published(folder, plain, packed):
    """As the model's makers publish it."""
    write_config(folder, CONFIG | {"quantization_config": {"quant_method": "mxfp4"}})
    tensors = {name: torch.from_numpy(values).to(torch.bfloat16) for name, values in plain.items()}
    for name, (codes, scales) in packed.items():
        tensors[f"{name}_blocks"] = torch.from_numpy(codes[..., 0::2] | (codes[..., 1::2] << 4))
        tensors[f"{name}_scales"] = torch.from_numpy(scales)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def check_published(folder, packed):
    """`transformers` decodes the blocks to the same numbers."""
    quantized = transformers.Mxfp4Config(dequantize=True)
    model = transformers.GptOssForCausalLM.from_pretrained(folder, quantization_config=quantized)
    for name, parts in packed.items():
        found = model.get_parameter(name).detach().float().numpy()
        assert np.array_equal(found, decode_mxfp4(*parts).swapaxes(1, 2)), name


def apart(plain, packed):
    """Everything under names with gate and up apart; matrices of experts as (codes, scales)."""
    tensors = {}
    for name, values in (plain | packed).items():
        if "experts.gate_up_proj" not in name:
            tensors[name.replace("down_proj_bias", "down_proj.bias")] = values
            continue
        prefix = name.split("gate_up_proj")[0]
        for first, part in enumerate(("gate_proj", "up_proj")):
            if isinstance(values, tuple):
                tensors[prefix + part] = tuple(each[:, first::2] for each in values)
            else:
                tensors[prefix + part + ".bias"] = values[:, first::2]
    return tensors


def write_apart(folder, plain, packed):
    write_config(folder, CONFIG)
    tensors = {}
    for name, values in apart(plain, packed).items():
        if isinstance(values, tuple):
            tensors[f"{name}.weight"] = decode_mxfp4(*values)
        else:
            tensors[name] = np.ascontiguousarray(values)
    safetensors_file.write(folder / "model.safetensors", tensors)


GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.sinks": "attn_sinks.weight",
    "mlp.router": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def gguf_name(name):
    stem, ending = name, ""
    if name.endswith((".weight", ".bias")):
        stem, ending = name.rsplit(".", 1)
        ending = "." + ending
    if not stem.startswith("model.layers."):
        return GGUF_NAMES[stem] + ending
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest]}{ending}"


def write_gguf(path, plain, packed, as_mxfp4):
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_name("gpt_oss")
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_expert_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_key_length(CONFIG["head_dim"])
    writer.add_value_length(CONFIG["head_dim"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(ROPE["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(ROPE["factor"])
    writer.add_rope_scaling_orig_ctx_len(ROPE["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(ROPE["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(ROPE["beta_slow"])
    writer.add_sliding_window(CONFIG["sliding_window"])
    writer.add_expert_count(CONFIG["num_local_experts"])
    writer.add_expert_used_count(CONFIG["num_experts_per_tok"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    kinds = gguf.GGMLQuantizationType
    for name, values in apart(plain, packed).items():
        if isinstance(values, tuple):
            decoded = np.ascontiguousarray(decode_mxfp4(*values))
            kind = kinds.MXFP4 if as_mxfp4 else kinds.BF16
            raw = gguf.quants.quantize(decoded, kind)
            assert np.array_equal(gguf.quants.dequantize(raw, kind), decoded), name
            writer.add_tensor(gguf_name(name + ".weight"), raw, raw_dtype=kind)
        elif values.ndim == 1 or name.endswith((".bias", "router.weight")):
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
        else:
            raw = gguf.quants.quantize(np.ascontiguousarray(values), kinds.BF16)
            writer.add_tensor(gguf_name(name), raw, raw_dtype=kinds.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_golden(folder, golden, logits, about, path, kind, experts):
    file = "logits.npy" if golden["greedy_ids"] else f"logits-{kind}.npy"
    np.save(folder / file, logits.astype("<f4"))
    variant = {"path": path, "type": kind, "experts": experts, "logits": file}
    (folder / "golden.json").write_text(json.dumps(golden | {"about": about, "variants": [variant]}) + "\n")


def find_clear_prompt(reference):
    """A short prompt in which 8-bit activations tip no choice of experts, its facts and logits."""
    rng = np.random.RandomState(7)
    while True:
        prompt = [1] + rng.randint(3, CONFIG["vocab_size"], size=CLEAR_TOKENS - 1).tolist()
        reference.router_gap, reference.expert_uses = float("inf"), {}
        logits = reference.logits(prompt)
        if reference.router_gap < CLEAR_GAP:
            continue
        facts = {
            "prompt_ids": prompt,
            "greedy_ids": [],
            "min_margin": None,
            "min_router_gap": round(reference.router_gap, 5),
            "experts_used": [len(experts) for experts in reference.expert_uses.values()],
            "logit_range": round(float(np.ptp(logits)), 4),
        }
        return facts, logits


def make(root):
    make_golden.MIN_ROUTER_GAP = 0.01
    plain, packed = make_weights(CONFIG)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_reference(folder, plain, packed)
        reference = Reference(folder)
        prompt, greedy, margin = find_prompt(reference, MODEL, CONFIG["vocab_size"])
        gap, uses = reference.router_gap, [len(experts) for experts in reference.expert_uses.values()]
        logits = reference.logits(prompt)
        single = Reference(folder, dtype=torch.float32).logits(prompt)
        clear, clear_logits = find_clear_prompt(reference)
        noticed = check_features_noticed(folder, MODEL, CONFIG, prompt, logits)
    golden = {
        "family": "gpt_oss",
        "prompt_ids": prompt,
        "greedy_ids": greedy,
        "min_margin": round(margin, 5),
        "min_router_gap": round(gap, 5),
        "experts_used": uses,
        "logit_range": round(float(np.ptp(logits)), 4),
        "float32_error": float(f"{np.abs(single - logits).max():.2g}"),
        "noticed_when_off": {key: round(value, 4) for key, value in noticed.items()},
    }
    for name in ("gpt_oss", "gpt_oss-mxfp4", "gpt_oss-apart", "gpt_oss-published", "gpt_oss-transposed"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    write_gguf(root / "gpt_oss/bf16.gguf", plain, packed, False)
    write_golden(root / "gpt_oss", golden, logits, "GPT-OSS as GGUF", "bf16.gguf", "bf16", "merged")
    write_gguf(root / "gpt_oss-mxfp4/mxfp4.gguf", plain, packed, True)
    write_golden(root / "gpt_oss-mxfp4", golden | clear, clear_logits, "GPT-OSS as GGUF, experts in MXFP4",
                 "mxfp4.gguf", "mxfp4", "merged")
    write_apart(root / "gpt_oss-apart", plain, packed)
    write_golden(root / "gpt_oss-apart", golden, logits, "GPT-OSS with gate and up apart, as MLX has it",
                 ".", "bf16", "stacked")
    write_published(root / "gpt_oss-published", plain, packed)
    check_published(root / "gpt_oss-published", packed)
    write_golden(root / "gpt_oss-published", golden | clear, clear_logits, "GPT-OSS as published: MXFP4, rows of gate "
                 "and up in turn", ".", "gpt-oss", "stacked")
    write_reference(root / "gpt_oss-transposed", plain, packed)
    write_golden(root / "gpt_oss-transposed", golden, logits, "GPT-OSS as transformers saves it without quantization: "
                 "transposed, gate and up in turn", ".", "bf16", "stacked")
    print({key: value for key, value in golden.items() if not key.endswith("_ids")})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/golden")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    make(args.out)


if __name__ == "__main__":
    main()
