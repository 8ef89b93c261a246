"""What this machine is, and who else uses it."""

import os
import platform
import time
from pathlib import Path

from measured_run import TICKS, processor_seconds

QUIET_PROCESSORS = 0.1  # others that keep more busy disturb


def processor_name(cpuinfo):
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe():
    """One line: processor, how many of them, memory, kernel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = processor_name(Path("/proc/cpuinfo").read_text())
    return f"{name}, {os.cpu_count()} processors, {memory:.1f} GiB, Linux {platform.release().partition('-')[0]}"


def _process_ticks():
    """{pid: (name, ticks used)} of every process but this one."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # ended meanwhile
        fields = rest.split()
        found[folder.name] = (head.partition("(")[2], int(fields[11]) + int(fields[12]))
    return found


def busiest(before, after, seconds, least=0.05):
    """[(processors kept busy, name)] of the processes that used at least `least`, most first."""
    used = [((ticks - before[pid][1]) / TICKS / seconds, name) for pid, (name, ticks) in after.items() if pid in before]
    return sorted(((share, name) for share, name in used if share >= least), reverse=True)


def others(seconds=1.0):
    """(processors that are busy while this program sleeps, the busiest processes)."""
    start, load, processes = time.monotonic(), processor_seconds()[0], _process_ticks()
    time.sleep(seconds)
    passed = time.monotonic() - start
    return (processor_seconds()[0] - load) / passed, busiest(processes, _process_ticks(), passed)


class Watch:
    """How many processors others kept busy while commands of this program ran."""

    def __init__(self):
        self._wall, self._busy = time.monotonic(), processor_seconds()
        self._own = self._children()

    @staticmethod
    def _children():
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    def figures(self):
        """(busy with others, stolen by the host), in processors."""
        wall = max(time.monotonic() - self._wall, 1e-3)
        busy, stolen = (now - then for now, then in zip(processor_seconds(), self._busy))
        return max(0.0, busy - (self._children() - self._own)) / wall, stolen / wall
