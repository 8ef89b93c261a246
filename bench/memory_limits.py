"""Ways to leave a command less memory than the machine has. All need root.

Cgroup: a memory control group, version 1 or 2; counts the pages of files that the command reads, and names what it used.
Ballast: a process that locks the rest of memory; nothing is charged to the command, the whole system feels the limit.
NoLimit: neither; the machine as it is.

Each is a context manager with command(argv), which wraps argv to start inside, and figures().
"""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

# Joins the group before the command starts, so that nothing is charged elsewhere.
JOIN = 'echo $$ > "$0" && exec "$@"'
HEADROOM_BYTES = 256 << 20  # what a ballast leaves of the memory that is free


def read_fields(path):
    """A kernel file of `name value` lines."""
    try:
        return {name: int(value) for name, value in (line.split()[:2] for line in Path(path).read_text().splitlines())}
    except OSError:
        return {}


def memory_info():
    """/proc/meminfo in bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


class NoLimit:
    name = "none"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def command(self, argv):
        return list(argv)

    def sample(self):
        pass

    def figures(self):
        return {}


class Cgroup(NoLimit):
    name = "cgroup"

    def __init__(self, limit_bytes):
        self._limit = limit_bytes
        self._version, root = self._find()
        self._folder = root / f"moxie-bench-{os.getpid()}"
        self._anonymous_peak = self._cache_peak = self._current_peak = 0

    @staticmethod
    def _find():
        """(version, folder) of the hierarchy that has the memory controller."""
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup" and "memory" in options.split(","):
                return 1, Path(where)
            if kind == "cgroup2" and "memory" in (Path(where) / "cgroup.controllers").read_text().split():
                return 2, Path(where)
        raise SystemExit("no memory control group is mounted; use --by ballast")

    def _write(self, name, value):
        try:
            (self._folder / name).write_text(str(value))
        except OSError as error:
            raise SystemExit(f"{self._folder / name}: {error.strerror} when writing {value}; are you root?") from None

    def __enter__(self):
        try:
            if self._version == 2:
                (self._folder.parent / "cgroup.subtree_control").write_text("+memory")
            self._folder.mkdir()
        except OSError as error:
            raise SystemExit(f"{self._folder}: {error.strerror}; making a control group needs root") from None
        self._write("memory.limit_in_bytes" if self._version == 1 else "memory.max", self._limit)
        swap = "memory.swappiness" if self._version == 1 else "memory.swap.max"
        if (self._folder / swap).exists():
            self._write(swap, 0)
        return self

    def __exit__(self, *_):
        if self._version == 1:
            self._write("memory.force_empty", 0)  # the file's pages outlive the command
        try:
            self._folder.rmdir()
        except OSError as error:
            print(f"{self._folder}: {error.strerror}; remove it by hand", file=sys.stderr)

    def command(self, argv):
        return ["/bin/sh", "-c", JOIN, str(self._folder / "cgroup.procs"), *argv]

    def sample(self):
        stat = read_fields(self._folder / "memory.stat")
        anonymous = stat.get("total_rss", stat.get("anon", 0))
        cache = stat.get("total_cache", stat.get("file", 0))
        self._anonymous_peak = max(self._anonymous_peak, anonymous)
        self._cache_peak = max(self._cache_peak, cache)
        self._current_peak = max(self._current_peak, anonymous + cache)

    def figures(self):
        """Peaks of anonymous memory and page cache are sampled, the group's own peak is the kernel's."""
        names = ("memory.max_usage_in_bytes",) if self._version == 1 else ("memory.peak",)
        peaks = [int((self._folder / name).read_text()) for name in names if (self._folder / name).exists()]
        events = "memory.oom_control" if self._version == 1 else "memory.events"
        return {
            "cgroup_version": self._version,
            "cgroup_peak_bytes": peaks[0] if peaks else self._current_peak,
            "cgroup_anonymous_peak_bytes": self._anonymous_peak,
            "cgroup_page_cache_peak_bytes": self._cache_peak,
            "oom_kills": read_fields(self._folder / events).get("oom_kill", 0),
        }


def hold_ballast(size):
    """Locks `size` bytes, says so, and stays until standard input ends."""
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) != 0:
        raise SystemExit(f"cannot lock {size} bytes: {os.strerror(ctypes.get_errno())}; are you root?")
    print("held", flush=True)
    sys.stdin.read()


class Ballast(NoLimit):
    name = "ballast"

    def __init__(self, limit_bytes):
        total, available = memory_info()["MemTotal"], memory_info()["MemAvailable"]
        self._size = total - limit_bytes
        if self._size <= 0:
            raise SystemExit(f"a limit of {limit_bytes} bytes is no less than the machine's {total}")
        if self._size > available - HEADROOM_BYTES:
            raise SystemExit(f"a ballast of {self._size} bytes does not fit into the {available} that are available; raise --limit")

    def __enter__(self):
        command = [sys.executable, str(Path(__file__).resolve()), str(self._size)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdout.readline() != b"held\n":
            raise SystemExit(f"the ballast of {self._size} bytes could not be held")
        return self

    @property
    def pid(self):
        return self._process.pid

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def figures(self):
        return {"ballast_bytes": self._size}


def make_limit(kind, limit_bytes):
    return {"none": lambda _: NoLimit(), "cgroup": Cgroup, "ballast": Ballast}[kind](limit_bytes)


if __name__ == "__main__":
    hold_ballast(int(sys.argv[1]))
