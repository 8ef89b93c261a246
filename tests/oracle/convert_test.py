"""What moxie convert writes: llama.cpp loads it, gives the same text and tokens, and assigns the same types."""

import ctypes
import functools
import json
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import peers

GOLDENS = peers.ROOT / "tests/data/golden"
# What llama.cpp has no word for: a window in arch llama, dense layers in qwen2moe, unnormalised weights in qwen3moe;
# and it rounds the ends of gpt-oss's YaRN ramp, which the model does not.
NOT_IN_LLAMA = {
    "gpt_oss", "gpt_oss-mxfp4", "gpt_oss-apart", "gpt_oss-published", "gpt_oss-transposed", "mistral-window",
    "qwen2_moe-sparse-step", "qwen3_moe-unnormalised",
}  # fmt: skip
MAX_SHARE_OF_RANGE = 1e-3
PROMPT = "Once upon a time there was a"
TEXTS = ["Hello, world!", "  two  spaces", "été 12345", "🙂 emoji\n\nnew line", "a<s>b</s>", "It's 10:30, isn't it?"]
FILE_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12,
    "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30,
    "bf16": 32,
}  # fmt: skip


@functools.cache
def converted(source, *flags):
    out = peers.work_folder() / f"{abs(hash((source, flags)))}.gguf"
    peers.moxie("convert", source, out, *flags)
    return out


@functools.cache
def quantized_by_llama(source, file_type):
    import llama_cpp

    out = peers.work_folder() / f"{Path(source).stem}-{file_type}-llama.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = 1
    params.allow_requantize = True
    peers.silence_llama()
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) != 0:
        raise AssertionError(f"llama.cpp did not quantize {source} to {file_type}")
    return out


def types_of(path):
    import gguf

    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def checkpoint(folder):
    names = "model.safetensors", "model.safetensors.index.json", "consolidated.safetensors"
    return next(folder / name for name in names if (folder / name).exists())


def without_yarn(folder):
    """A copy of a GPT-OSS whose positions are not scaled."""
    copy = peers.work_folder() / f"{folder.name}-unscaled"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config["rope_parameters"]["rope_theta"]}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def numbers_of_blocks(path, name):
    """MXFP4 as the specification has it: two numbers to a byte, the first in the low half."""
    import numpy as np
    from safetensors import safe_open

    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    with safe_open(path, framework="numpy") as file:
        blocks, scales = file.get_tensor(f"{name}_blocks"), file.get_tensor(f"{name}_scales").astype(np.float64)
    numbers = np.stack([values[blocks & 15], values[blocks >> 4]], axis=-1).reshape(*scales.shape, 32)
    return (numbers * 2.0 ** (scales - 127)[..., None]).reshape(*scales.shape[:-1], -1)


class Converted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")

    def test_text_of_the_demo_model(self):
        for flags in ((), ("--type", "f32"), ("--type", "q8_0"), ("--type", "q4_k_m")):
            with self.subTest(flags):
                path = converted(peers.demo_model(), *flags)
                with peers.Llama(path) as peer:
                    ids = peer.tokenize(PROMPT)
                    theirs = b"".join(peer.piece(i) for i in peer.greedy(ids, 48)[0])
                ours = peers.moxie("run", path, "-p", PROMPT, "-n", 48, "--temp", 0, *peers.FLOAT_CACHE)
                self.assertEqual(ours.rstrip(b"\n"), theirs)

    def test_tokens_of_the_demo_model(self):
        source = peers.demo_model()
        path = converted(source)
        with peers.Llama(path, vocabulary_only=True) as peer:
            for text in TEXTS:
                for model in (source, path):
                    ours = peers.moxie("tokenize", model, "-p", text, "--ids", "--no-escape").decode()
                    self.assertEqual(json.loads("[" + ours.strip().strip("[]") + "]"), peer.tokenize(text, True, True), text)


    def test_gpt_oss(self):
        """llama.cpp computes what transformers does, of every form of the experts."""
        peers.require("torch", "transformers")
        import numpy as np
        from make_golden import Reference

        golden = json.loads((GOLDENS / "gpt_oss-published/golden.json").read_text())
        expected = Reference(without_yarn(GOLDENS / "gpt_oss-transposed")).logits(golden["prompt_ids"])
        for form in ("published", "transposed", "apart"):
            with self.subTest(form):
                path = converted(without_yarn(GOLDENS / f"gpt_oss-{form}") / "model.safetensors", "--type", "f32")
                with peers.Llama(path, 256) as peer:
                    theirs = peer.logits(golden["prompt_ids"])
                self.assertLess(np.abs(theirs - expected).max(), MAX_SHARE_OF_RANGE * np.ptp(expected))

    def test_gpt_oss_keeps_its_numbers(self):
        """Without --type: MXFP4 stays what it is, only gate and up come apart; transposed BF16 comes to lie in rows."""
        import gguf
        import numpy as np

        source = GOLDENS / "gpt_oss-published/model.safetensors"
        for form, kind in (("published", "MXFP4"), ("transposed", "BF16")):
            path = converted(GOLDENS / f"gpt_oss-{form}/model.safetensors")
            tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
            for layer in range(2):
                for part, stem, rows in (("gate", "gate_up", slice(0, None, 2)), ("up", "gate_up", slice(1, None, 2)),
                                         ("down", "down", slice(None))):  # fmt: skip
                    found = tensors[f"blk.{layer}.ffn_{part}_exps.weight"]
                    self.assertEqual(found.tensor_type.name, kind)
                    numbers = gguf.quants.dequantize(found.data, found.tensor_type)
                    expected = numbers_of_blocks(source, f"model.layers.{layer}.mlp.experts.{stem}_proj")[:, rows]
                    self.assertTrue(np.array_equal(numbers.reshape(expected.shape), expected), f"{form} {found.name}")

    def test_mxfp4_of_mlx_stays(self):
        import gguf
        import numpy as np

        path = converted(GOLDENS / "mixtral-mlx-mxfp4/model.safetensors")
        plain = converted(GOLDENS / "mixtral-mlx-mxfp4/model.safetensors", "--type", "f32")
        exact = {tensor.name: tensor.data for tensor in gguf.GGUFReader(plain).tensors}
        matrices = [tensor for tensor in gguf.GGUFReader(path).tensors if tensor.tensor_type.name == "MXFP4"]
        self.assertGreater(len(matrices), 10)
        for tensor in matrices:
            numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            self.assertTrue(np.array_equal(numbers.reshape(exact[tensor.name].shape), exact[tensor.name]), tensor.name)


# Sizes of the published files of Mixtral 8x7B in GB; the mixtures of December 2023 are other than those of today.
PUBLISHED = {
    "present": {"q4_0": 26.44, "q5_0": 32.23, "q6_k": 38.38, "q8_0": 49.62},
    "2023": {"q2_k": 15.64, "q3_k_m": 20.36, "q4_0": 26.44, "q4_k_m": 26.44, "q5_0": 32.23, "q5_k_m": 32.23,
             "q6_k": 38.38, "q8_0": 49.62},
}  # fmt: skip


class Sizes(unittest.TestCase):
    def test_of_mixtral_are_the_published_ones(self):
        """From a file of Mixtral's shapes whose 93 GB are a hole, by a dry run."""
        source, out = peers.work_folder() / "mixtral-bf16.gguf", peers.work_folder() / "mixtral-out.gguf"
        script = peers.ROOT / "tools/synthetic/make_synthetic.py"
        subprocess.run([sys.executable, script, "--shape", "mixtral-32l", "--type", "bf16", "--sparse", "-o", source],
                       check=True, capture_output=True)
        for mixture, sizes in PUBLISHED.items():
            for name, published in sizes.items():
                with self.subTest(f"{name} {mixture}"):
                    # Where there is no room for the file the figures are said all the same.
                    report = json.loads(peers.moxie("convert", source, out, "--type", name, "--mixture", mixture,
                                                    "--dry-run", "--json", check=False))
                    self.assertFalse(report["written"])
                    self.assertAlmostEqual(report["bytes"] / 1e9, published, delta=0.01 * published)


def _add_golden(folder):
    def case(self):
        import numpy as np

        golden = json.loads((folder / "golden.json").read_text())
        expected = np.load(folder / "logits.npy").astype(np.float64)
        # Everything fits into F32, and llama.cpp multiplies BF16 by activations rounded to it.
        path = converted(checkpoint(folder), "--type", "f32")
        with peers.Llama(path, 256) as peer:
            theirs = peer.logits(golden["prompt_ids"])
        self.assertLess(np.abs(theirs - expected).max(), MAX_SHARE_OF_RANGE * np.ptp(expected))

    setattr(Converted, f"test_logits_{folder.name}", case)


def _add_types(name, file_type):
    def case(self):
        for source in (peers.demo_model(), GOLDENS / "olmoe", GOLDENS / "qwen3_moe", GOLDENS / "llama"):
            with self.subTest(source.name):
                source = source if (source / "golden.json").exists() is False else checkpoint(source)
                plain = converted(source, "--type", "f32")
                ours, theirs = converted(source, "--type", name), quantized_by_llama(plain, file_type)
                self.assertEqual(types_of(ours), types_of(theirs))
                import gguf

                self.assertEqual(gguf.GGUFReader(ours).fields["general.file_type"].contents(), file_type)

    setattr(Converted, f"test_types_{name}", case)


for _folder in sorted(GOLDENS.iterdir()):
    if (_folder / "golden.json").exists() and _folder.name not in NOT_IN_LLAMA:
        _add_golden(_folder)
for _name, _file_type in FILE_TYPES.items():
    _add_types(_name, _file_type)


if __name__ == "__main__":
    unittest.main()
