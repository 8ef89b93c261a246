"""Importance matrices against an independent computation, and as other programs read them.

`moxie imatrix` measures the demo model on a text; the same sums come from hooks in transformers, in float64. The file
is read with the gguf package, as llama.cpp's own tools would read it.
"""

import subprocess
import unittest

from peers import PROGRAM, demo_model, require, text_file, work_folder

CHUNK, CHUNKS = 128, 2


class Importance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require("gguf", "torch", "transformers", "safetensors", "numpy")
        cls.path = work_folder() / "importance.gguf"
        subprocess.run(
            [PROGRAM, "imatrix", demo_model(), "-f", text_file(), "-o", cls.path, "-c", str(CHUNK), "--chunks",
             str(CHUNKS), "--force"],
            check=True, capture_output=True,
        )  # fmt: skip
        import gguf

        cls.file = gguf.GGUFReader(cls.path)
        cls.tensors = {tensor.name: tensor for tensor in cls.file.tensors}

    def test_keys_are_those_of_importance_matrices(self):
        fields = {name: field.contents() for name, field in self.file.fields.items() if "." in name}
        self.assertEqual(fields["general.type"], "imatrix")
        self.assertEqual(fields["imatrix.chunk_count"], CHUNKS)
        self.assertEqual(fields["imatrix.chunk_size"], CHUNK)
        self.assertEqual(fields["imatrix.datasets"], [str(text_file())])
        self.assertNotIn("general.architecture", fields)

    def test_sums_are_those_of_an_independent_computation(self):
        import gguf
        import make_importance_golden
        import numpy as np

        said = subprocess.run(
            [PROGRAM, "tokenize", demo_model(), "-f", text_file(), "--ids"], check=True, capture_output=True, text=True
        ).stdout
        ids = [int(word) for word in said.strip().strip("[]").replace(",", " ").split()]
        chunks = [[ids[0]] + ids[at * CHUNK + 1 : (at + 1) * CHUNK] for at in range(CHUNKS)]
        expected = make_importance_golden.measure(demo_model(), gguf.MODEL_ARCH.LLAMA, chunks)
        self.assertEqual(
            sorted(self.tensors),
            sorted(name + ending for name in expected.sums for ending in (".in_sum2", ".counts")),
        )
        for name, sums in expected.sums.items():
            counts = self.tensors[name + ".counts"].data
            self.assertEqual(counts.shape, (sums.shape[0], 1), name)
            # A token whose second and third expert are a close call may go either way.
            self.assertLessEqual(np.abs(counts - expected.counts[name]).sum(), 2, name)
            found = self.tensors[name + ".in_sum2"].data
            self.assertEqual(found.shape, sums.shape, name)
            self.assertLess(np.abs(found - sums).max(), 0.01 * sums.max(), name)


if __name__ == "__main__":
    unittest.main()
