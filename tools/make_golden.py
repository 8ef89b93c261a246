#!/usr/bin/env python3
"""Makes tests/data/golden: tiny random models of every family, with logits from `transformers`.

Weights are random, exact in bfloat16 and the same on every run. The reference runs in float64 on the folder as it
lies on disk. Prompts are chosen so that no greedy choice and no routing choice is a close call, and every feature a
model is there for is switched off once to see that the logits notice.

    make_golden.py [--out tests/data/golden] [NAME ...]      needs torch, transformers, gguf, numpy
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gguf_convert
import safetensors_file
from golden_models import MODELS, tensor_shapes

GREEDY_TOKENS = 64
BOS, EOS = 1, 2
# Contract: errors up to 1e-3 of the range. Two logits may each be off by that, so the margin is at least 4e-3.
MIN_MARGIN_SHARE = 4e-3
MIN_ROUTER_GAP = 0.02
MIN_NOTICED_SHARE = 1e-2

GAINS = {"embed": 1.0, "query_key": 1.6, "linear": 1.2, "router": 2.5, "shared_gate": 1.5, "head": 3.0}


def random_tensor(rng, shape, kind):
    if kind == "norm":
        values = 1.0 + 0.25 * rng.standard_normal(shape)
    elif kind == "bias":
        values = 0.5 * rng.standard_normal(shape)
    elif kind == "embed":
        values = GAINS[kind] * rng.standard_normal(shape)
    else:
        values = GAINS[kind] / np.sqrt(shape[-1]) * rng.standard_normal(shape)
    return safetensors_file.round_to_bf16(values.astype(np.float32))


def make_weights(model, config):
    # RandomState: its stream is frozen, so the weights stay the same with any numpy.
    rng = np.random.RandomState(zlib.crc32(model.get("weights_of", model["name"]).encode()))
    tensors = {}
    for name, (shape, kind) in tensor_shapes(config).items():
        tensors[name] = random_tensor(rng, shape, kind)
    if config.get("tie_word_embeddings"):
        # The one matrix serves both ends; the head needs the larger spread, the first norm undoes it.
        name = "model.embed_tokens.weight"
        tensors[name] = safetensors_file.round_to_bf16(tensors[name] * np.float32(GAINS["head"] / 8))
    return tensors


def equal_experts(tensors):
    """Gives every expert of a layer the weights of its first one."""
    same = {}
    for name, values in tensors.items():
        if ".experts." in name:
            prefix, rest = name.split(".experts.")
            values = tensors[f"{prefix}.experts.0.{rest.split('.', 1)[1]}"]
        same[name] = values
    return same


def first_expert_only(tensors):
    """The dense model a mixture with equal experts amounts to."""
    dense = {}
    names = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
    for name, values in tensors.items():
        if ".block_sparse_moe.experts.0." in name:
            layer, rest = name.split(".block_sparse_moe.experts.0.")
            dense[f"{layer}.mlp.{names[rest.split('.')[0]]}.weight"] = values
        elif ".block_sparse_moe." not in name:
            dense[name] = values
    return dense


def stack_experts(tensors, experts):
    """The form newer transformers keep: gate_up_proj [E, 2I, H] with the gate rows first, down_proj [E, H, I]."""
    stacked = {}
    for name, values in tensors.items():
        if ".experts." not in name:
            stacked[name.replace("block_sparse_moe.gate", "mlp.gate")] = values
            continue
        prefix, rest = name.split(".experts.")
        if rest.split(".")[0] != "0" or rest.split(".")[1] in ("w3", "up_proj"):
            continue

        def all_of(part):
            return [tensors[f"{prefix}.experts.{e}.{part}.weight"] for e in range(experts)]

        target = prefix.replace("block_sparse_moe", "mlp") + ".experts."
        gate, down, up = ("w1", "w2", "w3") if "block_sparse_moe" in prefix else ("gate_proj", "down_proj", "up_proj")
        if rest.split(".")[1] == gate:
            pairs = [np.concatenate(pair) for pair in zip(all_of(gate), all_of(up))]
            stacked[target + "gate_up_proj"] = np.stack(pairs)
        else:
            stacked[target + "down_proj"] = np.stack(all_of(down))
    return stacked


def write_sharded(folder, tensors, shards):
    names = list(tensors)
    per_shard = -(-len(names) // shards)
    weight_map = {}
    for number in range(shards):
        part = names[number * per_shard : (number + 1) * per_shard]
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        safetensors_file.write(folder / file, {name: tensors[name] for name in part})
        weight_map |= {name: file for name in part}
    total = sum(values.size * 2 for values in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_checkpoint(folder, model, config, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if model.get("stacked"):
        tensors = stack_experts(tensors, config.get("num_local_experts") or config["num_experts"])
    if model.get("shards"):
        write_sharded(folder, tensors, model["shards"])
    else:
        safetensors_file.write(folder / "model.safetensors", tensors)


class Reference:
    """One checkpoint folder in transformers, float64, watching the routers."""

    def __init__(self, folder, dtype=torch.float64):
        self.model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
        )
        wrong = {key: names for key, names in info.items() if names}
        if wrong:
            raise SystemExit(f"{folder}: transformers does not read this folder cleanly: {wrong}")
        self.model.eval()
        self.router_gap = float("inf")
        self.expert_uses = {}
        for name, module in self.model.named_modules():
            if type(module).__name__.endswith("TopKRouter"):
                module.register_forward_hook(self._watch(name, self.model.config.num_experts_per_tok))

    def _watch(self, name, top_k):
        def hook(module, inputs, _):
            hidden = inputs[0].reshape(-1, inputs[0].shape[-1])
            bias = getattr(module, "bias", None)
            scores, order = (hidden @ module.weight.T + (0 if bias is None else bias)).sort(dim=-1, descending=True)
            self.router_gap = min(self.router_gap, float((scores[:, top_k - 1] - scores[:, top_k]).min()))
            self.expert_uses.setdefault(name, set()).update(order[:, :top_k].flatten().tolist())

        return hook

    @torch.no_grad()
    def logits(self, ids):
        return self.model(torch.tensor([ids])).logits[0].double().numpy()

    @torch.no_grad()
    def greedy(self, prompt, margin_floor):
        """Greedy ids and their smallest top-two margin; None as soon as a choice is too close."""
        self.router_gap, self.expert_uses = float("inf"), {}
        ids, cache, margin = [], None, float("inf")
        step = torch.tensor([prompt])
        while len(ids) < GREEDY_TOKENS:
            out = self.model(step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            last = out.logits[0, -1]
            best = last.topk(2)
            floor = margin_floor * float(last.max() - last.min())
            gap = float(best.values[0] - best.values[1])
            if gap < floor or self.router_gap < MIN_ROUTER_GAP or int(best.indices[0]) == EOS:
                return None
            margin = min(margin, gap)
            ids.append(int(best.indices[0]))
            step = best.indices[:1].reshape(1, 1)
        return ids, margin


def find_prompt(reference, model, vocab):
    """The first random prompt whose continuation has no close call and is not stuck in a short loop."""
    rng = np.random.RandomState(zlib.crc32(model["name"].encode()) ^ 0x5EED)
    for _ in range(20000):
        prompt = [BOS] + rng.randint(3, vocab, size=model.get("prompt_tokens", 24) - 1).tolist()
        found = reference.greedy(prompt, MIN_MARGIN_SHARE)
        if found and len(set(found[0])) >= 16:
            return prompt, *found
    raise SystemExit(f"{model['name']}: no prompt without a close call")


def check_features_noticed(folder, model, config, prompt, expected):
    """Each feature, switched off in a copy of the folder, must move the logits by much more than the tolerance."""
    noticed = {}
    for label, changes in model.get("switch_off", {}).items():
        with tempfile.TemporaryDirectory() as copy:
            for file in folder.glob("*.safetensors*"):
                os.symlink(file.resolve(), Path(copy) / file.name)
            (Path(copy) / "config.json").write_text(json.dumps(config | changes))
            logits = Reference(copy).logits(prompt)
        noticed[label] = float(np.abs(logits - expected).max() / np.ptp(expected))
        if noticed[label] < MIN_NOTICED_SHARE:
            raise SystemExit(f"{model['name']}: logits barely notice that {label} is off ({noticed[label]:.2g})")
    return noticed


def write_quantized_twin(folder, file, type_name, layout, prompt):
    """A quantized GGUF, and the logits of what its weights decode to."""
    import gguf

    gguf_convert.convert(folder, folder / file, type_name, layout)
    kind = gguf.GGMLQuantizationType[type_name.upper()]
    config = json.loads((folder / "config.json").read_text())
    weights = safetensors_file.read_checkpoint(folder)
    decoded = {}
    for name, values in weights.items():
        plain = values.ndim == 1 or name.endswith((".gate.weight", "_gate.weight"))
        if not plain:
            values = gguf.quants.dequantize(gguf.quants.quantize(values.astype(np.float32), kind), kind)
        decoded[name] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as copy:
        (Path(copy) / "config.json").write_text(json.dumps(config))
        save_file(decoded, Path(copy) / "model.safetensors", metadata={"format": "pt"})
        logits = Reference(copy).logits(prompt)
    logits_file = f"logits-{type_name}.npy"
    np.save(folder / logits_file, logits.astype("<f4"))
    return {"path": file, "type": type_name, "experts": layout, "logits": logits_file}


def write_variants(folder, model, prompt):
    variants = [{"path": ".", "type": "bf16", "experts": model.get("layout", "none"), "logits": "logits.npy"}]
    for twin in model.get("gguf", []):
        type_name, layout, shards = twin.get("type", "bf16"), twin.get("experts", "merged"), twin.get("shards", 1)
        if type_name not in ("f32", "bf16"):
            variants.append(write_quantized_twin(folder, twin["file"], type_name, layout, prompt))
            continue
        paths = gguf_convert.convert(folder, folder / twin["file"], type_name, layout, shards)
        layout = layout if model.get("layout") else "none"
        variants.append({"path": paths[0].name, "type": type_name, "experts": layout, "logits": "logits.npy"})
    return variants


def build_tensors(model, config):
    if "dense_of" in model:
        mixture = MODELS[model["dense_of"]] | {"name": model["dense_of"]}
        return first_expert_only(equal_experts(make_weights(mixture, mixture["config"])))
    tensors = make_weights(model, config)
    return equal_experts(tensors) if model.get("equal_experts") else tensors


def make(name, root):
    model = MODELS[name] | {"name": name}
    config = model["config"]
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    write_checkpoint(folder, model, config, build_tensors(model, config))
    reference = Reference(folder)
    if "prompt_of" in model:
        prompt = json.loads((root / model["prompt_of"] / "golden.json").read_text())["prompt_ids"]
        greedy, margin = reference.greedy(prompt, MIN_MARGIN_SHARE)
    else:
        prompt, greedy, margin = find_prompt(reference, model, config["vocab_size"])
    router_gap = reference.router_gap
    uses = [len(experts) for experts in reference.expert_uses.values()]
    logits = reference.logits(prompt)
    single = Reference(folder, dtype=torch.float32).logits(prompt)
    golden = {
        "family": config["model_type"],
        "about": model["about"],
        "prompt_ids": prompt,
        "greedy_ids": greedy,
        "min_margin": round(margin, 5),
        "min_router_gap": round(router_gap, 5) if uses else None,
        "experts_used": uses,
        "logit_range": round(float(np.ptp(logits)), 4),
        "float32_error": float(f"{np.abs(single - logits).max():.2g}"),
        "noticed_when_off": {
            key: round(value, 4)
            for key, value in check_features_noticed(folder, model, config, prompt, logits).items()
        },
    }
    np.save(folder / "logits.npy", logits.astype("<f4"))
    golden["variants"] = write_variants(folder, model, prompt)
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    shown = {key: golden[key] for key in ("min_margin", "min_router_gap", "experts_used", "logit_range", "float32_error")}
    print(f"{name}: {size // 1024} KiB {shown} {golden['noticed_when_off']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "tests/data/golden")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all when none is given")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in args.names or MODELS:
        make(name, args.out)


if __name__ == "__main__":
    main()
