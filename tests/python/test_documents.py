"""The snippets of docs/python.md and docs/python/ run as they stand, and so does the example."""

import contextlib
import importlib.util
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import warnings

from support import ROOT


class Documents(unittest.TestCase):
    def setUp(self):
        before = os.getcwd()
        os.chdir(ROOT)
        self.addCleanup(os.chdir, before)

    def test_snippets(self):
        pages = [ROOT / "docs" / "python.md", *sorted((ROOT / "docs" / "python").glob("*.md"))]
        self.assertGreaterEqual(len(pages), 10)
        for page in pages:
            snippets = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
            self.assertTrue(snippets, page)
            for snippet in snippets:
                if "plot" in snippet and not importlib.util.find_spec("matplotlib"):
                    continue
                with self.subTest(f"{page.name}: {snippet.splitlines()[0]}"), warnings.catch_warnings():
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        exec(compile(snippet, str(page), "exec"), {"__name__": "snippet"})
                    self.assertTrue(out.getvalue().strip())

    def test_every_public_class_has_a_page(self):
        import moxie

        text = "".join(page.read_text() for page in (ROOT / "docs" / "python").glob("*.md"))
        self.assertEqual([name for name in moxie.__all__ if name[0] != "_" and not re.search(rf"\b{name}\b", text)], [])

    def test_the_example(self):
        if not importlib.util.find_spec("matplotlib"):
            self.skipTest("needs matplotlib")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, str(ROOT / "examples" / "experts.py"), "models/demo", folder], capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("TensorMetadata(model_id='models/demo'", done.stdout)
            for name in ("expert_map.png", "hit_rates.png"):
                made, kept = (pathlib.Path(at) / name for at in (folder, ROOT / "examples" / "experts"))
                self.assertEqual(made.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
                self.assertLess(kept.stat().st_size, 64 << 10)
