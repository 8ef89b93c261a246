"""llama_cpp's name for moxie, sessions, and LangChain over it (the latter with MOXIE_PYTHON_ORACLE=1)."""

import os
import tempfile
import unittest

import moxie
from support import DEMO, demo, open_demo, wants


class Installed(unittest.TestCase):
    def setUp(self):
        moxie.compat.install()
        self.addCleanup(moxie.compat.uninstall)

    def test_imports(self):
        import llama_cpp
        from llama_cpp import Llama, LlamaGrammar
        from llama_cpp.llama import LogitsProcessorList, StoppingCriteriaList  # noqa: F401
        from llama_cpp.llama_grammar import LlamaGrammar as same

        self.assertIs(Llama, moxie.Llama)
        self.assertIs(LlamaGrammar, same)
        self.assertFalse(llama_cpp.llama_supports_gpu_offload())

    def test_readme_of_llama_cpp_python(self):
        from llama_cpp import Llama

        llm = Llama(model_path=DEMO, verbose=False)
        output = llm("Q: Name the planets in the solar system? A: ", max_tokens=32, stop=["Q:", "\n"], echo=True)
        self.assertTrue(output["choices"][0]["text"].startswith("Q: Name the planets"))
        llm = Llama(model_path=DEMO, chat_format="llama-2", verbose=False)
        output = llm.create_chat_completion(
            messages=[
                {"role": "system", "content": "You are an assistant who perfectly describes images."},
                {"role": "user", "content": "Describe this image in detail please."},
            ],
            max_tokens=8,
        )
        self.assertIsInstance(output["choices"][0]["message"]["content"], str)

    @unittest.skipUnless(wants("langchain_community"), "needs langchain-community and MOXIE_PYTHON_ORACLE=1")
    def test_langchain(self):
        from langchain_community.chat_models import ChatLlamaCpp
        from langchain_community.embeddings import LlamaCppEmbeddings
        from langchain_community.llms import LlamaCpp

        llm = LlamaCpp(model_path=DEMO, n_ctx=256, max_tokens=12, temperature=0.0, verbose=False, f16_kv=True)
        text = llm.invoke("Once upon a time")
        self.assertEqual(text, demo()("Once upon a time", max_tokens=12, temperature=0)["choices"][0]["text"])
        self.assertEqual("".join(llm.stream("Once upon a time")), text)
        chat = ChatLlamaCpp(model_path=DEMO, n_ctx=256, max_tokens=8, temperature=0.0, verbose=False)
        self.assertTrue(chat.invoke("Hello").content)
        self.assertTrue("".join(piece.content for piece in chat.stream("Hello")))
        vectors = LlamaCppEmbeddings(model_path=DEMO, n_ctx=256, verbose=False).embed_documents(["a b", "c"])
        self.assertEqual({len(vector) for vector in vectors}, {demo().n_embd()})  # one for each token, unless pooled


class Sessions(unittest.TestCase):
    def test_three_calls(self):
        expected = demo()("Once upon a time", max_tokens=12, temperature=0)["choices"][0]["text"]
        options = {"max_tokens": 12, "temperature": 0}
        self.assertEqual(moxie.generate(DEMO, "Once upon a time", memory="1G", n_ctx=256, **options), expected)
        self.assertEqual("".join(moxie.stream_generate(demo(), "Once upon a time", **options)), expected)
        with self.assertRaisesRegex(ValueError, "kv_bits=3"):
            moxie.generate(DEMO, "x", kv_bits=3)

    def test_a_session_goes_on_after_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state")
            options = {"max_tokens": 6, "temperature": 0}
            with moxie.Session(DEMO, n_ctx=256) as whole:
                texts = [whole.generate("Once upon a time", **options), whole.generate(" Then", **options)]
            with moxie.Session(DEMO, n_ctx=256, state=path) as first:
                self.assertEqual(first.generate("Once upon a time", **options), texts[0])
            with moxie.Session(DEMO, n_ctx=256, state=path) as second:
                self.assertGreater(len(second.tokens), 5)
                self.assertEqual(second.generate(" Then", **options), texts[1])


class Grown(unittest.TestCase):
    def test_speculation_is_said(self):
        with open_demo(draft_model=moxie.LlamaPromptLookupDecoding()) as llm:
            self.assertEqual(llm("Once", max_tokens=1)["usage"]["completion_tokens"], 1)
        self.assertEqual(list(moxie.LlamaPromptLookupDecoding(2, 3)([1, 2, 3, 4, 1, 2])), [3, 4, 1])


if __name__ == "__main__":
    unittest.main()
