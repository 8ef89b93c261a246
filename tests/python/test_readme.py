"""What llama-cpp-python's README and the cards of GGUF models show for text and chat, with the import changed and the
demo model in place of theirs. Calls and arguments are those of the examples; the words around them are not."""

import json
import os
import tempfile
import unittest
import warnings
from unittest import mock

import moxie
from support import DEMO, MOE8, Hub, demo_gguf

SYSTEM = {"role": "system", "content": "You are a helpful assistant that answers in JSON."}
QUESTION = {"role": "user", "content": "Who won in 2020?"}


class Readme(unittest.TestCase):
    def setUp(self):
        moxie.compat.install()
        self.addCleanup(moxie.compat.uninstall)
        warnings.simplefilter("ignore", moxie.errors.IgnoredArgument)
        self.addCleanup(warnings.resetwarnings)
        self.opened = []

    def llama(self, **arguments):
        from llama_cpp import Llama

        llm = Llama(model_path=DEMO, **{"verbose": False, **arguments})
        self.addCleanup(llm.close)
        return llm

    @staticmethod
    def quotes(llm):
        """What makes a model of children's stories end its texts and objects."""
        ends = [llm.tokenize(text, False)[-1] for text in (b'"', b"}", b'"}')]
        return dict(zip(ends, (12.0, 16.0, 16.0)))

    def test_text(self):
        llm = self.llama(n_gpu_layers=-1, seed=1337, n_ctx=2048)
        prompt = "Q: Name the planets in the solar system? A: "
        output = llm(prompt, max_tokens=32, stop=["Q:", "\n"], echo=True)
        self.assertTrue(output["choices"][0]["text"].startswith(prompt))
        self.assertEqual(output["model"], DEMO)
        self.assertIn(output["choices"][0]["finish_reason"], ("stop", "length"))
        output = llm.create_completion("A", max_tokens=None, stop=["\n", ".", ","])
        self.assertEqual(output["object"], "text_completion")

    def test_from_the_hub(self):
        from llama_cpp import Llama

        with open(demo_gguf(self), "rb") as file:
            files = {"demo-Q8_0.gguf": file.read(), "README.md": b"x"}
        with Hub() as hub, tempfile.TemporaryDirectory() as home:
            hub.add("org/demo-GGUF", files)
            clean = {"HF_ENDPOINT": hub.url, "HF_HOME": home, "HF_HUB_CACHE": "", "HF_HUB_OFFLINE": "", "HF_TOKEN": ""}
            with mock.patch.dict(os.environ, {**clean, "no_proxy": "*"}):
                llm = Llama.from_pretrained(repo_id="org/demo-GGUF", filename="*Q8_0.gguf", verbose=False)
                answer = llm.create_chat_completion(messages=[{"role": "user", "content": "What is the capital of France?"}],
                                                    max_tokens=4)
                llm.close()
        self.assertEqual(answer["choices"][0]["message"]["role"], "assistant")

    def test_chat(self):
        llm = self.llama(chat_format="llama-2")
        answer = llm.create_chat_completion(
            messages=[
                {"role": "system", "content": "You describe images very well."},
                {"role": "user", "content": "Describe this image in detail please."},
            ],
            max_tokens=8,
        )
        self.assertIsInstance(answer["choices"][0]["message"]["content"], str)
        try:
            import openai.types.chat as types
        except ImportError:
            return
        made = llm.create_chat_completion_openai_v1(messages=[{"role": "user", "content": "Hi"}], max_tokens=2)
        self.assertIsInstance(made, types.ChatCompletion)

    def test_json(self):
        llm = self.llama(chat_format="chatml", seed=3)
        whole = llm.create_chat_completion(
            messages=[SYSTEM, QUESTION], response_format={"type": "json_object"}, temperature=0.7, max_tokens=160
        )
        self.assertTrue(whole["choices"][0]["message"]["content"].lstrip().startswith("{"))
        wanted = {"type": "object", "properties": {"team_name": {"type": "string"}}, "required": ["team_name"]}
        held = llm.create_chat_completion(
            messages=[SYSTEM, QUESTION],
            response_format={"type": "json_object", "schema": wanted},
            temperature=0.7,
            max_tokens=200,
            logit_bias=self.quotes(llm),
        )
        self.assertEqual(held["choices"][0]["finish_reason"], "stop")
        self.assertIsInstance(json.loads(held["choices"][0]["message"]["content"])["team_name"], str)

    def test_functions(self):
        llm = self.llama(chat_format="chatml-function-calling", n_ctx=2048)
        parameters = {
            "type": "object",
            "title": "UserDetail",
            "properties": {"name": {"title": "Name", "type": "string"}, "age": {"title": "Age", "type": "integer"}},
            "required": ["name", "age"],
        }
        answer = llm.create_chat_completion(
            messages=[SYSTEM, {"role": "user", "content": "Extract Jason is 25 years old"}],
            tools=[{"type": "function", "function": {"name": "UserDetail", "parameters": parameters}}],
            tool_choice={"type": "function", "function": {"name": "UserDetail"}},
            max_tokens=300,
            logit_bias=self.quotes(llm),
        )
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        self.assertEqual(call["function"]["name"], "UserDetail")
        self.assertEqual(set(json.loads(call["function"]["arguments"])), {"name", "age"})

    def test_speculation(self):
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        llm = self.llama(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=10))
        self.assertEqual(llm("Once", max_tokens=2)["usage"]["completion_tokens"], 2)

    def test_embeddings(self):
        import llama_cpp

        llm = self.llama(embedding=True)
        one = llm.create_embedding("Hello, world!")
        two = llm.create_embedding(["Hello, world!", "Goodbye, world!"])
        self.assertEqual(one["data"][0]["embedding"], two["data"][0]["embedding"])
        self.assertEqual(len(two["data"]), 2)
        pooled = self.llama(embedding=True, pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN)
        self.assertEqual(len(pooled.embed("Hello, world!")), pooled.n_embd())

    def test_context(self):
        self.assertEqual(self.llama(n_ctx=2048).n_ctx(), 2048)


class Cards(unittest.TestCase):
    """As TheBloke's cards and their descendants show it."""

    def setUp(self):
        moxie.compat.install()
        self.addCleanup(moxie.compat.uninstall)
        warnings.simplefilter("ignore", moxie.errors.IgnoredArgument)
        self.addCleanup(warnings.resetwarnings)

    def test_a_mixture_s_card(self):
        from llama_cpp import Llama

        llm = Llama(
            model_path=demo_gguf(self),  # a file that was downloaded before
            n_ctx=2048,  # tokens of the context
            n_threads=2,  # processors
            n_gpu_layers=35,  # layers on a graphics card
        )
        self.addCleanup(llm.close)
        output = llm("[INST] {prompt} [/INST]", max_tokens=32, stop=["</s>"], echo=True)
        self.assertTrue(output["choices"][0]["text"].startswith("[INST] {prompt} [/INST]"))
        llm = Llama(model_path=demo_gguf(self), chat_format="llama-2", verbose=False)
        self.addCleanup(llm.close)
        answer = llm.create_chat_completion(
            messages=[
                {"role": "system", "content": "You are a story writing assistant."},
                {"role": "user", "content": "Write a story about llamas."},
            ],
            max_tokens=16,
        )
        self.assertEqual(answer["usage"]["completion_tokens"], 16)

    def test_a_stream_in_a_card(self):
        from llama_cpp import Llama

        llm = Llama(model_path=MOE8, n_ctx=256, verbose=False)
        self.addCleanup(llm.close)
        text = ""
        for part in llm.create_completion("Once upon a time", max_tokens=8, temperature=0.0, repeat_penalty=1.1, stream=True):
            text += part["choices"][0]["text"]
        self.assertTrue(text)


if __name__ == "__main__":
    unittest.main()
