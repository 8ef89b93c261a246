"""Models that mlx-lm quantized give the distribution that MLX gives for them, on the CPU and in float32."""

import unittest

import peers

# What 8-bit activations cost where no close choice of experts tips: a tip at one position changes those after it too,
# and how many there are is luck (docs/experiments.md, entry 2). Other widths are multiplied in float.
MAX_KL_OF_THREE_QUARTERS = 1e-3
MAX_MEAN_KL_FLOAT = 1e-6
TOKENS = 128
CHUNKS = 4

FORMS = {
    **{f"affine_{bits}_{group}": ("affine", bits, group) for bits in (4, 8) for group in (32, 64, 128)},
    **{f"affine_{bits}_64": ("affine", bits, 64) for bits in (2, 3, 5, 6)},
    "affine_3_128": ("affine", 3, 128),
    "mxfp4": ("mxfp4", 4, 32),
    "mxfp8": ("mxfp8", 8, 32),
    "nvfp4": ("nvfp4", 4, 16),
}  # fmt: skip
NATIVE = ("affine_4", "affine_8", "mxfp4")


class Mlx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("mlx", "mlx_lm", "numpy")

    def divergence(self, folder):
        import mlx_models
        import numpy as np

        ids = [int(i) for i in peers.moxie("tokenize", folder, "-f", peers.text_file(), "--ids").split(b",")]
        model = mlx_models.load(folder)
        all_positions = []
        for start in range(1, 1 + CHUNKS * (TOKENS - 1), TOKENS - 1):
            chunk = [ids[0], *ids[start : start + TOKENS - 1]]
            expected = mlx_models.logits(model, chunk)
            all_positions.append(peers.kl_divergence(expected, peers.moxie_logits(folder, chunk, *peers.FLOAT_CACHE)))
        return np.concatenate(all_positions)

    def check(self, folder, float_activations=False):
        import numpy as np

        divergences = self.divergence(folder)
        mean, quarters = float(np.mean(divergences)), [float(np.quantile(divergences, q)) for q in (0.5, 0.75)]
        print(f"KL {folder.name}: mean {mean:.2e}, median {quarters[0]:.2e}, at three quarters {quarters[1]:.2e}")
        if float_activations:
            self.assertLessEqual(mean, MAX_MEAN_KL_FLOAT)
        self.assertLessEqual(quarters[1], MAX_KL_OF_THREE_QUARTERS)

    def test_experts_one_by_one_are_the_same_model(self):
        """The form of conversions before May 2024."""
        import mlx_models

        stacked = mlx_models.quantize(peers.demo_model(), peers.work_folder() / "stacked", 4, 64)
        single = mlx_models.quantize(peers.demo_model(), peers.work_folder() / "single", 4, 64)
        mlx_models.split_experts(single)
        ids = list(range(1, 64))
        a, b = (peers.moxie_logits(folder, ids) for folder in (stacked, single))
        self.assertTrue((a == b).all())

    def test_gpt_oss(self):
        """Made by mlx-lm of the published form: its MXFP4 kept, and everything in 4 bits."""
        import json
        import shutil

        import mlx_models
        import numpy as np

        golden = peers.ROOT / "tests/data/golden/gpt_oss-published"
        ids = json.loads((golden / "golden.json").read_text())["prompt_ids"]
        source = peers.work_folder() / "gpt-oss"
        shutil.copytree(golden, source, dirs_exist_ok=True)
        config = json.loads((source / "config.json").read_text())
        del config["rope_parameters"]  # which mlx-lm has under older names
        (source / "config.json").write_text(json.dumps(config | {"rope_theta": 150000.0, "rope_scaling": None}))
        keep_experts = lambda path, module: hasattr(module, "to_quantized") and ".experts" not in path  # noqa: E731
        for name, predicate in (("kept", keep_experts), ("all", None)):
            with self.subTest(name):
                folder = mlx_models.quantize(source, peers.work_folder() / f"gpt-oss-{name}", 4, 32, "affine", predicate)
                expected = mlx_models.logits(mlx_models.load(folder), ids)
                decoded = peers.work_folder() / f"gpt-oss-{name}.gguf"
                peers.moxie("convert", folder, decoded, "--type", "f32")
                # As stored, 8-bit activations make up the difference, in a model of random weights.
                for path, share in ((decoded, 1e-5), (folder, 0.05)):
                    found = peers.moxie_logits(path, ids, *peers.FLOAT_CACHE)
                    self.assertLess(np.abs(found - expected).max(), share * np.ptp(expected))

    def test_a_router_that_is_not_quantized(self):
        import mlx_models

        folder = mlx_models.quantize(
            peers.demo_model(), peers.work_folder() / "router", 4, 64, "affine",
            lambda path, module: hasattr(module, "to_quantized") and not path.endswith(".gate"),
        )  # fmt: skip
        self.check(folder)


def _add_case(name, mode, bits, group):
    def case(self):
        import mlx_models

        folder = mlx_models.quantize(peers.demo_model(), peers.work_folder() / name, bits, group, mode)
        self.check(folder, float_activations=not name.startswith(NATIVE))

    setattr(Mlx, f"test_{name}", case)


for _name, _form in FORMS.items():
    _add_case(_name, *_form)


if __name__ == "__main__":
    unittest.main()
