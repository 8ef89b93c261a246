"""Programs written for other packages, over moxie's names for them: LangChain as it is, and transformers beside it."""

import unittest
import warnings

import peers
from python_api_test import import_moxie

TEXT = "Once upon a time"
CLOSE = 0.05  # logits nearer than this may be ordered by rounding


class LangChain(unittest.TestCase):
    """langchain-community's classes import llama_cpp; after install() that is moxie."""

    @classmethod
    def setUpClass(cls):
        peers.require("langchain_community")
        cls.moxie = import_moxie()
        cls.moxie.compat.install()
        cls.addClassCleanup(cls.moxie.compat.uninstall)
        warnings.simplefilter("ignore", cls.moxie.errors.IgnoredArgument)
        cls.model = str(peers.demo_model())
        cls.llm = cls.moxie.Llama(cls.model, n_ctx=256, verbose=False)
        cls.addClassCleanup(cls.llm.close)

    def test_texts(self):
        from langchain_community.llms import LlamaCpp

        made = LlamaCpp(model_path=self.model, n_ctx=256, max_tokens=12, temperature=0.0, verbose=False, f16_kv=True)
        self.assertIs(type(made.client), self.moxie.Llama)
        expected = self.llm(TEXT, max_tokens=12, temperature=0)["choices"][0]["text"]
        self.assertEqual(made.invoke(TEXT), expected)
        self.assertEqual("".join(made.stream(TEXT)), expected)
        self.assertEqual(made.invoke(TEXT, stop=["little"]), expected.split("little")[0])
        self.assertEqual(made.get_num_tokens(TEXT), len(self.llm.tokenize(TEXT.encode())))
        held = LlamaCpp(model_path=self.model, n_ctx=256, max_tokens=12, grammar='root ::= "yes" | "no"', verbose=False)
        self.assertIn(held.invoke("Yes or no?"), ("yes", "no"))

    def test_chat(self):
        from langchain_community.chat_models import ChatLlamaCpp
        from langchain_core.messages import HumanMessage, SystemMessage

        chat = ChatLlamaCpp(model_path=self.model, n_ctx=1024, max_tokens=60, temperature=0.0, verbose=False)
        said = [SystemMessage("Be kind."), HumanMessage("Hello")]
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
        with self.moxie.Llama(self.model, n_ctx=1024, verbose=False) as llm:
            expected = llm.create_chat_completion(messages, max_tokens=60, temperature=0, repeat_penalty=1.1)
            expected = expected["choices"][0]["message"]["content"]
        self.assertEqual(chat.invoke(said).content, expected)
        self.assertEqual("".join(piece.content for piece in chat.stream(said)), expected)
        tool = {
            "type": "function",
            "function": {
                "name": "weather", "description": "of a city",
                "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"],
                               "additionalProperties": False},
            },
        }  # fmt: skip
        bound = chat.bind_tools([tool], tool_choice={"type": "function", "function": {"name": "weather"}})
        (call,) = bound.invoke([HumanMessage("Is it cold?")], max_tokens=200).tool_calls
        self.assertEqual(call["name"], "weather")
        self.assertIn(call["args"]["city"], ("Rome", "Oslo"))

    def test_embeddings(self):
        from langchain_community.embeddings import LlamaCppEmbeddings

        made = LlamaCppEmbeddings(model_path=self.model, n_ctx=256, verbose=False)
        vectors = made.embed_documents(["a b"])  # unpooled: one for each token
        self.assertEqual(len(vectors), len(self.llm.tokenize(b"a b")))
        self.assertEqual({len(vector) for vector in vectors}, {self.llm.n_embd()})
        made.client = self.moxie.Llama(self.model, n_ctx=256, embedding=True, pooling_type=1, verbose=False)
        self.addCleanup(made.client.close)
        pooled = made.embed_documents(["a b", "c"])
        self.assertEqual([len(vector) for vector in pooled], [self.llm.n_embd()] * 2)
        self.assertEqual(made.embed_query("c"), pooled[1])


class Transformers(unittest.TestCase):
    """A card's lines run with the real package and with moxie's names for it."""

    @classmethod
    def setUpClass(cls):
        peers.require("transformers", "torch")
        cls.moxie = import_moxie()
        cls.model = str(peers.demo_model())

    def card(self, package, text):
        import torch

        tokenizer = package.AutoTokenizer.from_pretrained(self.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = package.AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32)
            inputs = tokenizer(text, return_tensors="pt")
            outputs = model.generate(**inputs, max_new_tokens=20, do_sample=False)
        return inputs["input_ids"].tolist(), outputs.tolist(), tokenizer.decode(outputs[0], skip_special_tokens=True)

    def is_close(self, ids):
        """Whether the two likeliest ids after these are nearer than rounding."""
        import torch
        import transformers

        model = transformers.AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32)
        first, second = model(torch.tensor([ids])).logits[0, -1].topk(2).values.tolist()
        return first - second < CLOSE

    def test_the_same_ids_and_texts(self):
        import transformers

        from moxie.compat import transformers as ours

        same = 0
        for text in (TEXT, "The little dog", "Lily and Tom went", "One day"):
            with self.subTest(text):
                a, b = self.card(ours, text), self.card(transformers, text)
                self.assertEqual(a[0], b[0])
                if a == b:
                    same += 1
                    continue
                at = next(i for i, (x, y) in enumerate(zip(a[1][0], b[1][0])) if x != y)
                self.assertTrue(self.is_close(a[1][0][:at]), f"token {at}: {a[2]!r} or {b[2]!r}")
        print(f"{same} of 4 texts are transformers' to the end")
        self.assertGreaterEqual(same, 3)


if __name__ == "__main__":
    unittest.main()
