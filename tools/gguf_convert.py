#!/usr/bin/env python3
"""Rewrites a Hugging Face checkpoint folder as GGUF, with the `gguf` package as the writer.

A test tool: it shares no code with moxie's own reader and converter, so that the two can check each other.
Needs numpy and gguf; sentencepiece when the folder has a tokenizer.model.

    gguf_convert.py FOLDER OUT.gguf [--type f32|f16|bf16|q8_0|q4_0|...] [--experts merged|split] [--shards N]
"""

import argparse
import json
import math
import re
import struct
import sys
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import safetensors_file

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "olmoe": "olmoe",
}
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32}

LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "block_sparse_moe.gate.weight": "ffn_gate_inp.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}
LAYER_NAMES |= {f"self_attn.{p}_proj.{s}": f"attn_{p}.{s}" for p in "qkv" for s in ("weight", "bias")}
TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
EXPERT = re.compile(r"(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(w1|w2|w3|gate_proj|down_proj|up_proj)\.weight")
EXPERT_ROLE = {"w1": "gate", "w2": "down", "w3": "up", "gate_proj": "gate", "down_proj": "down", "up_proj": "up"}


def permute_rope_rows(values, heads):
    """Row order of two halves (Hugging Face) to neighbouring pairs (arch llama), inside each head."""
    half = values.shape[0] // heads // 2
    paired = values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2)
    return paired.reshape(values.shape)


class Checkpoint:
    """A Hugging Face folder: its configuration and its tensors under GGUF names."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        family = self.config["model_type"]
        if family not in ARCHITECTURES:
            raise SystemExit(f"{folder}: model_type {family} is not one of {', '.join(ARCHITECTURES)}")
        self.family = family
        self.arch = ARCHITECTURES[family]
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config.get("num_key_value_heads") or self.heads
        self.head_dim = self.config.get("head_dim") or self.config["hidden_size"] // self.heads
        rope = dict(self.config.get("rope_parameters") or self.config.get("rope_scaling") or {})
        self.rope_base = rope.get("rope_theta") or self.config.get("rope_theta") or 10000.0
        self.rope = rope
        self.rope_type = rope.get("rope_type") or rope.get("type") or "default"
        self.experts = self.config.get("num_local_experts") or self.config.get("num_experts") or 0

    def tensors(self):
        """(dense {name: array}, experts {(layer, role): [array per expert]}) under GGUF names."""
        dense, experts = {}, {}
        for name, values in safetensors_file.read_checkpoint(self.folder).items():
            if name in TOP_NAMES:
                dense[TOP_NAMES[name]] = values
                continue
            match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
            if not match:
                raise SystemExit(f"{self.folder}: no GGUF name known for tensor {name}")
            self._add_layer_tensor(int(match[1]), match[2], values, dense, experts)
        if self.rope_type == "llama3":
            dense["rope_freqs.weight"] = self._llama3_factors()
        for parts in experts.values():
            assert sorted(parts) == list(range(self.experts)), sorted(parts)
        return dense, {key: [parts[e] for e in range(self.experts)] for key, parts in experts.items()}

    def _add_layer_tensor(self, layer, rest, values, dense, experts):
        match = EXPERT.fullmatch(rest)
        if match:
            experts.setdefault((layer, EXPERT_ROLE[match[2]]), {})[int(match[1])] = values
        elif rest == "mlp.experts.gate_up_proj":
            middle = values.shape[1] // 2
            experts[layer, "gate"] = dict(enumerate(values[:, :middle]))
            experts[layer, "up"] = dict(enumerate(values[:, middle:]))
        elif rest == "mlp.experts.down_proj":
            experts[layer, "down"] = dict(enumerate(values))
        elif rest in LAYER_NAMES:
            if self.arch == "llama" and rest.startswith(("self_attn.q_proj", "self_attn.k_proj")):
                values = permute_rope_rows(values, self.heads if "q_proj" in rest else self.kv_heads)
            if rest == "mlp.shared_expert_gate.weight":
                values = values.reshape(-1)
            dense[f"blk.{layer}.{LAYER_NAMES[rest]}"] = values
        else:
            raise SystemExit(f"{self.folder}: no GGUF name known for tensor model.layers.{layer}.{rest}")

    def _llama3_factors(self):
        low, high = self.rope["low_freq_factor"], self.rope["high_freq_factor"]
        original, factor = self.rope["original_max_position_embeddings"], self.rope["factor"]
        factors = []
        for i in range(0, self.head_dim, 2):
            wavelength = 2 * math.pi * self.rope_base ** (i / self.head_dim)
            if wavelength < original / high:
                factors.append(1.0)
            elif wavelength > original / low:
                factors.append(float(factor))
            else:
                smooth = (original / wavelength - low) / (high - low)
                factors.append(1 / ((1 - smooth) / factor + smooth))
        return np.array(factors, dtype=np.float32)


def add_metadata(writer, checkpoint, type_name):
    config, arch = checkpoint.config, checkpoint.arch
    writer.add_name(config.get("_name_or_path") or checkpoint.folder.resolve().name)
    writer.add_file_type(FILE_TYPES[type_name])
    writer.add_quantization_version(2)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(checkpoint.heads)
    writer.add_head_count_kv(checkpoint.kv_heads)
    writer.add_key_length(checkpoint.head_dim)
    writer.add_value_length(checkpoint.head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(checkpoint.head_dim)
    writer.add_rope_freq_base(checkpoint.rope_base)
    writer.add_vocab_size(config["vocab_size"])
    if checkpoint.rope_type in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(checkpoint.rope_type))
        writer.add_rope_scaling_factor(checkpoint.rope["factor"])
        original = checkpoint.rope.get("original_max_position_embeddings")
        if original:
            writer.add_rope_scaling_orig_ctx_len(original)
    elif checkpoint.rope_type not in ("default", "llama3"):
        raise SystemExit(f"{checkpoint.folder}: rope type {checkpoint.rope_type} is not handled")
    if checkpoint.experts:
        writer.add_expert_count(checkpoint.experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if arch in ("qwen2moe", "qwen3moe"):
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if arch == "qwen2moe":
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])


def add_tokenizer(writer, folder):
    if (folder / "tokenizer.model").exists():
        add_sentencepiece(writer, folder / "tokenizer.model")
    else:
        writer.add_tokenizer_model("no_vocab")
        return
    settings_path = folder / "tokenizer_config.json"
    settings = json.loads(settings_path.read_text()) if settings_path.exists() else {}
    writer.add_add_bos_token(settings.get("add_bos_token", True))
    writer.add_add_eos_token(settings.get("add_eos_token", False))
    template = folder / "chat_template.jinja"
    text = template.read_text() if template.exists() else settings.get("chat_template")
    if text:
        writer.add_chat_template(text)


def add_sentencepiece(writer, path):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    kinds = ((model.is_unknown, 2), (model.is_control, 3), (model.is_unused, 5), (model.is_byte, 6))
    pieces, scores, types = [], [], []
    for piece in range(model.vocab_size()):
        pieces.append(model.id_to_piece(piece).encode())
        scores.append(model.get_score(piece))
        types.append(next((kind for test, kind in kinds if test(piece)), 1))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())


def stays_float32(name, values):
    return values.ndim == 1 or name.endswith("ffn_gate_inp.weight")


def add_tensor(writer, name, values, type_name):
    kind = gguf.GGMLQuantizationType[type_name.upper()]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if stays_float32(name, values):
        kind = gguf.GGMLQuantizationType.F32
    elif values.shape[-1] % block:
        kind = gguf.GGMLQuantizationType.F16
    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif kind == gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def add_tensors(writer, checkpoint, type_name, experts_layout):
    dense, experts = checkpoint.tensors()
    for name, values in dense.items():
        add_tensor(writer, name, values, type_name)
    if experts_layout == "merged":
        for (layer, role), parts in experts.items():
            add_tensor(writer, f"blk.{layer}.ffn_{role}_exps.weight", np.stack(parts), type_name)
        return
    # The order of the files of 2023: gate, down, up of one expert after another.
    for layer in sorted({layer for layer, _ in experts}):
        for expert in range(checkpoint.experts):
            for role in ("gate", "down", "up"):
                name = f"blk.{layer}.ffn_{role}.{expert}.weight"
                add_tensor(writer, name, experts[layer, role][expert], type_name)


def set_version(paths, version):
    """Versions 2 and 3 differ in the number alone."""
    for path in paths:
        with open(path, "r+b") as file:
            file.seek(4)
            file.write(struct.pack("<I", version))


def convert(folder, out, type_name="bf16", experts="merged", shards=1, version=3):
    """Writes OUT (or OUT's shards) and returns the paths written."""
    checkpoint = Checkpoint(folder)
    out = Path(out)
    tensors = len(safetensors_file.read_checkpoint(folder)) if shards > 1 else 0
    if shards > 1 and experts == "merged" and checkpoint.experts:
        dense, parts = checkpoint.tensors()
        tensors = len(dense) + len(parts)
    per_shard = -(-tensors // shards) if shards > 1 else 0
    writer = gguf.GGUFWriter(out, checkpoint.arch, split_max_tensors=per_shard)
    add_metadata(writer, checkpoint, type_name)
    add_tokenizer(writer, checkpoint.folder)
    add_tensors(writer, checkpoint, type_name, experts)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    paths = [out]
    if shards > 1:
        paths = sorted(out.parent.glob(f"{out.stem}-?????-of-?????{out.suffix}"))
    set_version(paths, version)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--type", default="bf16", choices=sorted(FILE_TYPES))
    parser.add_argument("--experts", default="merged", choices=("merged", "split"))
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--gguf-version", type=int, default=3, choices=(2, 3))
    args = parser.parse_args()
    for path in convert(args.folder, args.out, args.type, args.experts, args.shards, args.gguf_version):
        print(path)


if __name__ == "__main__":
    main()
