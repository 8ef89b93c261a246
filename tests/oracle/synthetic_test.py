"""Synthetic models: their blocks decode to what was asked for, replicas have the published sizes, routing repeats as wanted."""

import json
import subprocess
import sys
import unittest

import peers

FOLDER = peers.ROOT / "tools/synthetic"
sys.path.insert(0, str(FOLDER))
# Size on the model card in GB; tensors are 995 in all of them.
CARD_GB = {
    "Q2_K": 15.64, "Q3_K_M": 20.36, "Q4_0": 26.44, "Q4_K_M": 26.44, "Q5_0": 32.23, "Q5_K_M": 32.23, "Q6_K": 38.38, "Q8_0": 49.62,
}  # fmt: skip


def make(script, *arguments):
    subprocess.run([sys.executable, FOLDER / script, *map(str, arguments)], check=True, capture_output=True)


def decoded(type_name, raw):
    import blocks
    import gguf
    import numpy as np

    kind = gguf.GGMLQuantizationType(blocks.TYPES[type_name].gguf_id)
    return gguf.quants.dequantize(np.asarray(raw, "u1").reshape(len(raw), -1), kind)


class Blocks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("numpy", "gguf")

    def test_deviation_and_mean(self):
        import blocks
        import numpy as np

        for name, kind in blocks.TYPES.items():
            if kind.elements == 1:
                continue
            with self.subTest(name):
                rng = np.random.Generator(np.random.SFC64(3))
                values = decoded(name, blocks.random_blocks(rng, name, 20000, 0.02))
                self.assertAlmostEqual(values.std(dtype="f8") / 0.02, 1, delta=0.01)
                self.assertLess(abs(values.mean(dtype="f8")) / 0.02 * values.size**0.5, 4)
                wanted = np.array([0.01, 0.0, 0.03, 0.0] * 500)
                each = decoded(name, blocks.random_blocks(rng, name, 2000, wanted))
                self.assertTrue((each[1::2] == 0).all())
                self.assertAlmostEqual(each[2::4].std() / each[0::4].std(), 3, delta=0.15)

    def test_pattern(self):
        import numpy as np
        import weights

        pattern = np.random.default_rng(4).integers(0, 16, 256)
        amplitudes = np.array([0.5, 0.0, -0.007])
        for name in ("q4_k", "q8_0"):
            with self.subTest(name):
                raw = weights.pattern_blocks(name, amplitudes, pattern)
                wanted = amplitudes[:, None] * (2 * pattern - 15)
                got = decoded(name, raw).reshape(3, 256)
                np.testing.assert_allclose(got, wanted, atol=0.005 * 15 * 0.5, rtol=0)
                np.testing.assert_allclose(got[2], wanted[2], atol=0.005 * 15 * 0.007, rtol=0)


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("numpy", "gguf", "safetensors")

    def test_published_files(self):
        import gguf

        for name, size in CARD_GB.items():
            with self.subTest(name):
                out = peers.work_folder() / "published.gguf"
                make("make_synthetic.py", "--published", name, "--sparse", "-o", out)
                self.assertAlmostEqual(out.stat().st_size / 1e9, size, delta=0.006)
                self.assertLess(out.stat().st_blocks * 512, 2e6)
                tensors = gguf.GGUFReader(out).tensors
                self.assertEqual(len(tensors), 995)
                self.assertEqual(sum(tensor.tensor_type.name == "F16" for tensor in tensors), 32)
                self.assertEqual(tensors[-1].data_offset + tensors[-1].n_bytes, out.stat().st_size)

    def test_mlx(self):
        import safetensors

        folder = peers.work_folder() / "mlx"
        make("make_mlx_replica.py", "-o", folder)
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        shapes = {}
        for path in folder.glob("*.safetensors"):
            with safetensors.safe_open(path, "np") as file:
                shapes |= {name: (path.name, file.get_slice(name).get_shape()) for name in file.keys()}
        self.assertEqual({name: file for name, (file, _) in shapes.items()}, index["weight_map"])
        self.assertAlmostEqual(index["metadata"]["total_size"] / 1e9, 26.27, delta=0.01)
        moe = "model.layers.31.block_sparse_moe.switch_mlp"
        self.assertEqual(shapes[f"{moe}.gate_proj.weight"][1], [8, 14336, 512])
        self.assertEqual(shapes[f"{moe}.down_proj.scales"][1], [8, 4096, 224])


class Routing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("numpy", "llama_cpp")

    def test_repetition_and_load(self):
        import random

        model, trace = peers.work_folder() / "routing.gguf", peers.work_folder() / "routing.tsv"
        make("make_synthetic.py", "--shape", "mixtral-32l-narrow", "--layers", 4, "--routing", "mixtral", "-o", model)
        draw = random.Random(5)
        ids = ",".join(str(draw.randrange(3, 32000)) for _ in range(512))
        command = [sys.executable, peers.ROOT / "bench/llama_cpp_run.py", model, "--ids", ids, "-n", "1", "-t", "1"]
        subprocess.run([*command, "--trace-routing", trace, "--trace-tokens"], check=True, capture_output=True)
        made = subprocess.run(
            [sys.executable, FOLDER / "routing_statistics.py", trace, "-o", "json"], check=True, capture_output=True
        )
        layers = json.loads(made.stdout)
        for layer, wanted in enumerate((0.14, 0.236, 0.267, 0.23)):  # Table 5 at this depth
            with self.subTest(layer):
                self.assertEqual(layers[str(layer)]["tokens"], 512)
                self.assertAlmostEqual(layers[str(layer)]["first_repeated"]["1"], wanted, delta=0.055)  # three deviations
                self.assertGreater(layers[str(layer)]["load_min"], 0.06)
                self.assertLess(layers[str(layer)]["load_max"], 0.19)


if __name__ == "__main__":
    unittest.main()
