#!/usr/bin/env python3
"""memory_promise.py PROGRAM: a run stays within its --memory, as the kernel counts it, and says the same as one without a budget; so
does every other command that runs a model.

The demo model, and two layers of Mixtral 8x7B's shape in a file without data (every weight is zero: enough for memory). Contexts are
filled, so that all that was accounted for is touched. Needs the standard library alone.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
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


def ended(process):
    """Exit status of a process and the peak of its memory in bytes."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def least_budget(*command):
    """The least --memory that `moxie COMMAND` says it takes, and a little: what the program itself takes differs from run to run."""
    refused = subprocess.run([PROGRAM, *map(str, command), "--memory", "1M"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = re.search(r"the least that works is --memory (\d+)M", refused.stderr)
    if refused.returncode != 7 or not found:
        raise AssertionError(f"{command}: exit status {refused.returncode}: {refused.stderr}")
    return (int(found[1]) + 2) << 20


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=120) as answer:
        return json.load(answer)


def await_model(address):
    for _ in range(1200):
        try:
            return ask(address + "/health")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        time.sleep(0.1)
    raise AssertionError("the model is not open after two minutes")


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

    def test_every_command_that_runs_a_model(self):
        text = ROOT / "tests/data/models/tinystories-valid-24.txt"
        with tempfile.TemporaryDirectory() as folder:
            some = Path(folder) / "some.txt"
            some.write_bytes(text.read_bytes()[:4000])
            at = lambda name: Path(folder) / name  # noqa: E731
            common = ("-c", 256, "-t", 2, "--no-warm")
            commands = {
                "logits": ("logits", DEMO, "-f", some, "-c", 1536, "-o", at("l.npy"), "-t", 2, "--no-warm"),
                "perplexity": ("perplexity", DEMO, "-f", text, "--chunks", 3, *common),
                "profile": ("profile", DEMO, "-f", some, "-o", at("p.json"), *common),
                "routers": ("profile", DEMO, "-f", some, "-o", at("r.json"), "--router-only", *common),
                "imatrix": ("imatrix", DEMO, "-f", text, "--chunks", 3, "-o", at("i.gguf"), "--force", *common),
                "bench": ("bench", DEMO, "-p", 200, "-n", 8, "-r", 1, "-t", 2),
                "chat": ("chat", DEMO, "-n", 200, "--temp", 0, "--ignore-eos", *common),
            }
            for name, command in commands.items():
                for more in (0, 12 << 20):
                    budget = least_budget(*command) + more
                    with self.subTest(f"{name}, {budget} bytes"), open(at("said"), "w+") as said:
                        process = subprocess.Popen([PROGRAM, *map(str, command), "--memory", str(budget)], text=True,
                                                   stdin=subprocess.PIPE, stdout=said, stderr=said)
                        if name == "chat":
                            process.stdin.write("Tell me a story.\nAnd another.\n")
                        process.stdin.close()
                        status, peak = ended(process)
                        said.seek(0)
                        self.assertEqual(status, 0, said.read())
                        self.assertGreater(peak, 20 << 20)
                        self.assertLessEqual(peak, budget)

    def test_a_server(self):
        command = ("serve", DEMO, "-c", 256, "-np", 2, "-t", 2, "--no-warm", "--port", 0)
        for more in (0, 12 << 20):
            budget = least_budget(*command) + more
            with self.subTest(f"{budget} bytes"):
                process = subprocess.Popen([PROGRAM, *map(str, command), "--memory", str(budget)], text=True,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                try:
                    address = None
                    while not address:
                        line = process.stdout.readline()
                        self.assertNotEqual(line, "", "it ended")
                        address = re.search(r"http://[0-9.]+:\d+", line)
                    await_model(address[0])
                    body = {"prompt": "Once upon a time " * 20, "n_predict": 100, "ignore_eos": True, "temperature": 0}
                    for _ in range(2):
                        self.assertEqual(ask(address[0] + "/completion", body)["tokens_predicted"], 100)
                finally:
                    process.terminate()
                    process.stdout.read()
                    status, peak = ended(process)
                    process.stdout.close()
                self.assertEqual(status, 0)
                self.assertLessEqual(peak, budget)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len({getattr(case, "test_case", case).id() for case, _ in result.failures + result.errors})
    for case, _ in result.failures + result.errors:
        print(f"FAILED {case}")
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
