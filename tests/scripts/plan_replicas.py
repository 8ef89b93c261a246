#!/usr/bin/env python3
"""plan_replicas.py PROGRAM: `moxie plan` on replicas of published Mixtral-8x7B files, headers alone, in a temporary folder.

What is compared with: the model card of the eight GGUF files of December 2023 (size, and the memory it says they need without a GPU),
and sums over the tensors' shapes for the 4-bit MLX checkpoint. Needs the standard library alone.
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1]

# File and "Max RAM required" in GB, as the card has them.
CARD_GB = {
    "Q2_K": (15.64, 18.14),
    "Q3_K_M": (20.36, 22.86),
    "Q4_0": (26.44, 28.94),
    "Q4_K_M": (26.44, 28.94),
    "Q5_0": (32.23, 34.73),
    "Q5_K_M": (32.23, 34.73),
    "Q6_K": (38.38, 40.88),
    "Q8_0": (49.62, 52.12),
}
# Weights beside the experts, kept experts with their scales, and a KV cache of 4096 tokens of two bytes.
MLX_GB = {2: 7.7, 4: 14.1, 6: 20.4, 8: 26.8}


def make(script, *arguments):
    command = [sys.executable, ROOT / "tools/synthetic" / script, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def run_plan(model, *arguments):
    command = [PROGRAM, "plan", model, "--json", "--memory-bandwidth", "10", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def plan(model, *arguments):
    done = run_plan(model, *arguments)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)

    def published(self, name):
        path = Path(self.folder.name) / f"{name}.gguf"
        if not path.exists():
            make("make_synthetic.py", "--published", name, "--sparse", "-o", path)
        return path

    def test_everything_resident_needs_what_the_card_says_at_most(self):
        for name, (file_gb, card_gb) in CARD_GB.items():
            with self.subTest(name):
                path = self.published(name)
                self.assertAlmostEqual(path.stat().st_size / 1e9, file_gb, delta=0.006)
                made = plan(path, "-c", 2048, "--memory", "1T")
                self.assertTrue(made["plan"]["resident"])
                total = made["plan"]["bytes"]["total"]
                self.assertEqual(total, made["resident_bytes"])
                self.assertLessEqual(total, card_gb * 1e9)
                # Nothing is forgotten either: the file's tensors, 256 MiB of KV cache, some activations.
                self.assertGreater(total, path.stat().st_size + (256 << 20) + (100 << 20) - (4 << 20))
                self.assertEqual(made["plan"]["hit_rate"], 1)
                self.assertEqual(made["plan"]["disk_bytes_per_token"], 0)

    def test_budgets_are_kept(self):
        for name in CARD_GB:
            path, kept = self.published(name), 0
            for gib in (4, 6, 8, 12, 16, 24, 32, 48, 64):
                with self.subTest(f"{name} in {gib} GiB"):
                    made = plan(path, "--memory", f"{gib}G")["plan"]
                    self.assertLessEqual(made["bytes"]["total"], gib << 30)
                    self.assertEqual(sum(made["bytes"].values()), 2 * made["bytes"]["total"])
                    self.assertGreaterEqual(made["slots_per_layer"]["mean"], kept)
                    kept = made["slots_per_layer"]["mean"]
                    floored = made["slots_per_layer"]["min"] >= 2
                    self.assertEqual(floored, made["streaming_layers"] == 0)
            self.assertEqual(kept, 8)

    def test_the_minimum_is_where_it_says(self):
        for name in CARD_GB:
            with self.subTest(name):
                path = self.published(name)
                least = plan(path, "--memory", "1T")["minimum_bytes"]
                self.assertLessEqual(plan(path, "--memory", least)["plan"]["bytes"]["total"], least)
                refused = run_plan(path, "--memory", least - 1)
                self.assertEqual(refused.returncode, 7)
                self.assertIn(f"--memory {-(-least >> 20)}M", refused.stderr)
                self.assertEqual(refused.stdout, "")

    def test_hit_rates_and_reads_of_slots(self):
        made = plan(self.published("Q4_K_M"), "--expert-slots", "2,3,4,5,6,7,8")
        expert = 3 * 4096 * 14336 * 4.5 / 8
        for row, rate in zip(made["ladder"], (0.33, 0.45, 0.58, 0.69, 0.80, 0.90, 1.0)):
            self.assertAlmostEqual(row["hit_rate"], rate)
            self.assertAlmostEqual(row["disk_bytes_per_token"] / 1e9, (1 - rate) * 64 * expert / 1e9, places=3)
            # 1 GB/s of disk, 10 of memory: whichever takes longer.
            seconds = max(row["disk_bytes_per_token"] / 1e9, made["active_bytes_per_token"] / 10e9)
            self.assertAlmostEqual(row["bounds"][0]["tokens_per_s"], 1 / seconds, places=6)

    def test_mlx(self):
        path = Path(self.folder.name) / "mlx"
        make("make_mlx_replica.py", "-o", path)
        ladder = plan(path, "-c", 4096, "--expert-slots", ",".join(map(str, MLX_GB)))["ladder"]
        expert = 3 * 4096 * 14336 * 4.5 / 8
        for row, (slots, expected) in zip(ladder, MLX_GB.items()):
            with self.subTest(slots):
                used = row["bytes"]
                bare = used["dense"] + used["kv"] + 32 * slots * expert
                self.assertAlmostEqual(bare / 1e9, expected, delta=0.02 * expected)
                # On top: two experts in transit, rows of a prompt of 4096 tokens, the program.
                self.assertLess(used["total"] / 1e9, expected * 1.02 + 1.0)
                self.assertGreater(used["total"], bare)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len({getattr(case, "test_case", case).id() for case, _ in result.failures + result.errors})
    for case, _ in result.failures + result.errors:
        print(f"FAILED {case}")
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
