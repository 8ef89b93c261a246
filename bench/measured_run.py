"""Runs a command and measures it from outside: time, output, disk, memory, faults."""

import ctypes
import json
import mmap
import os
import selectors
import subprocess
import time
from pathlib import Path

SAMPLE_SECONDS = 0.05
SECTOR_BYTES = 512
TICKS = os.sysconf("SC_CLK_TCK")


class BlockDevice:
    """The device that a file lies on, and the kernel's counters of it."""

    def __init__(self, path):
        number = os.stat(path).st_dev
        if os.major(number) == 0:  # a file system over several devices, or over none
            number = os.stat(self._source(number, path)).st_rdev
        self._folder = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
        if not (self._folder / "stat").exists():
            raise SystemExit(f"{path}: lies on device {os.major(number)}:{os.minor(number)}, which has no counters in /sys/dev/block")
        self.name = self._folder.name

    @staticmethod
    def _source(number, path):
        wanted = f"{os.major(number)}:{os.minor(number)}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted and after.split()[1].startswith("/dev/"):
                return after.split()[1]
        raise SystemExit(f"{path}: lies on no block device (device {wanted}); measure on a local disk")

    def counters(self):
        """(bytes read, seconds busy) since the machine started."""
        fields = (self._folder / "stat").read_text().split()
        return int(fields[2]) * SECTOR_BYTES, int(fields[9]) / 1000


def drop_from_cache(path, limit_bytes=64 << 20):
    """Makes the next read come from the disk. Drops all caches if the file's own pages do not go. Needs root for that."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    if cached_bytes(path) > limit_bytes:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    left = cached_bytes(path)
    if left > limit_bytes:
        raise SystemExit(f"{path}: {left} bytes stay in the page cache; another program maps the file")


def cached_bytes(path):
    """How much of the file is in the page cache."""
    size = os.path.getsize(path)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise SystemExit(f"{path}: cannot be mapped: {os.strerror(ctypes.get_errno())}")
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    present = (ctypes.c_ubyte * pages)()
    status = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), present)
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    if status != 0:
        raise SystemExit(f"{path}: mincore: {os.strerror(ctypes.get_errno())}")
    return bytes(present).translate(bytes(index & 1 for index in range(256))).count(1) * mmap.PAGESIZE


def processor_seconds():
    """(busy, stolen) of all processors together."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def process_fields(pid):
    """(bytes read from storage, major faults) of a process so far, an ended one too while nobody has waited for it."""
    lines = (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(dict(lines)["read_bytes"]), int(stat[9])


class _Snapshot:
    def __init__(self, device, pid):
        self.time = time.monotonic()
        self.device_bytes, self.device_busy = device.counters()
        self.process_bytes, self.faults = process_fields(pid)


def _between(first, last):
    seconds = max(last.time - first.time, 1e-9)
    return {
        "seconds": round(seconds, 3),
        "device_bytes": last.device_bytes - first.device_bytes,
        "process_bytes": last.process_bytes - first.process_bytes,
        "device_bytes_per_s": round((last.device_bytes - first.device_bytes) / seconds),
        "disk_busy_share": round((last.device_busy - first.device_busy) / seconds, 3),
        "major_faults": last.faults - first.faults,
    }


def _collect(process, limit, device, timeout):
    """Reads both streams to their end: (times of output, snapshots at the first and the last, stderr, whether it was killed)."""
    times, marks, errors = [], [], bytearray()
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ, "out")
    selector.register(process.stderr, selectors.EVENT_READ, "err")
    start, sampled, timed_out = time.monotonic(), 0.0, False
    while selector.get_map():
        for key, _ in selector.select(SAMPLE_SECONDS):
            data = os.read(key.fd, 65536)
            if not data:
                selector.unregister(key.fileobj)
            elif key.data == "err":
                errors += data
            else:
                times.append(time.monotonic())
                marks = [marks[0] if marks else _Snapshot(device, process.pid), _Snapshot(device, process.pid)]
        now = time.monotonic()
        if now - sampled >= SAMPLE_SECONDS:
            limit.sample()
            sampled = now
        if timeout and now - start > timeout and not timed_out:
            process.kill()
            timed_out = True
    return times, marks, errors.decode(errors="replace"), timed_out


def last_json(text):
    """The object that the last line holds, as `--stats json` prints it; None without one."""
    lines = text.strip().splitlines()
    try:
        figures = json.loads(lines[-1])
    except (ValueError, IndexError):
        return None
    return figures if isinstance(figures, dict) else None


def measure(argv, path, limit, timeout=None):
    """Runs argv inside `limit`. path: the file whose device is watched."""
    device, processors, start = BlockDevice(path), processor_seconds(), time.monotonic()
    process = subprocess.Popen(limit.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    begin = _Snapshot(device, process.pid)
    times, marks, errors, timed_out = _collect(process, limit, device, timeout)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    end = _Snapshot(device, process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    busy, stolen = (after - before for after, before in zip(processor_seconds(), processors))
    wall = time.monotonic() - start
    own = usage.ru_utime + usage.ru_stime
    result = {
        "command": list(argv),
        "exit_status": process.returncode,
        "timed_out": timed_out,
        "limit": limit.name,
        "wall_s": round(wall, 3),
        "device": device.name,
        "rss_peak_bytes": usage.ru_maxrss * 1024,
        "user_s": round(usage.ru_utime, 2),
        "system_s": round(usage.ru_stime, 2),
        "other_load": round(max(0.0, busy - own) / wall, 3),
        "stolen": round(stolen / wall, 3),
        "whole": _between(begin, end),
        **limit.figures(),
        "stats": last_json(errors),
    }
    if times:
        gaps = sorted(b - a for a, b in zip(times, times[1:]))
        result["first_byte_s"] = round(times[0] - start, 3)
        result["before_first_byte"] = _between(begin, marks[0])
        result["after_first_byte"] = _between(*marks)
        result["pieces"] = len(times)
        result["gap_median_s"] = round(gaps[len(gaps) // 2], 4) if gaps else None
    if process.returncode != 0:
        result["stderr"] = errors[-2000:]
    return result
