#!/usr/bin/env python3
"""What the drive below a file gives to O_DIRECT reads, over block sizes and queue depths.

    disk_grid.py FILE [--blocks 256K,1M,4M] [--depths 1,4,16] [--seconds 2] [--engine auto] [-o json]

Reads run through the file the way experts are read: a random extent, its blocks in order, the next extent. With --engine
fio (auto: where it is installed) fio does it through io_uring or libaio, otherwise threads with preadv.
"""

import argparse
import itertools
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import threading
import time

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
BLOCKS, DEPTHS = "128K,256K,512K,1M,2M,4M", "1,2,4,8,16"


def parse_bytes(text):
    """12G, 512MiB (powers of 1024), 12GB (of 1000) or plain bytes."""
    number = text.rstrip("kKmMgGiIbB")
    unit = text[len(number) :].upper()
    if unit not in UNITS and unit not in ("", "B"):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; give a number with K, M, G, KiB, MiB, GiB, KB, MB or GB")
    try:
        return int(float(number) * UNITS.get(unit, 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size") from None


def read_by_threads(path, block, depth, extent, seconds):
    """Bytes per second of `depth` threads that take the next block of a shared walk."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    size = os.fstat(file).st_size
    extent = max(block, min(extent, size) // block * block)
    draw, lock, done = random.Random(block * 31 + depth), threading.Lock(), [0] * depth
    walk = (start + at for start in iter(lambda: draw.randrange(size // extent) * extent, -1) for at in range(0, extent, block))
    errors = []

    def work(index, end):
        buffer = mmap.mmap(-1, block)  # page aligned
        try:
            while time.perf_counter() < end:
                with lock:
                    offset = next(walk)
                done[index] += os.preadv(file, [buffer], offset)
        except OSError as error:
            errors.append(error)

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(index, start + seconds)) for index in range(depth)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    os.close(file)
    if errors:
        raise SystemExit(f"{path}: {errors[0]} while reading {block} bytes with O_DIRECT")
    return sum(done) / elapsed


def read_by_fio(path, block, depth, extent, seconds):
    for engine in ("io_uring", "libaio"):
        command = [
            "fio", "--name=grid", f"--filename={path}", "--readonly", "--direct=1", f"--ioengine={engine}", f"--bs={block}",
            f"--rw=randread:{max(1, extent // block)}", f"--iodepth={depth}", f"--runtime={seconds}", "--time_based",
            "--randrepeat=1", "--norandommap", "--output-format=json",
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0:
            return json.loads(result.stdout)["jobs"][0]["read"]["bw_bytes"]
    raise SystemExit(f"fio: {result.stderr.strip() or result.stdout.strip()}")


def measure(path, blocks, depths, extent, seconds, engine="auto", progress=False):
    """{"engine", "cells": [{"block", "depth", "bytes_per_s"}], "best"}."""
    if engine == "auto":
        engine = "fio" if shutil.which("fio") else "threads"
    read = {"fio": read_by_fio, "threads": read_by_threads}[engine]
    cells = []
    for block, depth in itertools.product(blocks, depths):
        rate = read(path, block, depth, extent, seconds)
        cells.append({"block": block, "depth": depth, "bytes_per_s": round(rate)})
        if progress:
            print(f"{block >> 10:6} KiB x {depth:<3} {rate / 1e6:7.0f} MB/s", file=sys.stderr)
    return {"engine": engine, "extent": extent, "cells": cells, "best": max(cells, key=lambda cell: cell["bytes_per_s"])}


def table(grid):
    depths = sorted({cell["depth"] for cell in grid["cells"]})
    rates = {(cell["block"], cell["depth"]): cell["bytes_per_s"] for cell in grid["cells"]}
    lines = [f"O_DIRECT MB/s ({grid['engine']})" + "".join(f"{'x' + str(depth):>8}" for depth in depths)]
    for block in sorted({cell["block"] for cell in grid["cells"]}):
        lines.append(f"{block >> 10:>17} KiB    " + "".join(f"{rates[block, depth] / 1e6:8.0f}" for depth in depths))
    best = grid["best"]
    lines.append(f"best {best['bytes_per_s'] / 1e6:.0f} MB/s: {best['block'] >> 10} KiB x {best['depth']}")
    return "\n".join(lines)


def add_grid_flags(parser):
    parser.add_argument("--blocks", default=BLOCKS, type=lambda text: [parse_bytes(part) for part in text.split(",")])
    parser.add_argument("--depths", default=DEPTHS, type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--extent", default="32M", type=parse_bytes, help="bytes read in order before the next random place")
    parser.add_argument("--seconds", default=2, type=int, help="for each cell")
    parser.add_argument("--engine", choices=("auto", "fio", "threads"), default="auto")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    add_grid_flags(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    args = parser.parse_args()
    grid = measure(args.file, args.blocks, args.depths, args.extent, args.seconds, args.engine, sys.stderr.isatty())
    print(json.dumps(grid) if args.output == "json" else table(grid))


if __name__ == "__main__":
    main()
