"""The golden models: llama.cpp and moxie agree with the committed logits from one and the same GGUF."""

import json
import unittest

import peers

GOLDENS = peers.ROOT / "tests/data/golden"
# What GGUF cannot say: a window in arch llama, dense layers in qwen2moe, unnormalised weights in qwen3moe.
# llama.cpp rounds the ends of gpt-oss's YaRN ramp, which the model does not.
NO_GGUF = {
    "gpt_oss", "gpt_oss-apart", "gpt_oss-transposed", "mistral-window", "qwen2_moe-sparse-step", "qwen3_moe-unnormalised",
}  # fmt: skip
MAX_SHARE_OF_RANGE = 1e-3


class Goldens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")


def _add_case(folder):
    def case(self):
        import numpy as np

        golden = json.loads((folder / "golden.json").read_text())
        expected = np.load(folder / "logits.npy").astype(np.float64)
        model = peers.gguf_of(folder, "f32")
        with peers.Llama(model, 256) as reference:
            theirs = reference.logits(golden["prompt_ids"])
            self.assertEqual(reference.greedy(golden["prompt_ids"], peers.GREEDY_TOKENS)[0], golden["greedy_ids"])
        files = folder / "model.safetensors", folder / "model.safetensors.index.json"
        checkpoint = next(file for file in files if file.exists())
        limit = MAX_SHARE_OF_RANGE * np.ptp(expected)
        self.assertLess(np.abs(theirs - expected).max(), limit)
        for form in (model, checkpoint):
            ours = peers.moxie_logits(form, golden["prompt_ids"], *peers.FLOAT_CACHE)
            self.assertLess(np.abs(ours - expected).max(), limit, form.name)

    setattr(Goldens, f"test_{folder.name}", case)


for _folder in sorted(GOLDENS.iterdir()):
    # What has no config.json is in Mistral's own layout, which the independent converter does not read.
    if not (_folder / "golden.json").exists() or not (_folder / "config.json").exists() or _folder.name in NO_GGUF:
        continue
    if json.loads((_folder / "golden.json").read_text())["variants"][0]["type"] in ("f32", "f16", "bf16"):
        _add_case(_folder)


if __name__ == "__main__":
    unittest.main()
