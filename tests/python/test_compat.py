"""llama_cpp's name for moxie, and LangChain over it (the latter with MOXIE_PYTHON_ORACLE=1)."""

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


class Grown(unittest.TestCase):
    def test_speculation_is_said(self):
        with open_demo(draft_model=moxie.LlamaPromptLookupDecoding()) as llm:
            self.assertEqual(llm("Once", max_tokens=1)["usage"]["completion_tokens"], 1)
        self.assertEqual(list(moxie.LlamaPromptLookupDecoding(2, 3)([1, 2, 3, 4, 1, 2])), [3, 4, 1])


if __name__ == "__main__":
    unittest.main()
