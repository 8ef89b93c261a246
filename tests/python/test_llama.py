"""moxie.Llama: completions, tokens, steps, states."""

import platform
import unittest

import numpy as np

import moxie
from moxie import Llama, LlamaGrammar, LogitsProcessorList, StoppingCriteriaList
from support import demo, open_demo

PROMPT = "Once upon a time"
GREEDY = {"max_tokens": 20, "temperature": 0}


class Completions(unittest.TestCase):
    def test_shape_and_counts(self):
        out = demo()(PROMPT, **GREEDY)
        self.assertEqual(set(out), {"id", "object", "created", "model", "choices", "usage"})
        self.assertTrue(out["id"].startswith("cmpl-"))
        self.assertEqual(out["object"], "text_completion")
        choice = out["choices"][0]
        self.assertEqual(set(choice), {"text", "index", "logprobs", "finish_reason"})
        self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual(out["usage"], {"prompt_tokens": 5, "completion_tokens": 20, "total_tokens": 25})

    def test_stream_is_the_same_text(self):
        whole = demo()(PROMPT, **GREEDY)["choices"][0]["text"]
        chunks = list(demo()(PROMPT, stream=True, **GREEDY))
        self.assertEqual("".join(chunk["choices"][0]["text"] for chunk in chunks), whole)
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")
        self.assertTrue(all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1]))

    def test_stop_echo_suffix(self):
        out = demo()(PROMPT, stop=[" little"], echo=True, suffix="!", **GREEDY)["choices"][0]
        self.assertEqual(out["text"], PROMPT + ", there was a!")
        self.assertEqual(out["finish_reason"], "stop")

    def test_seed(self):
        texts = [demo()(PROMPT, max_tokens=12, seed=seed)["choices"][0]["text"] for seed in (5, 5, 6)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_logprobs(self):
        llm = demo()
        out = llm(PROMPT, logprobs=3, echo=True, **GREEDY)["choices"][0]
        logprobs = out["logprobs"]
        self.assertEqual({len(values) for values in logprobs.values()}, {24})
        with open_demo(logits_all=True) as all_logits:
            ids = llm.tokenize(PROMPT.encode())
            all_logits.eval(ids)
            expected = Llama.logits_to_logprobs(all_logits.scores)
        self.assertEqual((logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]), (None, None))
        for i, id in enumerate(ids[2:], 1):
            self.assertAlmostEqual(logprobs["token_logprobs"][i], expected[i, id], places=4)
        rows = list(zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]))
        for token, value, top in rows[1:]:
            self.assertAlmostEqual(top[token], value)

    def test_processors_and_criteria(self):
        llm = demo()
        banned = llm.tokenize(b" little", False)[-1]
        seen = []

        def ban(ids, scores):
            seen.append((len(ids), scores.shape))
            scores[banned] = -np.inf
            return scores

        text = llm(PROMPT, logits_processor=LogitsProcessorList([ban]), **GREEDY)["choices"][0]["text"]
        self.assertNotIn(" little", text)
        self.assertEqual(seen[0], (5, (llm.n_vocab(),)))
        ends = StoppingCriteriaList([lambda ids, logits: len(ids) >= 9])
        out = llm(PROMPT, stopping_criteria=ends, **GREEDY)
        self.assertEqual(out["usage"]["completion_tokens"], 3)
        self.assertEqual(out["choices"][0]["finish_reason"], "stop")
        biased = llm(PROMPT, logit_bias={banned: -100}, **GREEDY)["choices"][0]["text"]
        self.assertEqual(biased, text)

    def test_grammars(self):
        llm = demo()
        self.assertRegex(llm("A number:", grammar=LlamaGrammar.from_regex("[0-9]{3}"))["choices"][0]["text"], "^[0-9]{3}$")
        gbnf = LlamaGrammar.from_string('root ::= "yes" | "no"')
        self.assertIn(llm("Is it?", grammar=gbnf)["choices"][0]["text"], ("yes", "no"))
        with self.assertRaisesRegex(ValueError, "1"):
            LlamaGrammar.from_string("root ::= (")
        with self.assertRaises(ValueError):
            LlamaGrammar.from_json_schema('{"type": "nonsense"}')

    def test_cache(self):
        llm = demo()
        cache = moxie.LlamaRAMCache(1 << 20)
        plain = llm(PROMPT, **GREEDY)["choices"][0]["text"]
        llm.set_cache(cache)
        try:
            llm(PROMPT, **GREEDY)
            llm("Another text begins here", **GREEDY)
            self.assertGreater(cache.cache_size, 0)
            self.assertEqual(llm(PROMPT, **GREEDY)["choices"][0]["text"], plain)
        finally:
            llm.set_cache(None)


class Targets(unittest.TestCase):
    def test_the_wheel_holds_every_target(self):
        """Each that this machine can run gives the answer; the others are refused by name, not unknown."""
        expected = demo()(PROMPT, **GREEDY)["choices"][0]["text"]
        ran = []
        targets = ("baseline", "avx2", "avxvnni", "avx512", "amx")
        for target in targets if platform.machine() == "x86_64" else ("baseline",):
            with self.subTest(target):
                try:
                    llm = open_demo(cpu_target=target)
                except moxie.MoxieError as error:
                    self.assertRegex(str(error), f"{target}.*(machine|CPU|processor)")
                    continue
                with llm:
                    self.assertEqual(llm.facts["cpu_target"], target)
                    self.assertEqual(llm(PROMPT, **GREEDY)["choices"][0]["text"], expected)
                ran.append(target)
        self.assertIn("baseline", ran)

    def test_fast_makes_no_difference_without_its_instructions(self):
        expected = demo()(PROMPT, **GREEDY)["choices"][0]["text"]
        with open_demo(cpu_target="baseline", fast=True) as llm:
            self.assertFalse(llm.facts["fast"])
            self.assertEqual(llm(PROMPT, **GREEDY)["choices"][0]["text"], expected)


class Steps(unittest.TestCase):
    def test_tokens(self):
        llm = demo()
        ids = llm.tokenize(b"Once upon a time")
        self.assertEqual(ids[0], llm.token_bos())
        self.assertEqual(llm.detokenize(ids), b"Once upon a time")
        self.assertEqual(llm.tokenizer().decode(llm.tokenizer().encode("a b")), "a b")
        with self.assertRaisesRegex(TypeError, "bytes"):
            llm.tokenize("text")
        with self.assertRaises(IndexError):
            llm.detokenize([10**6])

    def test_eval_sample_generate_agree(self):
        llm = demo()
        ids = llm.tokenize(PROMPT.encode())
        llm.reset()
        llm.eval(ids)
        by_hand = []
        for _ in range(8):
            by_hand.append(llm.sample(temp=0))
            llm.eval(by_hand[-1:])
        drawn = []
        for id in llm.generate(ids, temp=0):
            drawn.append(id)
            if len(drawn) == 8:
                break
        self.assertEqual(by_hand, drawn)
        self.assertEqual(int(np.argmax(llm.scores[-1])), llm.sample(temp=0))

    def test_state(self):
        import pickle

        llm = demo()
        llm.reset()
        llm.eval(llm.tokenize(PROMPT.encode()))
        expected = llm.scores.copy()
        state = pickle.loads(pickle.dumps(llm.save_state()))
        llm.reset()
        llm.load_state(state)
        self.assertEqual(llm.n_tokens, 5)
        np.testing.assert_array_equal(llm.scores, expected)
        for at in (0, 9, len(state.llama_state) // 2, len(state.llama_state) - 1):
            damaged = bytearray(state.llama_state)
            damaged[at] ^= 1
            state.llama_state = bytes(damaged)
            with self.assertRaises(moxie.errors.Corrupt):
                llm.load_state(state)
            damaged[at] ^= 1
            state.llama_state = bytes(damaged)

    def test_embeddings(self):
        llm = demo()
        each = np.array(llm.embed("hello there"))
        self.assertEqual(each.shape, (len(llm.tokenize(b"hello there")), llm.n_embd()))
        with open_demo(embedding=True, pooling_type=1) as mean:
            one = mean.embed("hello there")
            np.testing.assert_allclose(one, each.mean(axis=0), atol=1e-6)
            self.assertAlmostEqual(float(np.linalg.norm(mean.embed("hello there", normalize=True))), 1, places=5)
            made = mean.create_embedding(["a", "b"])
        self.assertEqual([one["index"] for one in made["data"]], [0, 1])
        self.assertEqual(set(made), {"object", "data", "model", "usage"})


if __name__ == "__main__":
    unittest.main()
