"""Models of a hub that are run by name: `-hf` downloads them, `hf:` asks on a terminal and names the command elsewhere."""

import os
import pty
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from hub_testing import PROGRAM, HubTest, main  # noqa: E402

MODEL = (Path(__file__).resolve().parents[1] / "data/golden/mixtral/q8_0.gguf").read_bytes()
RUN = ("--ids", "1,2,3", "-n", "2", "--temp", "0")


class Run(HubTest):
    def on_a_terminal(self, answer, *arguments):
        """Exit status, and everything the terminal showed."""
        screen, terminal = pty.openpty()
        process = subprocess.Popen([PROGRAM, *arguments], env=self.environment(), stdin=terminal, stdout=terminal,
                                   stderr=terminal, cwd=self.folder)
        os.close(terminal)
        shown, answered = "", False
        while True:
            try:
                piece = os.read(screen, 4096)
            except OSError:
                break
            shown += piece.decode(errors="replace")
            if not answered and "[y/N]" in shown:
                os.write(screen, (answer + "\n").encode())
                answered = True
        os.close(screen)
        return process.wait(timeout=60), shown

    def test_hf_downloads_and_the_next_run_has_it(self):
        self.hub.add("org/one", {"m.Q8_0.gguf": MODEL})
        code, _, err = self.run_moxie("run", "-hf", "org/one", *RUN)
        self.assertEqual(code, 0, err)
        self.assert_cached("org/one")
        before = len(self.hub.requests)
        code, _, err = self.run_moxie("run", "-hf", "org/one:Q8_0", *RUN)
        self.assertEqual(code, 0, err)
        code, _, err = self.run_moxie("run", "hf:org/one", *RUN)
        self.assertEqual(code, 0, err)
        self.assertEqual(len(self.hub.requests), before)

    def test_of_several_models_hf_takes_the_usual_one(self):
        files = {f"m.{name}.gguf": MODEL + name.encode() for name in ("Q2_K", "Q4_K_M", "Q8_0")}
        self.hub.add("org/several", files)
        code, _, err = self.run_moxie("run", "-hf", "org/several", *RUN)
        self.assertEqual(code, 0, err)
        self.assertIn("Q4_K_M is taken", err)
        self.assert_cached("org/several", ["m.Q4_K_M.gguf"])
        code, _, err = self.run_moxie("run", "--hf-repo", "org/several", "--hf-file", "m.Q2_K.gguf", *RUN)
        self.assertEqual(code, 0, err)
        self.assert_cached("org/several", ["m.Q4_K_M.gguf", "m.Q2_K.gguf"])

    def test_where_no_one_is_usual_the_names_are_said(self):
        self.hub.add("org/odd", {f"m.{name}.gguf": MODEL + name.encode() for name in ("Q2_K", "Q8_0")})
        code, _, err = self.run_moxie("run", "-hf", "org/odd", *RUN)
        self.assertEqual(code, 2)
        self.assertIn("hf:org/odd:Q2_K", err)
        self.assertEqual(self.hub.count("storage", "GET"), 0)

    def test_a_script_gets_the_command(self):
        self.hub.add("org/one", {"m.Q8_0.gguf": MODEL})
        code, _, err = self.run_moxie("run", "hf:org/one", *RUN)
        self.assertEqual(code, 3)
        self.assertIn("moxie pull org/one", err)
        self.assertEqual(self.hub.requests, [])

    def test_a_user_is_asked(self):
        self.hub.add("org/one", {"m.Q8_0.gguf": MODEL})
        code, shown = self.on_a_terminal("n", "run", "hf:org/one", *RUN)
        self.assertEqual(code, 3, shown)
        self.assertIn("moxie pull org/one", shown)
        self.assertEqual(self.hub.count("storage", "GET"), 0)
        code, shown = self.on_a_terminal("y", "run", "hf:org/one", *RUN)
        self.assertEqual(code, 0, shown)
        self.assertIn("m.Q8_0.gguf", shown)
        self.assertIn("KiB", shown)
        self.assert_cached("org/one")

    def test_offline_nothing_is_asked_or_fetched(self):
        self.hub.add("org/one", {"m.Q8_0.gguf": MODEL})
        code, _, err = self.run_moxie("run", "-hf", "org/one", *RUN, HF_HUB_OFFLINE="1")
        self.assertEqual(code, 3, err)
        self.assertEqual(self.hub.requests, [])

    def test_a_gated_model_takes_the_token(self):
        self.hub.add("org/gated", {"m.Q8_0.gguf": MODEL}, gated=True)
        code, _, err = self.run_moxie("run", "-hf", "org/gated", *RUN)
        self.assertNotEqual(code, 0)
        code, _, err = self.run_moxie("run", "-hf", "org/gated", "-hft", self.hub.token, *RUN)
        self.assertEqual(code, 0, err)

    def test_what_does_not_go_together_is_refused(self):
        for arguments in (("-hf", "org/one", "-m", "x.gguf"), ("--hf-file", "x.gguf"),
                          ("-hf", "org/one:Q8_0", "--hf-file", "m.Q2_K.gguf"), ("-hf", "../one")):
            code, _, err = self.run_moxie("run", *arguments, *RUN)
            self.assertEqual(code, 2, err)


if __name__ == "__main__":
    main()
