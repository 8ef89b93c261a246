#!/usr/bin/env python3
"""Runs moxie and other engines on the same file and work in turn, A B A B, and prints ratios with their spread.

    compare.py M.gguf --peer llama.cpp=/path/llama-bench --peer 'ik=/path/llama-bench -rtr 1' -p 512,2048 -n 64 -d 0,4096 -t 1,2
    compare.py M.gguf --peer llama-cpp-python=~/venv/bin/python -o json > part.json
    compare.py --from part.json other.json          the table of what was measured before

An engine is NAME=PROGRAM [FLAGS]: moxie, a llama-bench (a fork's too), or a Python that has llama-cpp-python. Each measurement is a
process of its own, so that engines alternate; a round gives each engine one figure, the median of -r repetitions. A ratio is taken
within a round. Other programs that keep processors busy are named on stderr and in the table.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import machine
from engines import Failure, Test, parse_answer, parse_engine


def numbers(text):
    values = [int(word) for word in text.split(",")]
    if any(value < 0 for value in values):
        raise ValueError(text)
    return values


def tests_of(args):
    """Prompts start empty; generation is measured at every depth."""
    prompts = [Test(prompt, 0, 0) for prompt in args.prompt if prompt]
    return prompts + [Test(0, count, depth) for count in args.generate if count for depth in args.depth]


def measure(engine, model, test, threads, args):
    """{rate, rates, other_load, stolen, version, share}, or {error}."""
    command = engine.command(model, test, threads, args.repetitions)
    watch = machine.Watch()
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            raise Failure(f"exit status {run.returncode}: {(run.stderr or run.stdout).strip()[-300:]}")
        answer = parse_answer(engine.kind, run.stdout)
    except (Failure, OSError, subprocess.TimeoutExpired) as reason:
        return {"error": f"{' '.join(command)}: {reason}"}
    other, stolen = watch.figures()
    return {
        "rate": statistics.median(answer.rates),
        "rates": answer.rates,
        "other_load": round(other, 3),
        "stolen": round(stolen, 3),
        "version": answer.version,
        "share": answer.share,
    }


def compare(args):
    engines = [parse_engine(text) for text in [args.moxie, *args.peer]]
    result = {"machine": machine.describe(), "engines": [], "rows": []}
    versions = {}
    for model in args.models:
        for threads in args.threads:
            for test in tests_of(args):
                runs = {engine.name: [] for engine in engines}
                for number in range(args.rounds):
                    for engine in engines:
                        one = measure(engine, model, test, threads, args)
                        runs[engine.name].append(one)
                        versions.setdefault(engine.name, one.get("version", ""))
                        said = one.get("error") or f"{one['rate']:.2f} tokens/s, others busy {one['other_load']:.2f}"
                        print(f"{Path(model).name} {test.name} -t {threads} round {number + 1} {engine.name}: {said}", file=sys.stderr)
                result["rows"].append({"file": Path(model).name, "test": test.name, "threads": threads, "runs": runs})
    result["engines"] = [
        {"name": engine.name, "command": [Path(engine.program).name, *engine.flags], "version": versions.get(engine.name, "")}
        for engine in engines
    ]
    return result


# ---- figures ----


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def rates_of(runs):
    return [run["rate"] for run in runs if "rate" in run]


def ratios_of(ours, theirs):
    """Of each round in which both gave a figure."""
    return [one["rate"] / other["rate"] for one, other in zip(ours, theirs) if "rate" in one and "rate" in other]


def merge(results):
    """Parts measured one after another: rows of the same work become one."""
    merged = {"machine": [], "engines": {}, "rows": {}}
    for result in results:
        if result["machine"] not in merged["machine"]:
            merged["machine"].append(result["machine"])
        for engine in result["engines"]:
            merged["engines"].setdefault(json.dumps(engine), engine)
        for row in result["rows"]:
            known = merged["rows"].setdefault((row["file"], row["test"], row["threads"]), {**row, "runs": {}})
            for name, runs in row["runs"].items():
                known["runs"].setdefault(name, []).extend(runs)
    return {"machine": "; ".join(merged["machine"]), "engines": list(merged["engines"].values()), "rows": list(merged["rows"].values())}


def add_figures(result):
    """Medians, spreads and ratios into every row. The first engine is the one that is judged."""
    names = list(dict.fromkeys(engine["name"] for engine in result["engines"]))
    for row in result["rows"]:
        row["rates"] = {name: spread(rates) for name in names if (rates := rates_of(row["runs"].get(name, [])))}
        ours = row["runs"].get(names[0], [])
        row["ratios"] = {
            name: spread(ratios) for name in names[1:] if (ratios := ratios_of(ours, row["runs"].get(name, [])))
        }
        shares = [run["share"] for run in ours if run.get("share") is not None]
        row["share"] = statistics.median(shares) if shares else None
        row["other_load"] = max((run["other_load"] for runs in row["runs"].values() for run in runs if "rate" in run), default=None)
    return names


# ---- the table ----


def shown(figures, digits):
    if figures is None:
        return "none"
    return f"{figures['median']:.{digits}f} ({figures['least']:.{digits}f} - {figures['most']:.{digits}f})"


def markdown(result):
    names = add_figures(result)
    heads = ["file", "work", "threads", f"{names[0]} tokens/s", "of the limit"]
    for name in names[1:]:
        heads += [f"{name} tokens/s", "ratio"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in result["rows"]:
        mark = " *" if (row["other_load"] or 0) > machine.QUIET_PROCESSORS else ""
        cells = [row["file"], row["test"] + mark, str(row["threads"]), shown(row["rates"].get(names[0]), 1)]
        cells.append("" if row["share"] is None else f"{100 * row['share']:.0f} %")
        for name in names[1:]:
            cells += [shown(row["rates"].get(name), 1), shown(row["ratios"].get(name), 2)]
        lines.append("| " + " | ".join(cells) + " |")
    rounds = sorted({len(runs) for row in result["rows"] for runs in row["runs"].values()})
    lines += ["", f"{result['machine']}. Medians (smallest - largest) of {' or '.join(map(str, rounds))} rounds; ratios within a round."]
    for engine in result["engines"]:
        version = f" ({engine['version']})" if engine["version"] else ""
        lines.append(f"{engine['name']}: `{' '.join(engine['command'])}`{version}.")
    disturbed = [row for row in result["rows"] if (row["other_load"] or 0) > machine.QUIET_PROCESSORS]
    if disturbed:
        worst = max(row["other_load"] for row in disturbed)
        lines.append(f"\\* Other programs kept up to {worst:.1f} processors busy: such figures mean little.")
    else:
        lines.append(f"Other programs kept at most {machine.QUIET_PROCESSORS} processors busy.")
    for row in result["rows"]:
        for name, runs in row["runs"].items():
            errors = [run["error"] for run in runs if "error" in run]
            if errors:
                lines.append(f"{name}, {row['file']}, {row['test']}: {len(errors)} of {len(runs)} runs failed, the last with {errors[-1]}")
    return "\n".join(lines)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    default = Path(__file__).resolve().parent.parent / "build/moxie"
    parser.add_argument("--moxie", default=f"moxie={default}", help="the engine that is judged: NAME=PROGRAM [FLAGS]")
    parser.add_argument("--peer", action="append", default=[], help="another engine, NAME=PROGRAM [FLAGS]; may be repeated")
    parser.add_argument("-p", "--prompt", type=numbers, default=[512], help="512,2048; 0: none")
    parser.add_argument("-n", "--generate", type=numbers, default=[64])
    parser.add_argument("-d", "--depth", type=numbers, default=[0], help="tokens in the cache before generating")
    parser.add_argument("-t", "--threads", type=numbers, default=[1])
    parser.add_argument("-r", "--repetitions", type=int, default=1, help="in each process; their median counts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one process")
    parser.add_argument("--from", dest="parts", nargs="+", metavar="JSON", help="print what these files hold, measure nothing")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args(argv)
    if bool(args.models) == bool(args.parts):
        parser.error("either models to measure or --from with earlier results")
    if min(args.rounds, args.repetitions) < 1:
        parser.error("--rounds and -r are at least 1")
    return args


def main():
    args = parse_args()
    try:
        if args.parts:
            result = merge([json.loads(Path(path).read_text()) for path in args.parts])
        else:
            load, names = machine.others()
            if load > machine.QUIET_PROCESSORS:
                who = ", ".join(f"{name} {share:.1f}" for share, name in names[:5]) or "no process that can be seen"
                print(f"compare.py: {load:.1f} processors are busy with others ({who}): figures will mean little", file=sys.stderr)
            result = compare(args)
    except Failure as reason:
        raise SystemExit(f"compare.py: {reason}") from reason
    add_figures(result)
    print(json.dumps(result, indent=1) if args.output == "json" else markdown(result))
    return 0 if all(len(row["rates"]) == len(row["runs"]) for row in result["rows"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
