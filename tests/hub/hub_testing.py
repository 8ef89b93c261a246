"""What the tests of the hub share: a server, a cache of their own, the program."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from counted import run  # noqa: E402
from hub_server import Hub  # noqa: E402

PROGRAM = os.environ.get("MOXIE_PROGRAM", "moxie")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
          "HF_HUB_ENABLE_HF_TRANSFER", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


class HubTest(unittest.TestCase):
    def setUp(self):
        self.hub = self.enterContext(Hub()) if hasattr(self, "enterContext") else self.enter(Hub())
        self.folder = Path(self.enter_folder())
        self.cache = self.folder / "home" / "hub"

    def enter(self, manager):
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def enter_folder(self):
        folder = tempfile.TemporaryDirectory(prefix="moxie-hub-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def environment(self, **more):
        environment = {k: v for k, v in os.environ.items()
                       if k not in TOKENS + CERTIFICATES and not k.lower().endswith("_proxy")}
        return environment | {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.folder / "home")} | more

    def start(self, *arguments, **environment):
        return subprocess.Popen([PROGRAM, *map(str, arguments)], env=self.environment(**environment), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                cwd=self.folder)

    def run_moxie(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def pull(self, *arguments, status=0, **environment):
        code, out, err = self.run_moxie("pull", *arguments, **environment)
        self.assertEqual(code, status, f"{out}\n{err}")
        return out.strip() if status == 0 else err

    def repo_folder(self, name):
        return self.cache / ("models--" + name.replace("/", "--"))

    def assert_cached(self, name, files=None):
        """Every file of the repository lies in the cache as huggingface_hub would have put it."""
        repo = self.hub.repos[name]
        folder = self.repo_folder(name)
        self.assertEqual((folder / "refs" / "main").read_text(), repo.commit)
        for path in files if files is not None else repo.files:
            link = folder / "snapshots" / repo.commit / path
            self.assertTrue(link.is_symlink(), path)
            blob = Path(os.readlink(link))
            self.assertFalse(blob.is_absolute(), blob)
            self.assertEqual((link.parent / blob).resolve().parent, (folder / "blobs").resolve())
            self.assertEqual(link.read_bytes(), repo.files[path], path)
        self.assert_no_rubbish(folder)

    def assert_no_rubbish(self, folder):
        """Under final names there is only what is right: a blob's name is its digest."""
        for blob in (folder / "blobs").iterdir() if (folder / "blobs").exists() else ():
            if blob.name.endswith(".incomplete"):
                continue
            data = blob.read_bytes()
            names = (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
            self.assertIn(blob.name, names)
        for link in (folder / "snapshots").rglob("*") if (folder / "snapshots").exists() else ():
            if link.is_symlink():
                self.assertTrue(link.exists(), f"{link} leads nowhere")


def main():
    run(unittest.defaultTestLoader.loadTestsFromName("__main__"))
