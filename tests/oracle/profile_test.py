"""`moxie profile` counts what transformers' routers choose, with the experts and, for --router-only, with their output set to zero."""

import json
import subprocess
import unittest

import peers

CHUNK = 80
# Choices between two experts that are as good as equal may fall either way.
MAX_SHARE_ELSEWHERE = 0.005


class Profile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("torch", "transformers", "tokenizers")
        import torch
        import transformers

        cls.model_path = peers.demo_model()
        cls.model = transformers.AutoModelForCausalLM.from_pretrained(cls.model_path, dtype=torch.float32)
        cls.text = peers.work_folder() / "profile.txt"
        cls.text.write_text(peers.text_file().read_text()[:1200])
        tokenize = [peers.PROGRAM, "tokenize", cls.model_path, "-f", cls.text, "--ids", "--no-bos"]
        ids = subprocess.run(tokenize, check=True, capture_output=True, text=True).stdout
        cls.ids = [int(one) for one in ids.split(",")]

    def expected(self, without_experts):
        """uses and gate mass by layer and expert, tokens."""
        import torch

        config = self.model.config
        shape = config.num_hidden_layers, config.num_local_experts
        uses, mass, tokens, hooks = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape), 0, []

        def count(layer):
            def hook(module, inputs, output):
                _, weights, chosen = output
                uses[layer] += torch.bincount(chosen.flatten(), minlength=shape[1])
                mass[layer].index_add_(0, chosen.flatten(), weights.flatten().float())

            return hook

        for index, layer in enumerate(self.model.model.layers):
            hooks.append(layer.mlp.gate.register_forward_hook(count(index)))
            if without_experts:
                hooks.append(layer.mlp.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output)))
        with torch.no_grad():
            for at in range(0, len(self.ids), CHUNK - 1):
                chunk = [1] + self.ids[at : at + CHUNK - 1]
                self.model(torch.tensor([chunk]))
                tokens += len(chunk)
        for hook in hooks:
            hook.remove()
        return uses.tolist(), mass.tolist(), tokens

    def check(self, without_experts, *flags):
        command = [peers.PROGRAM, "profile", self.model_path, "-f", self.text, "-c", str(CHUNK), *peers.FLOAT_CACHE, *flags]
        profile = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        uses, mass, tokens = self.expected(without_experts)
        self.assertEqual(profile["tokens"], tokens)
        total = tokens * profile["experts_used"]
        for layer, (ours, theirs) in enumerate(zip(profile["uses"], uses, strict=True)):
            self.assertEqual(sum(ours), total)
            self.assertLessEqual(sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)), MAX_SHARE_ELSEWHERE * total, layer)
        for layer, (ours, theirs) in enumerate(zip(profile["gate_mass"], mass, strict=True)):
            self.assertLessEqual(sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)), MAX_SHARE_ELSEWHERE * total, layer)

    def test_exact(self):
        self.check(False)

    def test_streamed(self):
        self.check(False, "--expert-slots", "3")

    def test_router_only(self):
        self.check(True, "--router-only", "--no-check")


if __name__ == "__main__":
    unittest.main()
