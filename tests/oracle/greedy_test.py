"""Greedy text at f16 is llama.cpp's, as far as rounding can decide it."""

import unittest

import peers

PROMPTS = 50
MIN_SHARE = 0.9
OPENINGS = (
    "Once upon a time", "One day", "The little dog", "Lily and Tom", "In the morning", "A big bear", "Mom said",
    "There was a girl", "The sun was hot", "Ben had a red ball",
)  # fmt: skip
CONTINUATIONS = ("", ", there was", " went to the park", " saw a", " was very happy because")




class GreedyText(unittest.TestCase):
    """Two references. The f16 weights in float32 arithmetic: differences are tiny, one limit serves all prompts, and
    most prompts must have no close call. And llama.cpp's own f16 path with default caches, which rounds activations
    to half precision, so that a router near a tie may choose another expert: there the limit is the largest
    difference so far, and most prompts must agree to the end all the same."""

    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")

    def runs(self, reference, model, *flags):
        """Per prompt: (prompt, ids, greedy ids, reference logits, ours)."""
        for prompt in [a + b for a in OPENINGS for b in CONTINUATIONS]:
            ids = reference.tokenize(prompt)
            chosen, seen = reference.greedy(ids, peers.GREEDY_TOKENS)
            ours = peers.moxie_logits(model, ids + chosen[:-1], *flags)[len(ids) - 1 :]
            yield prompt, chosen, seen, ours

    def test_f16_weights_in_float_arithmetic(self):
        import numpy as np

        model = peers.gguf_of(peers.demo_model(), "f16")
        with peers.Llama(peers.dequantized(model)) as reference:
            runs = list(self.runs(reference, model, *peers.FLOAT_CACHE))
            largest = max(float(np.abs(ours - seen).max()) for *_, seen, ours in runs)
            limits = [np.full(len(seen), 4 * largest) for *_, seen, _ in runs]
            full, _ = self.compare("float32", model, reference, runs, limits, *peers.FLOAT_CACHE)
        self.assertGreaterEqual(full, MIN_SHARE * PROMPTS)

    def test_f16_defaults(self):
        import numpy as np

        model = peers.gguf_of(peers.demo_model(), "f16")
        with peers.Llama(model, half_cache=True) as reference:
            runs = list(self.runs(reference, model))
            limits = [4 * np.maximum.accumulate(np.abs(ours - seen).max(1)) for *_, seen, ours in runs]
            _, same = self.compare("defaults", model, reference, runs, limits)
        self.assertGreaterEqual(same, MIN_SHARE * PROMPTS)

    def compare(self, name, model, reference, runs, limits, *flags):
        """Up to the first close call ids and the program's text must agree. Returns how many prompts have none, and
        how many agree on every id."""
        import numpy as np

        self.assertEqual(len(runs), PROMPTS)
        full = same = 0
        for (prompt, chosen, seen, ours), limit in zip(runs, limits):
            best = np.sort(seen, axis=1)
            close = np.flatnonzero(best[:, -1] - best[:, -2] < limit)
            count = int(close[0]) if len(close) else len(chosen)
            self.assertEqual(ours.argmax(1)[:count].tolist(), chosen[:count], prompt)
            text = peers.moxie("run", model, "-p", prompt, "--temp", 0, "-n", len(chosen), "--ignore-eos", *flags)
            expected = b"".join(map(reference.piece, chosen[:count]))
            self.assertEqual(text[: len(expected)], expected, prompt)
            full += count == len(chosen)
            same += ours.argmax(1).tolist() == chosen
        largest = [float(np.abs(ours - seen).max()) for *_, seen, ours in runs]
        print(
            f"f16 greedy, {name}: {full} of {PROMPTS} prompts reach {peers.GREEDY_TOKENS} tokens, {same} agree on all; "
            f"max |logit difference| median {np.median(largest):.2g}, max {max(largest):.2g}"
        )
        return full, same


if __name__ == "__main__":
    unittest.main()
