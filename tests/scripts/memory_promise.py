#!/usr/bin/env python3
"""memory_promise.py PROGRAM: a run stays within its --memory, as the kernel counts it, and says the same as one without a budget.

The demo model, and two layers of Mixtral 8x7B's shape in a file without data (every weight is zero: enough for memory). Contexts are
filled, so that all that was accounted for is touched. Needs the standard library alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1]
DEMO = ROOT / "models/demo"


def plan(model, *arguments):
    command = [PROGRAM, "plan", model, "--json", "--memory-bandwidth", "10", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(model, *arguments):
    """What a run printed, its statistics, and the peak of its memory in bytes as the kernel has it."""
    command = [PROGRAM, "run", model, "--temp", "0", "--ignore-eos", "--stats", "json", *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said = err.read().decode()
        if process.returncode != 0:
            raise AssertionError(f"exit status {process.returncode}: {said}")
        return out.read(), json.loads(said.splitlines()[-1]), usage.ru_maxrss * 1024


class Promise(unittest.TestCase):
    def check(self, model, budget, *arguments):
        text, stats, peak = run(model, "--memory", budget, *arguments)
        self.assertLessEqual(peak, budget)
        self.assertLessEqual(stats["rss_peak_bytes"], budget)
        self.assertEqual(stats["memory_budget_bytes"], budget)
        self.assertEqual(stats["mode"], "exact")
        return text, stats

    def test_demo(self):
        ids = ",".join(str(3 + i * 37 % 4000) for i in range(200))
        arguments = ("-c", 256, "--ids", ids, "-n", 56)
        expected, _, _ = run(DEMO, *arguments)
        made = plan(DEMO, "-c", 256)
        least, most = made["minimum_bytes"], made["resident_bytes"]
        streamed = 0
        for eighths in range(9):
            budget = least + (most - least) * eighths // 8
            with self.subTest(f"{budget} bytes"):
                text, stats = self.check(DEMO, budget, "--no-warm", *arguments)
                self.assertEqual(text, expected)
                streamed += stats["expert_misses"] > 0
        self.assertGreaterEqual(streamed, 4)

    def test_real_shape(self):
        ids = ",".join(str(3 + i * 37 % 31000) for i in range(124))
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "mixtral-2l.gguf"
            make = ROOT / "tools/synthetic/make_synthetic.py"
            command = [sys.executable, make, "--shape", "mixtral-2l", "--type", "q4_k_m", "--sparse", "-o", model]
            subprocess.run(command, check=True, capture_output=True)
            least = plan(model, "-c", 128)["minimum_bytes"]
            self.assertLess(least, 600 << 20)
            for budget in (least, 1 << 30):
                with self.subTest(f"{budget} bytes"):
                    arguments = ("-c", 128, "--ids", ids, "-n", 4)
                    text, stats = self.check(model, budget, "--no-warm", *arguments)
                    self.assertGreater(stats["expert_misses"], 0)
                    # Begins with what the smaller budget's run left.
                    self.assertEqual(self.check(model, budget, *arguments)[0], text)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len({getattr(case, "test_case", case).id() for case, _ in result.failures + result.errors})
    for case, _ in result.failures + result.errors:
        print(f"FAILED {case}")
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
