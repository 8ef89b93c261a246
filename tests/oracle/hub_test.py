"""The cache, shared both ways with Python's huggingface_hub, against the same local server."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hub"))
from hub_testing import HubTest, noise  # noqa: E402

try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None

MB = 1 << 20
FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "tokenizer.json": noise(100000, 3),
    "model-00001-of-00002.safetensors": noise(9 * MB, 1),
    "model-00002-of-00002.safetensors": noise(5 * MB, 2),
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
}


@unittest.skipIf(huggingface_hub is None, "huggingface_hub is not there")
class SharedCache(HubTest):
    def setUp(self):
        super().setUp()
        self.repo = self.hub.add("org/model", FILES)

    def python(self, code, **environment):
        """What Python code prints, run with the environment of the hub's server."""
        environment = self.environment(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1",
                                       HF_HUB_DISABLE_UPDATE_CHECK="1", **environment)
        done = subprocess.run([sys.executable, "-c", "from huggingface_hub import *\n" + code], env=environment,
                              capture_output=True, text=True, timeout=120, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_what_moxie_pulled_python_finds_without_the_network(self):
        folder = self.pull("org/model")
        asked = len(self.hub.requests)
        for path, data in FILES.items():
            found = self.python(f"print(hf_hub_download('org/model', '{path}', local_files_only=True))")
            self.assertEqual(Path(found), Path(folder) / path)
            self.assertEqual(Path(found).read_bytes(), data)
        found = self.python("print(snapshot_download('org/model', local_files_only=True))", HF_HUB_OFFLINE="1")
        self.assertEqual(Path(found), Path(folder))
        # It may look for a newer version of itself, but asks for no file.
        self.assertEqual([p for _, _, p, _ in self.hub.requests[asked:] if "org/model" in p], [])

    def test_python_sees_nothing_to_do_and_nothing_wrong(self):
        self.pull("org/model")
        before = self.hub.count("storage", "GET")
        self.python("snapshot_download('org/model')")
        self.assertEqual(self.hub.count("storage", "GET"), before)
        told = self.python("c = scan_cache_dir()\n"
                           "print(len(c.repos), len(c.warnings), sum(r.nb_files for r in c.repos), c.size_on_disk)\n"
                           "print(*[sorted(v.refs) for r in c.repos for v in r.revisions])")
        self.assertEqual(told.splitlines(), [f"1 0 {len(FILES)} {sum(map(len, FILES.values()))}", "['main']"])

    def test_what_python_downloaded_moxie_takes(self):
        folder = self.python("print(snapshot_download('org/model'))")
        before = len(self.hub.requests)
        self.assertEqual(self.pull("org/model", HF_HUB_OFFLINE="1"), folder)
        self.assertEqual(len(self.hub.requests), before)
        files = self.hub.count("storage", "GET")
        code, out, err = self.run_moxie("pull", "org/model", "--verify")
        self.assertEqual((code, out.strip()), (0, folder), err)
        self.assertIn("everything was there", err)
        self.assertEqual(self.hub.count("storage", "GET"), files)

    def test_halves_by_each(self):
        first, second = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
        self.python(f"hf_hub_download('org/model', '{first}')")
        folder = self.pull("org/model")
        self.assertTrue(all((Path(folder) / path).read_bytes() == data for path, data in FILES.items()))
        fetched = {p.split("?")[0].rsplit("/", 1)[1] for o, m, p, _ in self.hub.requests if o == "storage"}
        self.assertEqual(fetched, {first, second, "tokenizer.json"})
        self.assertEqual(self.hub.count("storage", "GET", first), 1)

    def test_local_folder(self):
        self.pull("org/model", "--all-files", "--local-dir", "here")
        before = self.hub.count("storage", "GET")
        self.python("snapshot_download('org/model', local_dir='here')")
        self.assertEqual(self.hub.count("storage", "GET"), before)
        self.python("snapshot_download('org/model', local_dir='there')")
        before = self.hub.count("storage", "GET")
        _, _, err = self.run_moxie("pull", "org/model", "--all-files", "--local-dir", "there")
        self.assertIn("everything was there", err)
        self.assertEqual(self.hub.count("storage", "GET"), before)

    def test_both_at_once(self):
        self.hub.bytes_a_second = 4 * MB
        process = self.start("pull", "org/model")
        folder = self.python("print(snapshot_download('org/model'))")
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out.strip()), (0, folder), err)
        self.assert_cached("org/model")

    def test_partial_files_of_elder_versions(self):
        """They wrote <etag>.incomplete, as moxie does: what this version of Python leaves of them is no obstacle."""
        digest = {p: __import__("hashlib").sha256(d).hexdigest() for p, d in FILES.items()}
        name = "model-00001-of-00002.safetensors"
        partial = self.repo_folder("org/model") / "blobs" / f"{digest[name]}.incomplete"
        partial.parent.mkdir(parents=True)
        partial.write_bytes(FILES[name][: 8 * MB])
        self.pull("org/model")
        self.assert_cached("org/model")
        self.assertFalse(os.path.exists(partial))
