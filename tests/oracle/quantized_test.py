"""Quantized weights give the distribution of the same weights decoded and run in float by llama.cpp."""

import unittest

import peers

MAX_MEAN_KL = 1e-3
MAX_MEAN_KL_STORIES = 1.5e-3  # 64 wide, so that rounding activations weighs more: llama.cpp is at 0.9e-3 to 1.2e-3
CONTEXT = 256
CHUNKS = 8


class QuantizedWeights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")


def _add_case(name):
    def case(self):
        import numpy as np

        model = peers.quantized(peers.demo_model(), name)
        divergences = []
        with peers.Llama(peers.dequantized(model), CONTEXT) as reference, peers.Llama(model, CONTEXT) as peer:
            ids = reference.tokenize(peers.text_file().read_text())[1:]
            bos = reference.tokenize("")[0]
            theirs = []
            for start in range(0, min(len(ids), CHUNKS * (CONTEXT - 1)) - CONTEXT, CONTEXT - 1):
                chunk = [bos, *ids[start : start + CONTEXT - 1]]
                expected = reference.logits(chunk)
                divergences.append(peers.kl_divergence(expected, peers.moxie_logits(model, chunk, *peers.FLOAT_CACHE)))
                theirs.append(peers.kl_divergence(expected, peer.logits(chunk)))
        mean = float(np.mean(divergences))
        print(f"KL {name}: moxie {mean:.2e}, llama.cpp {np.mean(theirs):.2e}")
        self.assertLessEqual(mean, MAX_MEAN_KL_STORIES if peers.demo_model() == peers.STORIES else MAX_MEAN_KL)

    setattr(QuantizedWeights, f"test_{name}", case)


for _name in peers.QUANTIZATIONS:
    _add_case(_name)


if __name__ == "__main__":
    unittest.main()
