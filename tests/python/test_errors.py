"""What goes wrong: exceptions with their types, diagnoses and remedies; models that are closed; interrupts; memory."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

import moxie
from moxie import Llama, LlamaGrammar, errors
from support import DEMO, GOLDEN, MOE8, demo, open_demo

PROMPT = "Once upon a time"


class Files(unittest.TestCase):
    def test_what_is_missing(self):
        for kind in (ValueError, FileNotFoundError, errors.NotFound, moxie.MoxieError):
            with self.assertRaisesRegex(kind, "Model path does not exist: /nowhere/model.gguf"):
                Llama("/nowhere/model.gguf")
        with self.assertRaises(FileNotFoundError):
            LlamaGrammar.from_file("/nowhere.gbnf")

    def test_diagnoses(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            pointer = folder / "model.gguf"
            pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n")
            (folder / "page.gguf").write_text("<!DOCTYPE html><html><body>Log in</body></html>")
            (folder / "empty.gguf").write_bytes(b"")
            (folder / "pickle.bin").write_bytes(b"PK\x03\x04" + b"\0" * 100)
            whole = (GOLDEN / "mixtral" / "merged.gguf").read_bytes()
            (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
            known = {"model.gguf": "lfs-pointer", "page.gguf": "web-page", "empty.gguf": "empty-file", "pickle.bin": "pickle",
                     "cut.gguf": "truncated"}  # fmt: skip
            for file, code in known.items():
                with self.subTest(file):
                    with self.assertRaises(moxie.MoxieError) as raised:
                        Llama(folder / file, verbose=False)
                    error = raised.exception
                    self.assertEqual(error.diagnosis, code)
                    self.assertIsInstance(error, (ValueError, OSError))
                    self.assertIn(file, str(error))
                    self.assertTrue(error.why and error.remedy)
                    self.assertIn(f"try: {error.remedy}", str(error))
            with self.assertRaises(moxie.MoxieError) as raised:
                Llama(pointer, verbose=False)
            self.assertEqual(raised.exception.remedy, f"git -C {folder} lfs pull")

    def test_a_missing_tensor_has_a_near_miss(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(MOE8, folder, dirs_exist_ok=True)
            path = pathlib.Path(folder) / "model.safetensors"
            data = path.read_bytes().replace(b"model.layers.1.block_sparse_moe.gate.weight", b"model.layers.1.block_sparse_moe.gaet.weight")
            path.write_bytes(data)
            with self.assertRaises(moxie.MoxieError) as raised:
                Llama(folder, verbose=False)
            self.assertIn("gaet", raised.exception.near_miss + str(raised.exception))
            self.assertTrue(raised.exception.diagnosis)

    def test_codes(self):
        self.assertEqual(errors.make("io", "x").code, "io")
        self.assertIsInstance(errors.make("io", "x"), OSError)
        self.assertIsInstance(errors.make("out_of_memory", "x"), MemoryError)
        self.assertIsInstance(errors.make("what no one knows", "x"), errors.InternalError)


class Arguments(unittest.TestCase):
    def test_types(self):
        llm = demo()
        for call in (
            lambda: llm(PROMPT, stop=[1]), lambda: llm(None), lambda: llm(5), lambda: llm(b"text"), lambda: llm(["a"]),
            lambda: llm(PROMPT, max_tokens="a"), lambda: llm(PROMPT, temperature="hot"), lambda: llm(PROMPT, top_k=1.5),
            lambda: llm(PROMPT, suffix=3), lambda: llm(PROMPT, nope=1), lambda: llm(PROMPT, logit_bias=[1]),
            lambda: llm.create_chat_completion("abc"), lambda: llm.create_chat_completion(None),
            lambda: llm.create_chat_completion([{"role": "user", "content": object()}]),
            lambda: llm.tokenize("text"), lambda: llm.embed([1]), lambda: Llama(DEMO, n_ctx="a"), lambda: Llama(5),
            lambda: Llama(DEMO, chat_format=3), lambda: llm.trace(5), lambda: LlamaGrammar.from_string(5),
            lambda: llm.eval([None]),
        ):  # fmt: skip
            with self.assertRaises(TypeError):
                call()

    def test_values(self):
        llm = demo()
        for call, pattern in (
            (lambda: llm(PROMPT, top_p=7), "top_p|top-p"),
            (lambda: llm.create_chat_completion([]), "messages is empty"),
            (lambda: llm("word " * 1200), r"Requested tokens \(\d+\) exceed context window of 1024; give a larger n_ctx"),
            (lambda: llm.create_chat_completion([{"role": "user", "content": "word " * 1200}]), "exceed context window"),
            (lambda: llm.eval(list(range(2, 1202)) * 2), "context"),
            (lambda: llm([10**6]), "1000000|vocabulary"),
            (lambda: open_demo(type_k=99), "type_k=99.*take 0"),
            (lambda: open_demo(type_k=1, type_v=8), "differ"),
            (lambda: open_demo(lora_path="adapter.gguf"), "merge"),
            (lambda: open_demo(memory="1M"), "budget"),
            (lambda: open_demo(cpu_target="z80"), "z80"),
            (lambda: open_demo(policy="nonsense"), "nonsense"),
            (lambda: LlamaGrammar.from_string("root ::= ("), "1"),
            (lambda: LlamaGrammar.from_string(""), "root|empty"),
            (lambda: LlamaGrammar.from_json_schema('{"type": "nonsense"}'), "nonsense"),
            (lambda: LlamaGrammar.from_json_schema("{"), "JSON|line|end"),
            (lambda: LlamaGrammar.from_regex("("), r"\("),
        ):
            with self.assertRaisesRegex((ValueError, MemoryError, IndexError), pattern):
                call()

    def test_closed(self):
        llm = open_demo()
        stream = llm(PROMPT, stream=True)
        next(stream)
        llm.close()
        llm.close()
        for call in (
            lambda: llm(PROMPT), lambda: llm.tokenize(b"x"), lambda: llm.detokenize([5]), lambda: llm.reset(), lambda: llm.eval([1]),
            lambda: llm.expert_stats(), lambda: llm.save_state(), lambda: llm.embed("x"), lambda: llm.trace("x"),
            lambda: llm.create_chat_completion([{"role": "user", "content": "x"}]), lambda: next(stream), lambda: llm.sample(),
        ):  # fmt: skip
            with self.assertRaisesRegex(ValueError, "closed"):
                call()
        self.assertEqual(llm.n_embd(), 256)  # facts stay

    def test_vocabulary_only(self):
        with open_demo(vocab_only=True) as llm:
            self.assertGreater(len(llm.tokenize(b"Once upon a time")), 2)
            with self.assertRaisesRegex(ValueError, "vocab_only"):
                llm(PROMPT)

    def test_said_once(self):
        from moxie import _arguments

        _arguments._said.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                Llama(DEMO, n_ctx=64, verbose=False, n_gpu_layers=-1, flash_attn=True, made_up=1).close()
        texts = [str(one.message) for one in caught if issubclass(one.category, errors.IgnoredArgument)]
        self.assertEqual(sorted(text.split("=")[0] for text in texts), ["flash_attn", "made_up", "n_gpu_layers"])


class Manners(unittest.TestCase):
    def test_the_lock_is_free_while_computing(self):
        llm = open_demo(n_ctx=4096)
        counted = []
        done = threading.Event()

        def count():
            while not done.is_set():
                counted.append(time.monotonic())
                time.sleep(0.002)

        thread = threading.Thread(target=count)
        thread.start()
        begin = time.monotonic()
        llm.eval(llm.tokenize(b"word " * 1500)[:2000])
        end = time.monotonic()
        done.set()
        thread.join()
        llm.close()
        inside = [at for at in counted if begin < at < end]
        self.assertGreater(len(inside), 3, f"{len(inside)} turns in {end - begin:.2f} s")

    def interrupted(self, work):
        """Output of a process that repeats `work` until SIGINT comes, and says then that the model still works."""
        code = (
            "import signal, sys; from moxie import Llama\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # jobs in the background inherit that it is ignored
            f"llm = Llama({DEMO!r}, n_ctx=4096, verbose=False)\n"
            "print('ready', flush=True)\n"
            "try:\n"
            f"    while True: {work}\n"
            "except KeyboardInterrupt: print('stopped', llm('Once', max_tokens=2)['usage']['completion_tokens'])\n"
        )
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(child.stdout.readline(), "ready\n")
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=100)
            return out
        finally:
            child.kill()

    def test_interrupts_stop(self):
        for work in ("llm('Once upon a time', max_tokens=2000, temperature=1.0)", "llm.reset(); llm.eval([5] * 4000)",
                     "list(llm.create_chat_completion([{'role': 'user', 'content': 'Hi'}], stream=True, max_tokens=3000))"):
            with self.subTest(work):
                self.assertEqual(self.interrupted(work), "stopped 2\n")

    def test_memory_comes_back(self):
        """Resident kilobytes of a process before, with the model, and after it is closed or dropped, again and again."""
        code = (
            "import gc, json, moxie\n"
            "def resident(): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS'))\n"
            f"def opened(): return moxie.Llama({DEMO!r}, n_ctx=2048, verbose=False, use_mmap=False)\n"
            "llm = opened(); llm('Once', max_tokens=4); llm.close()\n"
            "before = resident()\n"
            "llm = opened(); llm('Once', max_tokens=4); within = resident(); llm.close()\n"
            "for i in range(6):\n"
            "    llm = opened(); llm('Once', max_tokens=4)\n"
            "    if i % 2: llm.close()\n"
            "    del llm; gc.collect()\n"
            "print(json.dumps([before, within, resident()]))\n"
        )
        before, within, after = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        self.assertGreater(within - before, 20_000)
        self.assertLess(after - before, 10_000)

    def test_import_is_light(self):
        code = "import sys, time; t = time.perf_counter(); import moxie; from moxie import Llama; t = time.perf_counter() - t; "
        code += "heavy = {'numpy', 'matplotlib', 'torch', 'jinja2', 'urllib.request'} & set(sys.modules); print(t, *heavy)"
        runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
        self.assertEqual([run[1:] for run in runs], [[]] * 5)
        best = min(float(run[0]) for run in runs)
        print(f"import moxie, Llama: {best * 1000:.0f} ms")
        self.assertLess(best, float(os.environ.get("MOXIE_IMPORT_SECONDS", "0.15")))


if __name__ == "__main__":
    unittest.main()
