"""GGUF files that became safetensors again, as transformers sees them: the same logits, the same ids."""

import json
import subprocess
import unittest

import peers
from peers import PROGRAM, ROOT, demo_model, require, work_folder

GOLDENS = ROOT / "tests/data/golden"
CASES = (
    ("mixtral", "merged.gguf"), ("mixtral", "split.gguf"), ("llama", "f32-00001-of-00002.gguf"),
    ("llama-llama3", "bf16.gguf"), ("llama-yarn", "bf16.gguf"), ("qwen2", "bf16.gguf"),
    ("qwen2_moe", "merged.gguf"), ("qwen3_moe", "merged.gguf"), ("olmoe", "merged.gguf"),
)  # fmt: skip


def converted(source, name, *flags):
    folder = work_folder() / name
    subprocess.run([PROGRAM, "convert", source, f"{folder}/", *flags], check=True, capture_output=True)
    return folder


class Safetensors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require("numpy", "torch", "transformers", "safetensors")

    def logits(self, folder, ids):
        import torch
        import transformers

        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager",
            output_loading_info=True,
        )  # fmt: skip
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[kind], kind)
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0].float().numpy()

    def test_transformers_gives_the_logits_of_the_original(self):
        import numpy as np

        for name, file in CASES:
            with self.subTest(f"{name}/{file}"):
                golden = json.loads((GOLDENS / name / "golden.json").read_text())
                parts = ("--split-max-size", "100K") if name == "mixtral" else ()
                folder = converted(GOLDENS / name / file, f"{name}-{file}", *parts)
                found = self.logits(folder, golden["prompt_ids"])
                expected = np.load(GOLDENS / name / "logits.npy")
                self.assertLess(np.abs(found - expected).max(), 1e-4 * golden["logit_range"])

    def test_tokenizers_give_the_same_ids(self):
        import transformers

        gguf = work_folder() / "again.gguf"
        subprocess.run([PROGRAM, "convert", demo_model(), gguf, "--force"], check=True, capture_output=True)
        folder = converted(gguf, "demo-again")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        original = transformers.AutoTokenizer.from_pretrained(demo_model())
        for text in peers.STORY_TEXT.read_text().split("<|endoftext|>")[:8]:
            text = text.strip()
            self.assertEqual(tokenizer.encode(text), original.encode(text))


if __name__ == "__main__":
    unittest.main()
