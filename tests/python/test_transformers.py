"""A model card's snippet over moxie.compat.transformers."""

import unittest
import warnings

from support import DEMO, demo


class ModelCard(unittest.TestCase):
    def test_snippet(self):
        from moxie.compat.transformers import AutoModelForCausalLM, AutoTokenizer

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(DEMO)
            model = AutoModelForCausalLM.from_pretrained(DEMO, load_in_4bit=True, use_flash_attention_2=True).to(0)
        inputs = tokenizer("Once upon a time", return_tensors="np").to(0)
        outputs = model.generate(**inputs, max_new_tokens=20)
        expected = demo()("Once upon a time", max_tokens=20, temperature=0, echo=True)["choices"][0]["text"]
        self.assertEqual(tokenizer.decode(outputs[0], skip_special_tokens=True), expected)
