"""llama_cpp's name for moxie."""

import unittest

import moxie
from support import open_demo


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


class Grown(unittest.TestCase):
    def test_speculation_is_said(self):
        with open_demo(draft_model=moxie.LlamaPromptLookupDecoding()) as llm:
            self.assertEqual(llm("Once", max_tokens=1)["usage"]["completion_tokens"], 1)
        self.assertEqual(list(moxie.LlamaPromptLookupDecoding(2, 3)([1, 2, 3, 4, 1, 2])), [3, 4, 1])


if __name__ == "__main__":
    unittest.main()
