"""Greedy text at f16 is llama.cpp's, as far as rounding can decide it."""

import unittest

import peers

PROMPTS = 50
MIN_FULL_SHARE = 0.9
OPENINGS = (
    "Once upon a time", "One day", "The little dog", "Lily and Tom", "In the morning", "A big bear", "Mom said",
    "There was a girl", "The sun was hot", "Ben had a red ball",
)  # fmt: skip
CONTINUATIONS = ("", ", there was", " went to the park", " saw a", " was very happy because")


class GreedyText(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")

    def test_f16_text_equals_llama_cpp(self):
        import numpy as np

        model = peers.gguf_of(peers.demo_model(), "f16")
        runs, largest = [], 0.0
        with peers.Llama(model) as reference:
            for prompt in [a + b for a in OPENINGS for b in CONTINUATIONS]:
                ids = reference.tokenize(prompt)
                chosen, seen = reference.greedy(ids, peers.GREEDY_TOKENS)
                ours = peers.moxie_logits(model, ids + chosen[:-1])[len(ids) - 1 :]
                largest = max(largest, float(np.abs(ours - seen).max()))
                text = b"".join(map(reference.piece, ids[1:])), [reference.piece(token) for token in chosen]
                runs.append((prompt, chosen, seen, ours, text))
        self.assertEqual(len(runs), PROMPTS)
        full = sum(self._compare(model, run, 4 * largest) == peers.GREEDY_TOKENS for run in runs)
        print(f"f16 greedy: {full} of {PROMPTS} prompts reach 64 tokens, max |logit difference| {largest:.2g}")
        self.assertGreaterEqual(full, MIN_FULL_SHARE * PROMPTS)

    def _compare(self, model, run, floor):
        """Tokens up to the first close call; all of them, and the program's text, must agree."""
        import numpy as np

        prompt, chosen, seen, ours, (_, pieces) = run
        best = np.sort(seen, axis=1)[:, -2:]
        close = np.flatnonzero(best[:, 1] - best[:, 0] < floor)
        count = int(close[0]) if len(close) else len(chosen)
        self.assertEqual(ours.argmax(1)[:count].tolist(), chosen[:count], prompt)
        text = peers.moxie("run", model, "-p", prompt, "--temp", 0, "-n", peers.GREEDY_TOKENS, "--ignore-eos")
        expected = b"".join(pieces[:count])
        self.assertEqual(text[: len(expected)], expected, prompt)
        return count


if __name__ == "__main__":
    unittest.main()
