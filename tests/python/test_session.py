"""moxie.generate, stream_generate and Session: options, budgets, and what stays between runs."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import moxie
from support import DEMO, PROGRAM, demo

PROMPT = "Once upon a time"
GREEDY = {"max_tokens": 12, "temperature": 0}


class Calls(unittest.TestCase):
    def setUp(self):
        self.expected = demo()(PROMPT, **GREEDY)["choices"][0]["text"]

    def test_one_call(self):
        self.assertEqual(moxie.generate(DEMO, PROMPT, memory="1G", n_ctx=256, **GREEDY), self.expected)
        pieces = list(moxie.stream_generate(DEMO, PROMPT, n_ctx=256, **GREEDY))
        self.assertGreater(len(pieces), 5)
        self.assertEqual("".join(pieces), self.expected)

    def test_an_open_model_stays_open(self):
        self.assertEqual("".join(moxie.stream_generate(demo(), PROMPT, **GREEDY)), self.expected)
        self.assertEqual(moxie.generate(demo(), PROMPT, **GREEDY), self.expected)

    def test_key_and_value_types(self):
        whole = 0
        for bits, most in ((32, 1.0), (16, 0.5), (8, 0.3)):
            with moxie.Session(DEMO, n_ctx=256, kv_bits=bits) as session:
                self.assertTrue(session.generate(PROMPT, **GREEDY).startswith(", there was"))
                per_token = session.llama.facts["kv_bytes_per_token"]
            whole = per_token if bits == 32 else whole
            self.assertLessEqual(per_token, most * whole)
        for bad in (3, 4, 64):
            with self.assertRaisesRegex(ValueError, f"kv_bits={bad}"):
                moxie.generate(DEMO, "x", kv_bits=bad)

    def test_bad_options(self):
        for options in ({"memory": "1M"}, {"memory": "lots"}, {"profile": "/nowhere.json"}):
            with self.subTest(options), self.assertRaises(moxie.MoxieError):
                moxie.generate(DEMO, "x", n_ctx=64, **options)

    def test_nothing_to_continue(self):
        with moxie.Session(DEMO, n_ctx=64) as session:
            self.assertIsInstance(session.generate("", max_tokens=2), str)  # the model begins by itself
            with self.assertRaisesRegex(ValueError, "state=PATH"):
                session.save()


class Budgets(unittest.TestCase):
    def test_experts_stream_under_a_budget(self):
        """In a process of its own, as a budget is the whole process's."""
        code = (
            "import json, moxie\n"
            f"with moxie.Session({DEMO!r}, n_ctx=256, memory='58M', kv_bits=8) as s:\n"
            f"    text = s.generate({PROMPT!r}, max_tokens=12, temperature=0); e = s.llama.expert_stats()\n"
            "    peak = next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
            "    print(json.dumps([text, e.streaming, e.hits, e.misses, e.bytes_read, peak]))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        text, streaming, hits, misses, read, peak = json.loads(done.stdout)
        with moxie.Session(DEMO, n_ctx=256, kv_bits=8) as whole:
            self.assertEqual(text, whole.generate(PROMPT, **GREEDY))
        self.assertTrue(streaming)
        self.assertGreater(hits, 0)
        self.assertGreater(misses, 0)
        self.assertGreater(read, 0)
        self.assertLessEqual(peak, 58 * 1024)

    def test_streamed_experts_give_the_same(self):
        expected = demo()(PROMPT, **GREEDY)["choices"][0]["text"]
        with moxie.Session(DEMO, n_ctx=256, expert_slots=2) as session:
            self.assertEqual(session.generate(PROMPT, **GREEDY), expected)
            stats = session.llama.expert_stats()
            self.assertTrue(stats.streaming)
            self.assertLess(stats.hit_rate, 1)
            with session.llama.trace() as trace:
                session.generate(" Then", **GREEDY)
            self.assertEqual(trace.experts.shape[0], 4)

    @unittest.skipUnless(PROGRAM.exists(), f"{PROGRAM} is not built")
    def test_a_profile_pins_its_experts(self):
        with tempfile.TemporaryDirectory() as folder:
            text, profile = os.path.join(folder, "text"), os.path.join(folder, "profile.json")
            with open(text, "w") as file:
                file.write("Once upon a time there was a little girl who loved to play in the garden. " * 4)
            subprocess.run([PROGRAM, "profile", DEMO, "-f", text, "-o", profile], check=True, capture_output=True)
            with moxie.Session(DEMO, n_ctx=256, profile=profile, expert_slots=4) as session:
                expected = demo()(PROMPT, **GREEDY)["choices"][0]["text"]
                self.assertEqual(session.generate(PROMPT, **GREEDY), expected)
                pinned = session.llama.model.expert_heat()["pinned"]
                self.assertEqual([int(row.sum()) for row in pinned], [1, 1, 1, 1])


class Persistence(unittest.TestCase):
    def test_a_session_goes_on_after_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state")
            options = {"max_tokens": 6, "temperature": 0}
            with moxie.Session(DEMO, n_ctx=256) as whole:
                texts = [whole.generate(PROMPT, **options), whole.generate(" Then", **options)]
            with moxie.Session(DEMO, n_ctx=256, state=path) as first:
                self.assertEqual(first.generate(PROMPT, **options), texts[0])
            with moxie.Session(DEMO, n_ctx=256, state=path) as second:
                self.assertGreater(len(second.tokens), 5)
                self.assertEqual(second.generate(" Then", **options), texts[1])
            with open(path, "r+b") as file:
                file.seek(40)
                file.write(b"\xff\xff")
            with self.assertRaises(moxie.errors.Corrupt):
                moxie.Session(DEMO, n_ctx=256, state=path)

    def test_the_hot_experts_are_there_again(self):
        def misses(folder):
            """Of a session that computes the same in every run."""
            path = os.path.join(folder, "state")
            with moxie.Session(DEMO, n_ctx=256, expert_slots=4, state=path, lookahead="off") as session:
                session.llama.reset()
                session.generate(PROMPT, max_tokens=30, temperature=0)
                return session.llama.expert_stats().misses

        with tempfile.TemporaryDirectory() as folder:
            cold = misses(folder)
            self.assertTrue(os.listdir(os.path.join(folder, "state.experts", "experts")))
            self.assertLess(misses(folder), cold)


if __name__ == "__main__":
    unittest.main()
