"""The package's types: mypy holds the package to them, and a program that uses it sees them."""

import importlib.util
import inspect
import pathlib
import subprocess
import sys
import tempfile
import unittest

import moxie
from support import ROOT

PROGRAM = """
import moxie
from moxie.hub import TensorMetadata

llm = moxie.Llama("model.gguf", n_ctx=64, memory="1G")
ids: list[int] = llm.tokenize(b"text")
text: bytes = llm.detokenize(ids)
router: TensorMetadata = moxie.hub.open("folder").get_router_metadata(layer=0)
answer: str = moxie.generate("model.gguf", "text", max_tokens=4)
rate: float = llm.expert_stats().hit_rate
llm.tokenize("text")
llm.create_completion(5)
moxie.Llama("model.gguf", n_ctx="64")
"""


CACHE = tempfile.TemporaryDirectory(prefix="moxie-mypy-")  # shared by the tests: numpy's types take long


def mypy(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", CACHE.name, *arguments], capture_output=True, text=True, cwd=folder
    )


class Types(unittest.TestCase):
    def test_they_are_shipped(self):
        folder = pathlib.Path(moxie.__file__).parent
        self.assertTrue((folder / "py.typed").exists())
        self.assertTrue((folder / "_native.pyi").exists())

    def test_the_stub_names_what_the_module_has(self):
        from moxie import _native

        stub = (pathlib.Path(moxie.__file__).parent / "_native.pyi").read_text()
        for name, kind in inspect.getmembers(_native, inspect.isclass):
            self.assertIn(f"class {name}:", stub)
            body = stub.split(f"class {name}:")[1].split("\nclass ")[0]
            for member in vars(kind):
                if not member.startswith("_"):
                    self.assertRegex(body, rf"\b{member}\b", name)
        for name, _ in inspect.getmembers(_native, callable):
            self.assertRegex(stub, rf"(class|def) {name}\b")

    @unittest.skipUnless(importlib.util.find_spec("mypy"), "needs mypy")
    def test_mypy_of_the_package(self):
        done = mypy(folder=ROOT)
        self.assertEqual((done.returncode, done.stdout.split(":")[0]), (0, "Success"), done.stdout)

    @unittest.skipUnless(importlib.util.find_spec("mypy"), "needs mypy")
    def test_mypy_of_a_program(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "program.py").write_text(PROGRAM)
            done = mypy("program.py", folder=folder)
        lines = [line for line in done.stdout.splitlines() if ": error:" in line]
        self.assertEqual([line.split(":")[1] for line in lines], ["11", "12", "13"], done.stdout)

    def test_everything_public_says_what_it_is(self):
        for name in moxie.__all__:
            value = getattr(moxie, name)
            if inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value):
                self.assertTrue(inspect.getdoc(value), name)
        for name, member in inspect.getmembers(moxie.Llama):
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                if name not in ("ctx", "model", "eval_tokens", "eval_logits"):  # llama-cpp-python's inner names
                    self.assertTrue(inspect.getdoc(member), name)


if __name__ == "__main__":
    unittest.main()
