"""Model cards' snippets over moxie.compat.transformers."""

import contextlib
import importlib.util
import unittest
import warnings

import moxie
from moxie import _arguments
from support import DEMO, demo

TEXT = "Once upon a time"


@contextlib.contextmanager
def said():
    _arguments._said.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def snippet(kind, **options):
    """Mixtral's card, the model's name and the kind of tensors aside."""
    from moxie.compat.transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    model = AutoModelForCausalLM.from_pretrained(DEMO, **options)
    if options.get("torch_dtype"):
        model = model.to(0)
    inputs = tokenizer(TEXT, return_tensors=kind).to(0)
    outputs = model.generate(**inputs, max_new_tokens=20)
    return tokenizer.decode(outputs[0], skip_special_tokens=True), outputs, model


class ModelCard(unittest.TestCase):
    def setUp(self):
        self.expected = demo()(TEXT, max_tokens=20, temperature=0, echo=True)["choices"][0]["text"]

    def test_half_precision(self):
        with said() as caught:
            text, outputs, _ = snippet("np", torch_dtype="float16")
        self.assertEqual(text, self.expected)
        self.assertEqual((type(outputs).__name__, outputs.shape), ("ndarray", (1, 25)))
        self.assertEqual([str(one.message).split("=")[0] for one in caught], ["torch_dtype"])

    def test_lower_precision_is_made_at_load_and_said(self):
        stored = demo().facts["weight_bytes"]
        for key, wanted, most in (("load_in_4bit", "q4_k_m", 0.5), ("load_in_8bit", "q8_0", 0.6)):
            with self.subTest(key), said() as caught:
                text, _, model = snippet("np", **{key: True})
                self.assertTrue(text.startswith(TEXT))
                self.assertLess(model.llama.facts["weight_bytes"], most * stored)
                (one,) = caught
                self.assertIs(one.category, moxie.errors.QuantizedAtLoad)
                self.assertRegex(str(one.message), wanted)
                with moxie.Llama(DEMO, n_ctx=64, verbose=False, quantize=wanted) as llm:
                    self.assertEqual(llm(TEXT, max_tokens=20, temperature=0, echo=True)["choices"][0]["text"], text)

    def test_flash_attention(self):
        with said() as caught:
            for _ in range(2):
                snippet("np", load_in_4bit=True, use_flash_attention_2=True)
        texts = [str(one.message) for one in caught if one.category is moxie.errors.IgnoredArgument]
        self.assertEqual(len(texts), 1)
        self.assertRegex(texts[0], "use_flash_attention_2=True has no effect: ")

    @unittest.skipUnless(importlib.util.find_spec("torch"), "needs torch")
    def test_torch(self):
        import torch

        with said():
            text, outputs, _ = snippet("pt", torch_dtype=torch.float16, device_map="auto")
        self.assertEqual(text, self.expected)
        self.assertTrue(torch.is_tensor(outputs))

    def test_a_conversation(self):
        from moxie.compat.transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(DEMO)
        messages = [{"role": "user", "content": "Hello"}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        self.assertIn("Hello", text)
        ids = tokenizer.apply_chat_template(messages, return_tensors="np", add_generation_prompt=True)
        self.assertEqual(tokenizer.batch_decode(ids, skip_special_tokens=True), [tokenizer.decode(ids[0], True)])
        demo().create_chat_completion(messages, max_tokens=1)
        self.assertEqual(list(ids[0]), list(demo().input_ids[: len(ids[0])]))

    def test_what_is_refused(self):
        from moxie.compat.transformers import AutoModelForCausalLM, AutoTokenizer

        with self.assertRaisesRegex(ValueError, "one text"):
            AutoTokenizer.from_pretrained(DEMO)(["a", "b"])
        with self.assertRaisesRegex(ValueError, "2 prompts"):
            AutoModelForCausalLM.from_pretrained(DEMO).generate([[1, 2], [1, 3]])


if __name__ == "__main__":
    unittest.main()
