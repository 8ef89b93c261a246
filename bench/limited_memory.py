#!/usr/bin/env python3
"""Measures what happens when a model is larger than memory. Needs root: limits are enforced from outside.

    limited_memory.py run --limit 14G --file M.gguf -- moxie run M.gguf --memory 13G --ids 1,2,3 -n 16 --stats json
    limited_memory.py compare M.gguf --limits 14G=13G,8G=7G -p 512 -n 16 --rounds 2 -o json

`run` measures one command. `compare` runs moxie and llama.cpp (llama_cpp_run.py beside this file) on the same prompt, in
turn, under each limit, LIMIT=BUDGET where the budget is what moxie is told by --memory (none: nothing); before and after it takes the
O_DIRECT speed of the drive. The file leaves the page cache before every run. Bytes are those of the drive and of the process;
with other programs at work on the drive or the processors (other_load: processors they kept busy) figures mean little.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import disk_grid
from measured_run import drop_from_cache, measure
from memory_limits import make_limit

LIMIT_KINDS = ("cgroup", "ballast", "none")


def print_run(name, run):
    stats = run["stats"] or {}
    print(f"{name}: exit {run['exit_status']}{', killed at the time limit' if run['timed_out'] else ''}")
    print(f"  wall {run['wall_s']:.2f} s, cpu {run['user_s']:.1f} + {run['system_s']:.1f} s, peak resident {run['rss_peak_bytes'] / 2**30:.2f} GiB")
    if "cgroup_peak_bytes" in run:
        cache, anonymous = run["cgroup_page_cache_peak_bytes"], run["cgroup_anonymous_peak_bytes"]
        print(
            f"  group peak {run['cgroup_peak_bytes'] / 2**30:.2f} GiB: anonymous {anonymous / 2**30:.2f}, page cache {cache / 2**30:.2f};"
            f" killed for memory {run['oom_kills']} times"
        )
    for phase in ("before_first_byte", "after_first_byte", "whole"):
        if phase in run:
            part = run[phase]
            print(
                f"  {phase.replace('_', ' ')}: {part['seconds']:.2f} s, {part['device_bytes'] / 1e9:.2f} GB from {run['device']} "
                f"({part['process_bytes'] / 1e9:.2f} by the process) at {part['device_bytes_per_s'] / 1e6:.0f} MB/s, "
                f"busy {part['disk_busy_share']:.0%}, {part['major_faults']} major faults"
            )
    if run.get("gap_median_s") is not None:
        print(f"  output in {run['pieces']} pieces, median gap {run['gap_median_s']:.3f} s")
    if stats:
        print("  " + json.dumps({key: value for key, value in stats.items() if not isinstance(value, (list, dict))}))
    print(f"  others kept {run['other_load']:.2f} processors busy, {run['stolen']:.2f} were stolen")
    if "stderr" in run:
        print("  " + run["stderr"].strip().replace("\n", "\n  "))


PRIME = """
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]))
if hasattr(mmap, "MADV_HUGEPAGE"):
    memory.madvise(mmap.MADV_HUGEPAGE)
memory[::4096] = bytes(len(memory) // 4096)
"""


def prime(size):
    """Touches `size` bytes and gives them back: a virtual machine's host then has pages for them, which it may take long to find."""
    subprocess.run([sys.executable, "-c", PRIME, str(size // 4096 * 4096)], check=True)


def measured(argv, path, kind, limit_bytes, timeout, cold=True, primed=False):
    if cold:
        drop_from_cache(path)
    if primed:
        prime(limit_bytes)
    with make_limit(kind, limit_bytes) as limit:
        return measure(argv, path, limit, timeout)


# ---- one command ----


def run(args):
    if not args.command:
        raise SystemExit("run: no command; put it after --")
    result = measured(args.command, args.file, args.by, args.limit, args.timeout, not args.warm)
    if args.output == "json":
        print(json.dumps(result))
    else:
        print_run(Path(args.command[0]).name, result)
    return 0 if result["exit_status"] == 0 else 1


# ---- moxie and llama.cpp ----


def prompt_ids(count, vocabulary, seed):
    """Start of text (1), then ordinary tokens drawn at random."""
    draw = random.Random(seed)
    return ",".join(map(str, [1] + [draw.randrange(300, vocabulary) for _ in range(count - 1)]))


def engine_commands(args, budget):
    ids = prompt_ids(args.prompt_tokens, args.vocabulary, args.seed)
    common = [args.model, "--ids", ids, "-n", str(args.predict), "-t", str(args.threads), "--temp", "0"]
    moxie = [args.moxie, "run", *common, "-c", str(args.context), "--ignore-eos", "--no-warm", "--stats", "json"]
    if budget != "none":
        moxie += ["--memory", budget]
    llama = [args.llama_python, str(Path(__file__).resolve().parent / "llama_cpp_run.py"), *common, "-c", str(args.context)]
    commands = {"moxie": moxie + shlex.split(args.moxie_flags), "llama.cpp": llama + shlex.split(args.llama_flags)}
    return {name: commands[name] for name in args.engines.split(",")}


def hit_rate(stats):
    hits, misses = stats.get("expert_hits", 0), stats.get("expert_misses", 0)
    return hits / (hits + misses) if hits + misses else None


def figures_of(run):
    """What is compared. Decoding counts from the first output to the last, so it holds one token less than was generated."""
    if run["exit_status"] != 0 or "first_byte_s" not in run:
        return None
    tokens = (run["stats"] or {}).get("generated_tokens", run["pieces"])
    first, later = run["before_first_byte"], run["after_first_byte"]
    return {
        "first_byte_s": run["first_byte_s"],
        "tokens_per_s": (tokens - 1) / later["seconds"] if tokens > 1 else None,
        "bytes_before_first": first["device_bytes"],
        "bytes_per_token": later["device_bytes"] / (tokens - 1) if tokens > 1 else None,
        "decode_bytes_per_s": later["device_bytes_per_s"],
        "decode_busy_share": later["disk_busy_share"],
        "hit_rate": hit_rate(run["stats"] or {}),
        "major_faults": run["whole"]["major_faults"],
        "rss_peak_bytes": run["rss_peak_bytes"],
        "peak_bytes": run.get("cgroup_peak_bytes", run["rss_peak_bytes"]),
        "other_load": run["other_load"],
    }


def medians(runs):
    """Of each figure over the runs that ended well; the number of these as `runs`."""
    good = [figures for figures in map(figures_of, runs) if figures]
    if not good:
        return None
    values = {key: [figures[key] for figures in good if figures[key] is not None] for key in good[0]}
    return {"runs": len(good)} | {key: statistics.median(each) if each else None for key, each in values.items()}


def ratios(engines):
    """moxie against llama.cpp; above 1 is better for moxie."""
    ours, theirs = engines.get("moxie"), engines.get("llama.cpp")
    if not ours or not theirs:
        return None
    faster = ours["tokens_per_s"] and theirs["tokens_per_s"]
    return {
        "decode": ours["tokens_per_s"] / theirs["tokens_per_s"] if faster else None,
        "first_byte": theirs["first_byte_s"] / ours["first_byte_s"],
        "bytes_per_token": theirs["bytes_per_token"] / ours["bytes_per_token"] if ours["bytes_per_token"] else None,
    }


def compare_under(args, limit_text, budget):
    runs = {name: [] for name in args.engines.split(",")}
    for number in range(args.rounds):
        for name, command in engine_commands(args, budget).items():
            result = measured(command, args.model, args.by, disk_grid.parse_bytes(limit_text), args.timeout, primed=args.prime)
            runs[name].append(result)
            if args.verbose:
                print_run(f"{limit_text} round {number + 1} {name}", result)
                sys.stdout.flush()
    engines = {name: medians(each) for name, each in runs.items()}
    return {"limit": limit_text, "budget": budget, "engines": engines, "ratios": ratios(engines), "runs": runs}


def add_shares(limits, grids):
    """What each phase took from the drive, against the best cell of all grids."""
    best = max((grid["best"]["bytes_per_s"] for grid in grids), default=None)
    for limit in limits:
        for figures in filter(None, limit["engines"].values()):
            before = figures["bytes_before_first"] / figures["first_byte_s"]
            figures["decode_share_of_best"] = figures["decode_bytes_per_s"] / best if best else None
            figures["first_byte_share_of_best"] = before / best if best else None


def shown(value, form="{:.3f}", scale=1.0):
    return "-" if value is None else form.format(value / scale)


def print_comparison(result):
    for grid in result["grids"]:
        print(disk_grid.table(grid))
    head = f"{'limit':10}{'engine':11}{'runs':>5}{'first s':>9}{'tok/s':>8}{'GB first':>9}{'GB/tok':>8}{'MB/s':>7}"
    print(head + f"{'busy':>6}{'of best':>8}{'hits':>7}{'faults':>8}{'RSS GiB':>8}{'peak GiB':>9}{'others':>7}")
    for limit in result["limits"]:
        for name, row in limit["engines"].items():
            start = f"{limit['limit']:10}{name:11}"
            if row is None:
                print(start + "   no run ended well: " + limit["runs"][name][-1].get("stderr", "killed or silent").strip()[-300:])
                continue
            print(
                f"{start}{row['runs']:5}{row['first_byte_s']:9.1f}{shown(row['tokens_per_s']):>8}{row['bytes_before_first'] / 1e9:9.2f}"
                f"{shown(row['bytes_per_token'], '{:.2f}', 1e9):>8}{row['decode_bytes_per_s'] / 1e6:7.0f}{row['decode_busy_share']:6.2f}"
                f"{shown(row['decode_share_of_best'], '{:.2f}'):>8}{shown(row['hit_rate']):>7}{row['major_faults']:8.0f}{row['rss_peak_bytes'] / 2**30:8.2f}"
                f"{row['peak_bytes'] / 2**30:9.2f}{row['other_load']:7.2f}"
            )
        if limit["ratios"]:
            print(f"{'':10}moxie / llama.cpp: " + ", ".join(f"{key} {shown(value, '{:.2f}')}" for key, value in limit["ratios"].items()))


def compare(args):
    def grid():
        return disk_grid.measure(args.model, args.blocks, args.depths, args.extent, args.seconds, args.engine)

    grids = [] if args.no_grid else [grid()]
    pairs = [text.partition("=")[::2] for text in args.limits.split(",")]
    result = {"model": args.model, "model_bytes": os.path.getsize(args.model), "by": args.by, "grids": grids}
    result["limits"] = [compare_under(args, limit, budget or limit) for limit, budget in pairs]
    if not args.no_grid:
        grids.append(grid())
    add_shares(result["limits"], grids)
    if args.output == "json":
        print(json.dumps(result))
    else:
        print_comparison(result)
    return 0 if all(all(limit["engines"].values()) for limit in result["limits"]) else 1


def add_common_flags(parser):
    parser.add_argument("--by", choices=LIMIT_KINDS, default="cgroup", help="how memory is limited")
    parser.add_argument("--timeout", type=float, help="seconds after which a command is killed")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("run")
    one.add_argument("--limit", type=disk_grid.parse_bytes, required=True)
    one.add_argument("--file", required=True, help="leaves the page cache before; its drive is watched")
    one.add_argument("--warm", action="store_true", help="leave the page cache alone (what others cached is not charged to the limit)")
    one.add_argument("command", nargs="*", help="after --")
    add_common_flags(one)
    both = commands.add_parser("compare")
    both.add_argument("model")
    both.add_argument("--limits", default="14G,8G", help="LIMIT[=BUDGET],...")
    both.add_argument("-p", "--prompt-tokens", type=int, default=32)
    both.add_argument("-n", "--predict", type=int, default=16)
    both.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    both.add_argument("-c", "--context", type=int, default=1024)
    both.add_argument("--rounds", type=int, default=1)
    both.add_argument("--engines", default="moxie,llama.cpp")
    both.add_argument("--moxie", default=str(Path(__file__).resolve().parent.parent / "build/moxie"))
    both.add_argument("--moxie-flags", default="", help="more flags, as one word: '--policy lru --lookahead off'")
    both.add_argument("--llama-python", default=sys.executable, help="a Python that has llama-cpp-python")
    both.add_argument("--llama-flags", default="")
    both.add_argument("--vocabulary", type=int, default=32000)
    both.add_argument("--seed", type=int, default=1)
    both.add_argument("--prime", action="store_true", help="touch as much memory as the limit before each run (for virtual machines)")
    both.add_argument("--no-grid", action="store_true", help="do not measure the drive")
    both.add_argument("-v", "--verbose", action="store_true", help="each run as it ends")
    add_common_flags(both)
    disk_grid.add_grid_flags(both)
    return parser.parse_args()


def main():
    args = parse_args()
    if os.geteuid() != 0 and args.by != "none":
        raise SystemExit("limits need root; --by none measures without one")
    raise SystemExit({"run": run, "compare": compare}[args.what](args))


if __name__ == "__main__":
    main()
