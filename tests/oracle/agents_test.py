"""The Python of docs/agents.md runs against `moxie serve`, and what the page says of coding agents' requests holds."""

import importlib.util
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/server"))
from support import Server  # noqa: E402

PAGE = (ROOT / "docs/agents.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


class Agents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", 2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_python_of_the_page(self):
        self.assertEqual(len(BLOCKS), 4)
        for block in BLOCKS:
            package = re.search(r"from (\w+)", block)[1]
            with self.subTest(package=package):
                if importlib.util.find_spec(package) is None:
                    self.skipTest(f"the package {package} is not here")
                self.assertIn("127.0.0.1:8080", block)
                code = block.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}")
                run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
                self.assertEqual(run.returncode, 0, run.stderr[-2000:])
                self.assertTrue(run.stdout.strip())

    def test_tools_that_are_no_functions_are_left_out(self):
        # As Codex CLI sends them.
        tools = [{"type": "web_search"}, {"type": "local_shell"}, {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
        answer = self.server.post("/v1/responses", {"model": "any", "input": "Hello", "tools": tools, "max_output_tokens": 8})
        self.assertEqual(answer.status, 200, answer.text)

    def test_a_line_that_changes_with_each_request_does_not_cost_the_prefix(self):
        # As Claude Code sends it.
        def ask(number):
            system = [{"type": "text", "text": f"x-anthropic-billing-header: cch={number}"}, {"type": "text", "text": "You are a patient helper. " * 20}]
            body = {"model": "any", "max_tokens": 2, "system": system, "messages": [{"role": "user", "content": "Hello"}]}
            answer = self.server.post("/v1/messages", body)
            self.assertEqual(answer.status, 200, answer.text)
            return answer.json()["usage"]

        ask(1)
        again = ask(2)
        self.assertLess(again["input_tokens"], 8, again)
        self.assertGreater(again["cache_read_input_tokens"], 50, again)


if __name__ == "__main__":
    unittest.main()
