"""Perplexities at Q8_0 and Q4_K_M, quantized by llama.cpp, agree with llama.cpp's."""

import json
import unittest

import peers

MAX_RELATIVE_DIFFERENCE = 0.005


class Perplexity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")

    def check(self, model):
        config = json.loads((peers.demo_model() / "config.json").read_text())
        context = 512 if config["max_position_embeddings"] >= 512 else 256
        with peers.Llama(model, context) as reference:
            ids = reference.tokenize(peers.text_file().read_text())
            expected, scored = reference.perplexity(ids, context, bos=ids[0])
        ours = peers.moxie_perplexity(model, peers.text_file(), context)
        print(f"perplexity {model.stem}: moxie {ours:.4f}, llama.cpp {expected:.4f} over {scored} tokens")
        self.assertLess(abs(ours / expected - 1), MAX_RELATIVE_DIFFERENCE)

    def test_f16(self):
        self.check(peers.gguf_of(peers.demo_model(), "f16"))

    def test_q8_0(self):
        self.check(peers.quantized(peers.demo_model(), "q8_0"))

    def test_q4_k_m(self):
        self.check(peers.quantized(peers.demo_model(), "q4_k_m"))


if __name__ == "__main__":
    unittest.main()
