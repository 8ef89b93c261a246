"""moxie.hub: tensors in folders and GGUF files and on a hub (a server of the tests' own)."""

import dataclasses
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

import moxie
from support import DEMO, GOLDEN, Hub, demo_gguf



ROUTER = "model.layers.1.block_sparse_moe.gate.weight"


class Local(unittest.TestCase):
    def test_a_folder(self):
        model = moxie.hub.open(DEMO)
        self.assertEqual((model.n_experts, model.n_layers), (8, 4))
        router = model.get_router_metadata(layer=1)
        self.assertEqual([field.name for field in dataclasses.fields(router)],
                         ["model_id", "tensor_name", "hf_filename", "local_path"])
        self.assertTrue(repr(router).startswith(f"TensorMetadata(model_id='{DEMO}', tensor_name='{ROUTER}', hf_filename="))
        self.assertEqual(router.load().shape, (8, 256))
        self.assertEqual(len(model.get_experts_metdata(layer=0)), 24)

    def test_routers_are_what_the_engine_computes_with(self):
        with moxie.Llama(DEMO, n_ctx=64, verbose=False) as llm:
            trace = llm.trace("Once upon a time")
            np.testing.assert_array_equal(np.argmax(trace.logits, -1), trace.experts[:, :, 0])
            np.testing.assert_allclose(trace.weights.sum(-1), 1, atol=1e-5)
            top = np.sort(trace.logits, -1)[:, :, :-3:-1]
            weights = np.exp(top) / np.exp(top).sum(-1, keepdims=True)
            np.testing.assert_allclose(trace.weights, weights, atol=1e-5)

    def test_errors(self):
        model = moxie.hub.open(DEMO)
        with self.assertRaisesRegex(IndexError, "0 to 3"):
            model.get_router_metadata(layer=4)
        with self.assertRaisesRegex(KeyError, "did you mean.*gate.weight"):
            model.metadata(ROUTER.replace("gate", "gat"))
        with self.assertRaises(ValueError):
            moxie.hub.BaseMoE()


class Remote(unittest.TestCase):
    def setUp(self):
        self.hub = Hub()
        self.hub.__enter__()
        self.addCleanup(self.hub.__exit__, None, None, None)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        clean = {"HF_ENDPOINT": self.hub.url, "HF_HOME": folder.name, "HF_HUB_OFFLINE": "", "HF_TOKEN": "", "HF_HUB_CACHE": ""}
        patch = mock.patch.dict(os.environ, {**clean, "no_proxy": "*"})
        patch.start()
        self.addCleanup(patch.stop)
        moxie.hub._SOURCES.clear()
        self.files = {name: (pathlib.Path(DEMO) / name).read_bytes() for name in os.listdir(DEMO)}
        self.hub.add("org/demo", self.files)

    def test_a_tensor_by_its_bytes(self):
        router = moxie.hub.open("org/demo").get_router_metadata(layer=1)
        self.assertIsNone(router.local_path)
        values = router.load(remote=True)
        np.testing.assert_array_equal(values, moxie.hub.open(DEMO).get_router_metadata(layer=1).load())
        self.assertFalse(list(self.home.rglob("model.safetensors")))

    def test_a_file_into_the_shared_cache(self):
        model = moxie.hub.open("org/demo")
        router = model.get_router_metadata(layer=1)
        path = router.download_file()
        self.assertEqual(pathlib.Path(path).read_bytes(), self.files["model.safetensors"])
        self.assertEqual(router.local_path, path)
        self.assertEqual(model.get_router_metadata(layer=0).local_path, path)
        self.assertTrue(os.path.islink(path))
        self.assertIn("models--org--demo/snapshots", path)

    def test_from_pretrained(self):
        with moxie.Llama.from_pretrained("org/demo", verbose=False, n_ctx=64) as llm:
            self.assertEqual(llm("Once upon a", max_tokens=1, temperature=0)["choices"][0]["text"], " time")
        with self.assertRaisesRegex(ValueError, "No file found.*config.json"):
            moxie.Llama.from_pretrained("org/demo", "*.gguf")

    def test_what_is_not_there(self):
        with self.assertRaises(moxie.MoxieError):
            moxie.hub.open("org/nothing")


class Plots(unittest.TestCase):
    def test_they_draw(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("needs matplotlib")
        with moxie.Llama(DEMO, n_ctx=64, verbose=False) as llm:
            trace = llm.trace("Once upon a time there was a cat")
        axes = moxie.plot.expert_map(trace)
        np.testing.assert_allclose(axes.images[0].get_array().sum(axis=1), 1)
        self.assertEqual(len(moxie.plot.hit_rate_curve(trace).lines[0].get_xdata()), 9)
        self.assertEqual(len(moxie.plot.reuse_curve(trace, windows=3).lines[0].get_xdata()), 3)


if __name__ == "__main__":
    unittest.main()
