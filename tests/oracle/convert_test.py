"""What moxie convert writes: llama.cpp loads it, gives the same text and tokens, and assigns the same types."""

import ctypes
import functools
import json
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
    files = folder / "model.safetensors", folder / "model.safetensors.index.json"
    return next(file for file in files if file.exists())


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
