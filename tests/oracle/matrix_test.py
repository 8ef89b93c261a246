"""Tiny random models of every family in every container that independent tools make: the logits that transformers gives
in float64 for what the stored numbers stand for, and the same greedy text where nothing is rounded on the way."""

import json
import re
import shutil
import unittest
from pathlib import Path

import peers
from peers import ROOT, work_folder

GOLDENS = ROOT / "tests/data/golden"
FAMILIES = ("llama", "qwen2", "mixtral", "qwen2_moe", "qwen3_moe", "olmoe")
EXACT = 1e-4  # of the logits' range: weights are multiplied by float activations
ROUNDED = 3e-2  # by activations of 8 bits, in models only 64 wide
GREEDY = 16
MIN_ROUTER_GAP, MIN_MARGIN = 1e-2, 4e-3


def gptq_config(bits, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": 32, "desc_act": False, "sym": False} | more


def pack_config():
    return {"quant_method": "compressed-tensors", "format": "pack-quantized"}


# Name: function of tools/quantized_layouts.py, its arguments, quantization_config, the bound.
LAYOUTS = {
    "gptq-4": ("gptq", {}, gptq_config(4), ROUNDED),
    "gptq-4-v2": ("gptq", {"group": -1, "version": 2}, gptq_config(4, group_size=-1, checkpoint_format="gptq_v2"), ROUNDED),
    "gptq-8": ("gptq", {"bits": 8}, gptq_config(8), EXACT),
    "gptq-2": ("gptq", {"bits": 2, "group": 16}, gptq_config(2, group_size=16), EXACT),
    "gptq-3-order": ("gptq", {"bits": 3, "group": 16, "act_order": True}, gptq_config(3, group_size=16, desc_act=True), EXACT),
    "awq": ("awq", {}, {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}, ROUNDED),
    "nf4": ("bitsandbytes_4bit", {}, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, EXACT),
    "fp4": ("bitsandbytes_4bit", {"kind": "fp4", "nested": False},
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, EXACT),
    "int8": ("bitsandbytes_8bit", {}, {"quant_method": "bitsandbytes", "load_in_8bit": True}, ROUNDED),
    "fp8": ("fp8", {}, {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [32, 32]}, EXACT),
    "packed-4": ("compressed_tensors", {}, pack_config(), ROUNDED),
    "packed-4-zeros": ("compressed_tensors", {"symmetric": False}, pack_config(), ROUNDED),
    "packed-8": ("compressed_tensors", {"bits": 8}, pack_config(), EXACT),
}  # fmt: skip
# Mode, bits, group.
MLX = {
    **{f"mlx-{bits}": ("affine", bits, 32, ROUNDED if bits in (4, 8) else EXACT) for bits in (2, 3, 4, 5, 6, 8)},
    "mlx-mxfp4": ("mxfp4", 4, 32, ROUNDED),
    "mlx-mxfp8": ("mxfp8", 8, 32, EXACT),
    "mlx-nvfp4": ("nvfp4", 4, 16, EXACT),
}
PLAIN = ("gguf-f32", "gguf-f16", "gguf-bf16", "safetensors", "safetensors-parts", "safetensors-stacked", "pack")
GGUF = ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl")  # the models are too narrow for blocks of 256


def checkpoint(family):
    return GOLDENS / family


def source_file(family):
    return checkpoint(family) / "model.safetensors"


def is_quantized(name):
    """What such checkpoints quantize: every linear layer but routers, gates of shared experts and the output."""
    return re.search(r"(_proj|\.w[123])\.weight$", name) is not None


def with_weights(family, name, tensors, **config):
    from safetensors.torch import save_file

    folder = work_folder() / f"matrix-{family}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    old = json.loads((checkpoint(family) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def quantized_by_layout(family, name):
    """The quantized folder, and one of what its numbers stand for."""
    import numpy as np
    import quantized_layouts
    import torch
    from safetensors.torch import load_file

    function, arguments, config, _ = LAYOUTS[name]
    stored, exact = {}, {}
    for key, tensor in load_file(source_file(family)).items():
        if not is_quantized(key):
            stored[key], exact[key] = tensor, tensor.double()
            continue
        parts, values = getattr(quantized_layouts, function)(tensor.float().numpy(), **arguments)
        module = key.removesuffix(".weight")
        stored |= {module + ending: part.contiguous() for ending, part in parts.items()}
        exact[key] = torch.from_numpy(np.ascontiguousarray(values)).double()
    return (with_weights(family, name, stored, quantization_config=config),
            with_weights(family, f"{name}-exact", exact, torch_dtype="float64"))


def quantized_by_mlx(family, name):
    import mlx.core as mx
    import mlx_models
    import numpy as np
    import torch
    from safetensors.torch import load_file

    mode, bits, group, _ = MLX[name]
    folder = work_folder() / f"matrix-{family}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    mlx_models.quantize(checkpoint_alone(family), folder, bits, group, mode)
    tensors = mx.load(str(folder / "model.safetensors"))
    names = load_file(source_file(family))
    exact = {}
    settings = json.loads((folder / "config.json").read_text())["quantization"]
    for key, values in tensors.items():
        module, _, kind = key.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        if kind == "weight" and f"{module}.scales" in tensors:
            own = settings.get(module, settings)
            own = {"group_size": own["group_size"], "bits": own["bits"], "mode": own.get("mode", "affine")}
            parts = [tensors.get(f"{module}.{part}") for part in ("scales", "biases")]
            if own["mode"] == "affine":
                parts = [part.astype(mx.float32) for part in parts]
            values = mx.dequantize(values, *parts, **own)
        exact[key] = torch.from_numpy(np.array(values.astype(mx.float32))).double()
    return folder, with_weights(family, f"{name}-exact", unstacked(exact, names), torch_dtype="float64")


def checkpoint_alone(family):
    """The folder without the other forms that lie beside it."""
    folder = work_folder() / f"matrix-{family}-alone"
    if not folder.exists():
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(checkpoint(family) / name, folder)
    return folder


def unstacked(tensors, names):
    """The stacked experts of MLX under the names that the original has."""
    spelled = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    out = {}
    for key, values in tensors.items():
        if ".switch_mlp." not in key:
            out[key] = values
            continue
        layer, rest = key.split(".switch_mlp.")
        for expert, one in enumerate(values):
            projection = rest.removesuffix(".weight")
            long = f"{layer}.experts.{expert}.{projection}.weight"
            out[long if long in names else f"{layer}.experts.{expert}.{spelled[projection]}.weight"] = one.contiguous()
    missing = names.keys() ^ out.keys()
    if missing:
        raise AssertionError(f"other tensors than the original's: {sorted(missing)[:4]}")
    return out


def plain(family, name):
    """One of PLAIN, made by the gguf package, transformers or (a pack) moxie."""
    if name.startswith("gguf-"):
        return peers.gguf_of(checkpoint_alone(family), name.removeprefix("gguf-"))
    if name == "safetensors":
        return checkpoint_alone(family)
    if name == "pack":
        peers.moxie("convert", checkpoint_alone(family), work_folder() / f"matrix-{family}.gguf", "--pack")
        return work_folder() / f"matrix-{family}.gguf"
    import torch
    import transformers

    folder = work_folder() / f"matrix-{family}-{name}"
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_alone(family), dtype=torch.bfloat16)
    more = {"save_original_format": False} if name.endswith("stacked") else {"max_shard_size": "60KB"}
    model.save_pretrained(folder, **more)
    return folder


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("numpy", "torch", "transformers", "safetensors", "gguf")
        import torch

        torch.set_num_threads(1)

    def reference(self, folder):
        import make_golden

        return make_golden.Reference(folder)

    def compare(self, label, found, expected, bound):
        import numpy as np

        shares = np.sort(np.abs(found - expected).max(-1) / np.ptp(expected))
        print(f"matrix {label}: {shares[-1]:.1e} of the range")
        # Rounded activations may tip a choice of experts all the same, once.
        self.assertLess(shares[-1 if bound == EXACT else -2], bound)

    def check(self, label, folder, exact, bound):
        """Logits at positions without a close choice of experts; where nothing is rounded, greedy text too."""
        import make_quantized_golden

        reference = self.reference(exact)
        ids = make_quantized_golden.choose_prompt(reference)
        self.compare(label, peers.moxie_logits(folder, ids, *peers.FLOAT_CACHE), reference.logits(ids), bound)
        if bound > EXACT:
            return
        prompt, text = self.clear_text(reference)
        self.assertGreaterEqual(len(text), GREEDY // 2)
        self.assert_greedy(folder, prompt, text)

    def clear_text(self, reference):
        """A prompt and greedy text, up to where a choice of experts or of a token is close."""
        import numpy as np

        rng = np.random.RandomState(3)
        best = ([], [])
        for _ in range(100):
            prompt = rng.randint(3, 128, size=6).tolist()
            text = []
            while len(text) < GREEDY:
                reference.router_gap = float("inf")
                last = reference.logits([*prompt, *text])[-1]
                second, first = np.sort(last)[-2:]
                if reference.router_gap < MIN_ROUTER_GAP or first - second < MIN_MARGIN * np.ptp(last):
                    break
                text.append(int(last.argmax()))
            best = max(best, (prompt, text), key=lambda both: len(both[1]))
            if len(text) == GREEDY:
                break
        return best

    def assert_greedy(self, folder, prompt, text):
        """Every next token of the text is the most likely one after those before it."""
        chosen = peers.moxie_logits(folder, [*prompt, *text], *peers.FLOAT_CACHE).argmax(-1)
        self.assertEqual(chosen[len(prompt) - 1 : -1].tolist(), text)


def _add_plain(family, name):
    def case(self):
        import numpy as np

        golden = json.loads((checkpoint(family) / "golden.json").read_text())
        folder = plain(family, name)
        found = peers.moxie_logits(folder, golden["prompt_ids"], *peers.FLOAT_CACHE)
        self.compare(f"{family} {name}", found, np.load(checkpoint(family) / "logits.npy").astype(np.float64), EXACT)
        self.assert_greedy(folder, golden["prompt_ids"], golden["greedy_ids"])

    setattr(Matrix, f"test_{family}_{name}", case)


def _add_layout(family, name):
    def case(self):
        needs = {"bitsandbytes": "bitsandbytes", "compressed_tensors": "compressed_tensors"}
        for start, package in needs.items():
            if LAYOUTS[name][0].startswith(start):
                peers.require(package)
        folder, exact = quantized_by_layout(family, name)
        self.check(f"{family} {name}", folder, exact, LAYOUTS[name][-1])

    setattr(Matrix, f"test_{family}_{name}", case)


def _add_mlx(family, name):
    def case(self):
        peers.require("mlx", "mlx_lm")
        folder, exact = quantized_by_mlx(family, name)
        self.check(f"{family} {name}", folder, exact, MLX[name][-1])

    setattr(Matrix, f"test_{family}_{name}", case)


def _add_gguf(family, name):
    """Quantized by llama.cpp; the reference is llama.cpp on the decoded weights. Choices of experts may be close here,
    so the middle of the positions is what counts."""

    def case(self):
        import numpy as np

        peers.require("llama_cpp")
        golden = json.loads((checkpoint(family) / "golden.json").read_text())
        path = peers.quantized(checkpoint_alone(family), name)
        with peers.Llama(peers.dequantized(path), 256) as llama:
            expected = llama.logits(golden["prompt_ids"])
        found = peers.moxie_logits(path, golden["prompt_ids"], *peers.FLOAT_CACHE)
        share = float(np.median(np.abs(found - expected).max(-1)) / np.ptp(expected))
        print(f"matrix {family} gguf-{name}: {share:.1e} of the range in the median")
        self.assertLess(share, ROUNDED)

    setattr(Matrix, f"test_{family}_gguf_{name}", case)


for _family in FAMILIES:
    for _names, _add in ((PLAIN, _add_plain), (LAYOUTS, _add_layout), (MLX, _add_mlx), (GGUF, _add_gguf)):
        for _name in _names:
            _add(_family, _name)


if __name__ == "__main__":
    unittest.main()
