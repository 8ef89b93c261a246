#!/usr/bin/env python3
"""Tests of compare.py: command lines, answers, figures, the order of runs. Engines are small scripts that answer what is asked."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
import compare
import engines
import machine
from engines import Engine, Failure, Test

# Logs its name and arguments, and answers with the next of the rates in its file.
FAKE = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
if "--help" in sys.argv:
    print({help!r})
    sys.exit(0)
with open(here / "log", "a") as log:
    print({name!r}, *sys.argv[1:], file=log)
rates = json.loads((here / {name!r}).with_suffix(".rates").read_text())
(here / {name!r}).with_suffix(".rates").write_text(json.dumps(rates[1:]))
if rates[0] is None:
    print("out of luck", file=sys.stderr)
    sys.exit(3)
print(json.dumps([{{{key!r}: [rates[0]], "version": "7", "share": 0.5}}]))
"""
HELPS = {"moxie": "usage: moxie COMMAND", "bench": "-p, --n-prompt <n> -n, --n-gen <n> -d, --n-depth <n>"}


class Commands(unittest.TestCase):
    def command(self, kind, test, flags=()):
        return Engine("x", kind, "/x", list(flags)).command("M", test, 2, 3)

    def test_moxie(self):
        wanted = ["/x", "bench", "M", "-p", "0", "-n", "64", "-d", "4096", "-t", "2", "-r", "3", "-o", "json", "--no-mmap"]
        self.assertEqual(self.command("moxie", Test(0, 64, 4096), ["--no-mmap"]), wanted)

    def test_llama_bench(self):
        wanted = ["/x", "-m", "M", "-p", "512", "-n", "0", "-t", "2", "-r", "3", "-o", "json"]
        self.assertEqual(self.command("llama-bench", Test(512, 0, 0)), wanted)
        self.assertIn("-d", self.command("llama-bench", Test(0, 64, 4096)))

    def test_depth_as_gp(self):
        command = self.command("llama-bench with -gp", Test(0, 64, 4096))
        self.assertEqual(command[3:9], ["-p", "0", "-n", "0", "-gp", "4096,64"])
        self.assertEqual(self.command("llama-bench with -gp", Test(0, 64, 0))[3:7], ["-p", "0", "-n", "64"])

    def test_kinds(self):
        self.assertEqual(engines.kind_of("/a/llama-bench", "-p, --n-prompt <n> -n, --n-gen <n> -d, --n-depth <n> -gp <p>"), "llama-bench")
        self.assertEqual(engines.kind_of("/a/other", "--n-prompt --n-gen  -gp <pp,tg>"), "llama-bench with -gp")
        self.assertEqual(engines.kind_of("/a/moxie", "usage: moxie COMMAND"), "moxie")
        self.assertEqual(engines.kind_of("/usr/bin/python3.11", ""), "python")
        with self.assertRaises(Failure):
            engines.kind_of("/bin/true", "usage: true")

    def test_bad_engines(self):
        for text in ("", "name=", "=/bin/true", "x=/does/not/exist"):
            with self.subTest(text), self.assertRaises(Failure):
                engines.parse_engine(text)

    def test_names(self):
        self.assertEqual(Test(512, 0, 0).name, "pp512")
        self.assertEqual(Test(0, 64, 4096).name, "tg64 @ d4096")

    def test_tests_of_a_command_line(self):
        args = compare.parse_args(["M", "-p", "512,0", "-n", "64", "-d", "0,4096"])
        self.assertEqual(compare.tests_of(args), [Test(512, 0, 0), Test(0, 64, 0), Test(0, 64, 4096)])


class Answers(unittest.TestCase):
    def test_llama_bench(self):
        text = 'loading\n[\n  {"build_commit": "abc", "samples_ts": [ 10.5, 11.5 ]}\n]\n'
        self.assertEqual(engines.parse_answer("llama-bench", text), ([10.5, 11.5], "abc", None))

    def test_moxie(self):
        text = json.dumps([{"tokens_per_s_all": [2.0], "share": 0.75, "version": "1.0"}], indent=2)
        self.assertEqual(engines.parse_answer("moxie", text), ([2.0], "1.0", 0.75))

    def test_what_is_no_answer(self):
        for text in ("", "not json", "{}", "[]", "[1, 2]", '[{"samples_ts": []}]', '[{"samples_ts": [0]}]', '[{"samples_ts": ["1"]}]', "[{}, {}]"):
            with self.subTest(text), self.assertRaises(Failure):
                engines.parse_answer("llama-bench", text)


def runs(*rates):
    return [{"error": "lost"} if rate is None else {"rate": rate, "other_load": 0.0, "share": rate / 100} for rate in rates]


def result_of(ours, theirs, machine_name="box"):
    row = {"file": "M", "test": "tg64", "threads": 2, "runs": {"a": runs(*ours), "b": runs(*theirs)}}
    listed = [{"name": name, "command": [name], "version": ""} for name in "ab"]
    return {"machine": machine_name, "engines": listed, "rows": [row]}


class Figures(unittest.TestCase):
    def test_ratios_are_of_rounds(self):
        # Medians 20 and 10 would say 2.0; within rounds the machine's change of speed cancels.
        result = result_of((10, 20, 30), (10, 10, 10))
        compare.add_figures(result)
        row = result["rows"][0]
        self.assertEqual(row["rates"]["a"], {"median": 20, "least": 10, "most": 30})
        self.assertEqual(row["ratios"]["b"], {"median": 2.0, "least": 1.0, "most": 3.0})
        self.assertEqual(row["share"], 0.2)
        drifting = result_of((10, 40, 30), (5, 20, 10))
        compare.add_figures(drifting)
        self.assertEqual(drifting["rows"][0]["ratios"]["b"], {"median": 2.0, "least": 2.0, "most": 3.0})

    def test_a_failed_run_drops_its_round(self):
        result = result_of((10, 20), (None, 10))
        text = compare.markdown(result)
        self.assertEqual(result["rows"][0]["ratios"]["b"]["median"], 2.0)
        self.assertIn("b, M, tg64: 1 of 2 runs failed", text)

    def test_an_engine_that_never_answers(self):
        result = result_of((10, 20), (None, None))
        self.assertIn("| none | none |", compare.markdown(result))
        self.assertNotIn("b", result["rows"][0]["ratios"])

    def test_parts_become_one_row(self):
        merged = compare.merge([result_of((10,), (5,)), result_of((20,), (5,))])
        compare.add_figures(merged)
        self.assertEqual(len(merged["rows"]), 1)
        self.assertEqual(merged["rows"][0]["ratios"]["b"], {"median": 3.0, "least": 2.0, "most": 4.0})
        self.assertEqual(merged["machine"], "box")
        self.assertEqual(len(merged["engines"]), 2)
        self.assertEqual(compare.merge([result_of((1,), (1,)), result_of((1,), (1,), "crate")])["machine"], "box; crate")

    def test_disturbed_figures_are_marked(self):
        result = result_of((10,), (5,))
        self.assertNotIn("*", compare.markdown(result))
        result["rows"][0]["runs"]["b"][0]["other_load"] = 0.8
        text = compare.markdown(result)
        self.assertIn("| M | tg64 * |", text)
        self.assertIn("up to 0.8 processors", text)

    def test_busiest(self):
        before = {"1": ("a", 0), "2": ("b", 100), "3": ("c", 5)}
        after = {"1": ("a", machine.TICKS), "2": ("b", 100), "4": ("new", 50), "3": ("c", 5 + 3 * machine.TICKS)}
        self.assertEqual(machine.busiest(before, after, 2.0), [(1.5, "c"), (0.5, "a")])


class Whole(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def fake(self, name, kind, rates):
        path = self.folder / name
        key = "tokens_per_s_all" if kind == "moxie" else "samples_ts"
        path.write_text(FAKE.format(python=sys.executable, folder=str(self.folder), name=name, help=HELPS[kind], key=key))
        path.chmod(0o755)
        path.with_suffix(".rates").write_text(json.dumps(rates))
        return f"{name}={path}"

    def run_compare(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", ["compare.py", *arguments]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = compare.main()
        return status, out.getvalue(), err.getvalue()

    def test_engines_take_turns(self):
        ours, peer = self.fake("ours", "moxie", [30, 40, 50]), self.fake("peer", "bench", [10, 10, 10])
        status, out, _ = self.run_compare("M", "--moxie", ours, "--peer", peer, "-p", "0", "-n", "8", "-t", "2", "--rounds", "3", "-o", "json")
        self.assertEqual(status, 0)
        order = [line.split()[0] for line in (self.folder / "log").read_text().splitlines()]
        self.assertEqual(order, ["ours", "peer"] * 3)
        result = json.loads(out)
        self.assertEqual(result["rows"][0]["ratios"]["peer"], {"median": 4.0, "least": 3.0, "most": 5.0})
        self.assertEqual(result["rows"][0]["share"], 0.5)
        self.assertEqual([engine["version"] for engine in result["engines"]], ["7", "7"])
        part = self.folder / "part.json"
        part.write_text(out)
        status, text, _ = self.run_compare("--from", str(part))
        self.assertEqual(status, 0)
        self.assertIn("| M | tg8", text)
        self.assertIn("| 4.00 (3.00 - 5.00) |", text)
        self.assertIn("Linux", text)

    def test_a_peer_that_fails_is_named(self):
        ours, peer = self.fake("ours", "moxie", [30]), self.fake("peer", "bench", [None])
        status, out, err = self.run_compare("M", "--moxie", ours, "--peer", peer, "-p", "16", "-n", "0", "--rounds", "1")
        self.assertEqual(status, 1)
        self.assertIn("out of luck", out)
        self.assertIn("exit status 3", err)

    def test_others_are_noticed(self):
        with mock.patch.object(machine, "others", return_value=(1.5, [(1.4, "cc1plus")])):
            _, _, err = self.run_compare("M", "--moxie", self.fake("ours", "moxie", [1]), "-p", "4", "-n", "0", "--rounds", "1")
        self.assertIn("1.5 processors are busy with others (cc1plus 1.4)", err)

    def test_a_busy_child_is_seen(self):
        child = os.fork()
        if child == 0:
            while True:
                pass
        try:
            load, names = machine.others(0.5)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        self.assertGreater(load, 0)
        self.assertTrue(names)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len({getattr(case, "test_case", case).id() for case, _ in result.failures + result.errors})
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
