#!/usr/bin/env python3
"""What a routing trace says: how often consecutive tokens repeat an expert, and how evenly the experts are used.

    routing_statistics.py TRACE [-o json] [--layers 0,15,31]

TRACE is what `--trace-routing` writes; only the tokens that were generated one by one count. Needs the standard library alone.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict

LAGS = (1, 2, 4, 8)
SLOTS = (2, 3, 4, 5, 6)


def read_trace(path):
    """(experts, {layer: [ids of a token, ...]}), tokens in order."""
    with open(path) as file:
        head = file.readline()
        if not head.startswith("# moxie-trace 1 "):
            raise SystemExit(f'{path}: begins with "{head[:40].strip()}", not with "# moxie-trace 1"; is it a routing trace?')
        experts = int(dict(item.split("=") for item in head.split()[3:])["experts"])
        layers = defaultdict(list)
        for line in file:
            _, phase, layer, ids = line.rstrip("\n").split("\t")
            if phase == "d":
                layers[int(layer)].append(tuple(map(int, ids.split(","))))
    if not layers:
        raise SystemExit(f"{path}: holds no generated token")
    return experts, layers


def hit_rate(tokens, slots):
    """Of a cache that keeps the experts used last; a token's hits are credited before its misses evict."""
    kept, hits, asked = [], 0, 0
    for ids in tokens:
        hits += sum(id in kept for id in ids)
        asked += len(ids)
        kept = ([id for id in kept if id not in ids] + list(ids))[-slots:]
    return hits / asked


def statistics(tokens, experts):
    pairs = {lag: list(zip(tokens, tokens[lag:])) for lag in LAGS if len(tokens) > lag}
    loads = Counter(id for ids in tokens for id in ids)
    used = sum(loads.values())
    return {
        "tokens": len(tokens),
        "first_repeated": {lag: sum(a[0] == b[0] for a, b in both) / len(both) for lag, both in pairs.items()},
        "set_repeated": {lag: sum(len({*a} & {*b}) / len(b) for a, b in both) / len(both) for lag, both in pairs.items()},
        "any_repeated": {lag: sum(bool({*a} & {*b}) for a, b in both) / len(both) for lag, both in pairs.items()},
        "load_min": min(loads[id] for id in range(experts)) / used,
        "load_max": max(loads[id] for id in range(experts)) / used,
        "lru_hit_rate": {slots: hit_rate(tokens, slots) for slots in SLOTS},
    }


def mean_of(rows):
    """The same keys, averaged."""
    if isinstance(rows[0], dict):
        return {key: mean_of([row[key] for row in rows]) for key in rows[0]}
    return sum(rows) / len(rows)


def print_table(rows):
    print("layer   first choice repeated after       set    any    load          LRU hit rate by slots")
    print("        " + "".join(f"{lag:<7}" for lag in LAGS) + "  1      1      min    max    " + "".join(f"{n:<6}" for n in SLOTS))
    for name, row in rows.items():
        first = "".join(f"{row['first_repeated'].get(lag, float('nan')):<7.3f}" for lag in LAGS)
        repeated = f"  {row['set_repeated'][1]:<7.3f}{row['any_repeated'][1]:<7.3f}"
        load = f"{row['load_min']:<7.3f}{row['load_max']:<7.3f}"
        print(f"{name:<8}{first}{repeated}{load}" + "".join(f"{rate:<6.3f}" for rate in row["lru_hit_rate"].values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--layers", help="only these, and the mean of all")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    args = parser.parse_args()
    experts, layers = read_trace(args.trace)
    if min(map(len, layers.values())) < 2:
        raise SystemExit(f"{args.trace}: one token repeats nothing; trace at least two")
    rows = {str(layer): statistics(tokens, experts) for layer, tokens in sorted(layers.items())}
    mean = mean_of(list(rows.values()))
    if args.layers:
        rows = {name: rows[name] for name in args.layers.split(",")}
    rows["mean"] = mean
    if args.output == "json":
        json.dump(rows, sys.stdout, indent=1)
        print()
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
