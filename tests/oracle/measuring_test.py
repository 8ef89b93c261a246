"""The measuring scripts: limits hold, and what they count is what happened. Needs root and a local disk."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import peers

sys.path.insert(0, str(peers.ROOT / "bench"))
MIB = 1 << 20
# Reads a file in pieces, says so after each of four parts.
READ_FILE = """
import os
import sys
with open(sys.argv[1], 'rb') as file:
    for part in range(4):
        for _ in range(12):
            file.read(1 << 20)
        os.write(1, f"{part}\\n".encode())  # one piece, however Python buffers
print('{"generated_tokens": 4}', file=sys.stderr)
"""


class LimitedMemory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("limits on memory need root")
        from measured_run import BlockDevice

        cls.folder = tempfile.TemporaryDirectory(prefix="moxie-measuring-", dir=os.environ.get("TMPDIR"))
        cls.file = Path(cls.folder.name) / "file"
        cls.file.write_bytes(os.urandom(48 * MIB))
        try:
            BlockDevice(cls.file)
        except SystemExit as reason:
            raise unittest.SkipTest(str(reason)) from None

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def measured(self, limit, script, *arguments):
        from measured_run import drop_from_cache, measure

        drop_from_cache(self.file, 0)
        with limit:
            return measure([sys.executable, "-c", script, *arguments], self.file, limit, 60)

    def group(self, limit_bytes):
        from memory_limits import Cgroup

        try:
            return Cgroup(limit_bytes)
        except SystemExit as reason:
            self.skipTest(str(reason))

    def test_page_cache_counts_and_bytes_are_counted(self):
        run = self.measured(self.group(32 * MIB), READ_FILE, str(self.file))
        self.assertEqual((run["exit_status"], run["oom_kills"], run["stats"]), (0, 0, {"generated_tokens": 4}))
        self.assertLessEqual(run["cgroup_peak_bytes"], 32 * MIB)
        self.assertGreater(run["cgroup_page_cache_peak_bytes"], 8 * MIB)
        self.assertGreaterEqual(run["whole"]["process_bytes"], 48 * MIB)
        self.assertLess(run["whole"]["process_bytes"], 80 * MIB)
        self.assertGreaterEqual(run["whole"]["device_bytes"], run["whole"]["process_bytes"])
        self.assertEqual(run["pieces"], 4)
        first, later = run["before_first_byte"], run["after_first_byte"]
        self.assertGreaterEqual(first["process_bytes"], 12 * MIB)
        self.assertGreater(later["process_bytes"], 12 * MIB)
        self.assertLessEqual(first["seconds"] + later["seconds"], run["wall_s"] + 0.001)

    def test_too_much_memory_is_killed(self):
        run = self.measured(self.group(32 * MIB), "data = bytearray(200 << 20); data[::4096] = b'x' * len(data[::4096])")
        self.assertEqual(run["exit_status"], -9)
        self.assertGreaterEqual(run["oom_kills"], 1)
        self.assertFalse(run["timed_out"])

    def test_resident_peak(self):
        from memory_limits import NoLimit

        run = self.measured(NoLimit(), "data = bytearray(100 << 20); data[::4096] = b'x' * len(data[::4096])")
        self.assertGreater(run["rss_peak_bytes"], 100 * MIB)
        self.assertLess(run["rss_peak_bytes"], 160 * MIB)

    def test_ballast_is_locked_and_given_back(self):
        from memory_limits import Ballast, memory_info

        size = 64 * MIB
        with Ballast(memory_info()["MemTotal"] - size) as ballast:
            status = Path(f"/proc/{ballast.pid}/status").read_text()
        locked = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:"))
        self.assertGreaterEqual(locked * 1024, size)
        self.assertEqual(ballast.figures(), {"ballast_bytes": size})
        self.assertFalse(Path(f"/proc/{ballast.pid}").exists())

    def test_cached_bytes(self):
        from measured_run import cached_bytes, drop_from_cache

        self.file.read_bytes()
        self.assertEqual(cached_bytes(self.file), 48 * MIB)
        drop_from_cache(self.file, 0)
        self.assertEqual(cached_bytes(self.file), 0)

    def test_time_limit(self):
        from measured_run import measure
        from memory_limits import NoLimit

        run = measure(["sleep", "20"], self.file, NoLimit(), 0.3)
        self.assertTrue(run["timed_out"])
        self.assertLess(run["wall_s"], 5)

    def test_disk_grid(self):
        import disk_grid

        grid = disk_grid.measure(str(self.file), [64 << 10, MIB], [1, 2], 4 * MIB, 1, "threads")
        self.assertEqual(len(grid["cells"]), 4)
        self.assertGreater(min(cell["bytes_per_s"] for cell in grid["cells"]), 0)
        self.assertEqual(grid["best"]["bytes_per_s"], max(cell["bytes_per_s"] for cell in grid["cells"]))

    def test_compare_names_a_failing_engine(self):
        command = [sys.executable, peers.ROOT / "bench/limited_memory.py", "compare", self.file, "--limits", "256M", "--no-grid"]
        result = subprocess.run([*command, "--engines", "moxie", "--moxie", "/bin/false"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no run ended well", result.stdout)


if __name__ == "__main__":
    unittest.main()
