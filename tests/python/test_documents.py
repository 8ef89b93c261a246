"""The snippets of docs/python.md run as they stand."""

import contextlib
import io
import os
import re
import unittest

from support import ROOT


class Documents(unittest.TestCase):
    def test_snippets(self):
        text = (ROOT / "docs" / "python.md").read_text()
        snippets = re.findall(r"```python\n(.*?)```", text, re.S)
        self.assertGreaterEqual(len(snippets), 5)
        before = os.getcwd()
        os.chdir(ROOT)
        self.addCleanup(os.chdir, before)
        for snippet in snippets:
            with self.subTest(snippet.split("\n")[0]), contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(snippet, "docs/python.md", "exec"), {})
                self.assertTrue(out.getvalue().strip())
