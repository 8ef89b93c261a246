"""moxie.hub: tensors in folders and GGUF files and on a hub (a server of the tests' own)."""

import dataclasses
import json
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np

import moxie
import moxie._hub_files
from moxie.hub import MixtralMoE, TensorMetadata
from support import DEMO, GOLDEN, Hub

ROUTER = "model.layers.1.block_sparse_moe.gate.weight"


class Local(unittest.TestCase):
    def test_a_folder(self):
        model = moxie.hub.open(DEMO)
        self.assertEqual((model.n_experts, model.n_layers), (8, 4))
        router = model.get_router_metadata(layer=1)
        self.assertEqual([field.name for field in dataclasses.fields(router)],
                         ["model_id", "tensor_name", "hf_filename", "local_path"])
        self.assertTrue(repr(router).startswith(f"TensorMetadata(model_id='{DEMO}', tensor_name='{ROUTER}', hf_filename="))
        self.assertEqual(router.load(torch=False).shape, (8, 256))
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


class Forms(unittest.TestCase):
    """The same weights in every form that files come in."""

    def whole(self, model, layer=0):
        """(experts, rows, columns) of the gate projections, and the router."""
        tensors = model.get_experts_metadata(layer)
        gates = [one.load(torch=False) for one in tensors if ".w1." in one.tensor_name or "ffn_gate." in one.tensor_name]
        merged = [one.load(torch=False) for one in tensors if "gate_exps" in one.tensor_name]
        stacked = [one.load(torch=False)[:, :32] for one in tensors if "gate_up_proj" in one.tensor_name]
        return (merged or stacked or [np.stack(gates)])[0], model.get_router_metadata(layer).load(torch=False)

    def test_they_hold_the_same(self):
        experts, router = self.whole(moxie.hub.open(str(GOLDEN / "mixtral")))
        self.assertEqual((experts.shape, router.shape), ((8, 32, 64), (8, 64)))
        self.assertEqual((experts.dtype, router.dtype), (np.float32, np.float32))
        for form in ("mixtral/merged.gguf", "mixtral/split.gguf", "mixtral-shards", "mixtral-stacked", "mixtral-consolidated"):
            with self.subTest(form):
                model = moxie.hub.open(str(GOLDEN / form))
                self.assertEqual((model.n_experts, model.n_layers), (8, 2))
                same_experts, same_router = self.whole(model)
                np.testing.assert_array_equal(same_experts, experts)
                np.testing.assert_array_equal(same_router, router)
        quantized, _ = self.whole(moxie.hub.open(str(GOLDEN / "mixtral" / "q8_0.gguf")))
        self.assertLess(np.abs(quantized - experts).max(), np.abs(experts).max() / 100)

    def test_every_family_and_quantized_checkpoints(self):
        families = {"olmoe": 8, "qwen2_moe": 6, "qwen3_moe": 8, "qwen3_moe/merged.gguf": 8, "olmoe/merged.gguf": 8,
                    "mixtral-gptq4": 8, "mixtral-awq": 8, "mixtral-fp8": 8, "mixtral-mlx4": 8, "mixtral-nf4": 8}  # fmt: skip
        for form, count in families.items():
            with self.subTest(form):
                model = moxie.hub.open(str(GOLDEN / form))
                self.assertEqual(model.get_router_metadata(0).load(torch=False).shape[0], count)
                for one in model.get_experts_metadata(1):
                    self.assertEqual(one.load(torch=False).shape, one.shape())
        with self.assertRaisesRegex(ValueError, "no experts"):
            moxie.hub.open(str(GOLDEN / "qwen2" / "bf16.gguf"))
        with self.assertRaisesRegex(ValueError, "ready classes are for"):
            moxie.hub.open(str(GOLDEN / "llama"))

    def test_the_package_safetensors_reads_the_same(self):
        try:
            from safetensors import safe_open
        except ImportError:
            self.skipTest("needs safetensors")

        path = str(GOLDEN / "mixtral-mlx-mxfp4" / "model.safetensors")
        model = moxie.hub.open(os.path.dirname(path))
        with safe_open(path, "np") as file:
            for one in model.get_experts_metadata(0):
                np.testing.assert_array_equal(one.load(torch=False), file.get_tensor(one.tensor_name))

    def test_a_torch_tensor(self):
        try:
            import torch
        except ImportError:
            self.skipTest("needs torch")
        made = moxie.hub.open(str(GOLDEN / "mixtral")).get_router_metadata(0).load(torch=True)
        self.assertEqual(made.dtype, torch.bfloat16)
        np.testing.assert_array_equal(made.float().numpy(), self.whole(moxie.hub.open(str(GOLDEN / "mixtral")))[1])


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
        moxie._hub_files.SOURCES.clear()
        self.files = {name: (pathlib.Path(DEMO) / name).read_bytes() for name in os.listdir(DEMO)}
        self.hub.add("org/demo", self.files)

    def test_a_tensor_by_its_bytes(self):
        router = moxie.hub.open("org/demo").get_router_metadata(layer=1)
        self.assertIsNone(router.local_path)
        values = router.load(remote=True, torch=False)
        np.testing.assert_array_equal(values, moxie.hub.open(DEMO).get_router_metadata(layer=1).load(torch=False))
        self.assertFalse(list(self.home.rglob("model.safetensors")))

    def fetched(self):
        """Bytes of weights that the hub's storage was asked for."""
        spans = [headers.get("Range") for origin, method, _, headers in self.hub.requests if (origin, method) == ("storage", "GET")]
        self.assertNotIn(None, spans)
        return sum(int(span.partition("=")[2].split("-")[1]) + 1 - int(span.partition("=")[2].split("-")[0]) for span in spans)

    def test_bytes_by_range_are_the_tensor_s_and_the_header_s(self):
        router = moxie.hub.open("org/demo").get_router_metadata(layer=1)
        with open(os.path.join(DEMO, "model.safetensors"), "rb") as file:
            header = 8 + int.from_bytes(file.read(8), "little")
        router.load(remote=True, torch=False)
        self.assertEqual(self.fetched(), header + router.size())
        router.load(remote=True, torch=False)
        self.assertEqual(self.fetched(), header + 2 * router.size())
        self.assertLess(header + router.size(), len(self.files["model.safetensors"]) // 500)

    def test_only_the_shard_that_holds_it(self):
        folder = GOLDEN / "mixtral-shards"
        self.hub.add("org/shards", {path.name: path.read_bytes() for path in folder.iterdir()})
        model = moxie.hub.open("org/shards")
        first, last = model.get_router_metadata(0), model.get_experts_metdata(1)[-1]
        self.assertNotEqual(first.hf_filename, last.hf_filename)
        self.assertIsNone(first.local_path)
        values = first.load(torch=False)
        np.testing.assert_array_equal(values, moxie.hub.open(str(folder)).get_router_metadata(0).load(torch=False))
        self.assertEqual([path.name for path in self.home.rglob("*.safetensors")], [first.hf_filename])
        again = model.get_router_metadata(0)
        self.assertEqual(pathlib.Path(again.local_path).name, first.hf_filename)
        self.assertIsNone(model.get_experts_metadata(1)[-1].local_path)

    def test_headers_that_lie(self):
        def made(header):
            text = header if isinstance(header, bytes) else json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + b"\0" * 64

        one = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
        lies = [b"", b"{", b"[]", {"x": []}, {"x": {**one, "data_offsets": [16, 0]}}, {"x": {**one, "data_offsets": [0]}},
                {"x": {**one, "data_offsets": ["a", 4]}}, {"x": {**one, "shape": [-1]}}, {"x": {**one, "data_offsets": [-9, 4]}}]  # fmt: skip
        for number, lie in enumerate(lies):
            with self.subTest(lie):
                self.hub.add(f"org/lie{number}", {"config.json": self.files["config.json"], "model.safetensors": made(lie)})
                with self.assertRaises((moxie.errors.Corrupt, KeyError)):
                    moxie.hub.open(f"org/lie{number}").metadata("x").load(remote=True, torch=False)
        self.hub.add("org/long", {"config.json": self.files["config.json"], "model.safetensors": b"\xff" * 8 + b"{}"})
        with self.assertRaisesRegex(moxie.errors.Corrupt, "limit"):
            moxie.hub.open("org/long")
        beyond = made({"x": {**one, "shape": [2, 200], "data_offsets": [0, 1600]}})
        self.hub.add("org/beyond", {"config.json": self.files["config.json"], "model.safetensors": beyond})
        with self.assertRaisesRegex(moxie.errors.Corrupt, "ends after"):
            moxie.hub.open("org/beyond").metadata("x").load(remote=True, torch=False)

    def test_a_declared_class(self):
        class Mine(moxie.hub.BaseMoE):
            model_id = "org/demo"
            n_experts = 8
            n_layers = 4
            expert_tensor_name_template = "model.layers.{}.block_sparse_moe.experts.{}.w1.weight"
            router_tensor_name_template = "model.layers.{}.block_sparse_moe.gate.weight"

        experts = Mine().get_experts_metdata(layer=2)
        self.assertEqual(len(experts), 8)
        self.assertEqual(
            experts[3],
            TensorMetadata("org/demo", "model.layers.2.block_sparse_moe.experts.3.w1.weight", "model.safetensors", None),
        )
        self.assertEqual(experts[3].size(), 2 * int(np.prod(experts[3].shape())))
        for layer in (4, -1):
            with self.assertRaises(IndexError):
                Mine().get_router_metadata(layer)
        self.assertEqual(MixtralMoE.model_id, "mistralai/Mixtral-8x7B-v0.1")

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
