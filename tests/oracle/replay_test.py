"""`moxie replay` counts what a second implementation of the policies counts, written from docs/routing.md alone."""

import json
import math
import os
import random
import subprocess
import unittest
from pathlib import Path

import peers

NEVER = -(2**40)
HALF_LIFE = {"lfru": 64, "class_lru": 128}


def score(policy, count, age):
    if policy == "lru":
        return -age
    if policy == "lfu":
        return count
    if policy == "lfru":
        return (count + 2.5) / (age + 4)
    if policy == "class_lru":
        return -age / 2 ** min(7, int(math.floor(math.log2(count))) if count >= 1 else 0)
    return math.log2(count) - 2 * age / 128  # lcp, lcp_retained


def replay(events, policy, slots):
    """events of one layer: (is prompt, ids). Returns hits, misses, evictions."""
    resident, count, last = set(), {}, {}
    hits = misses = evictions = 0
    for now, (prompt, ids) in enumerate(events, 1):
        missing = [i for i in ids if i not in resident]
        hits, misses = hits + len(ids) - len(missing), misses + len(missing)
        for i in ids:
            kept = count.get(i, 0.0)
            if policy in HALF_LIFE and kept:
                kept *= 2.0 ** (-(now - last[i]) / HALF_LIFE[policy])
            count[i], last[i] = kept + 1, now
        may_evict = max(1, slots // 4) if prompt else slots
        for i in missing:
            if len(resident) >= slots:
                others = [j for j in resident if j not in ids]
                if not others or may_evict == 0 or policy == "static":
                    continue
                goes = min(others, key=lambda j: (score(policy, count[j], now - last[j]), last[j], j))
                may_evict, evictions = may_evict - 1, evictions + 1
                resident.remove(goes)
                if policy == "lcp":
                    del count[goes], last[goes]
            resident.add(i)
    return hits, misses, evictions


def belady(events, slots):
    uses = {}
    for at, (_, ids) in enumerate(events):
        for i in ids:
            uses.setdefault(i, []).append(at)
    resident, hits = set(), 0
    for at, (_, ids) in enumerate(events):
        hits += len(resident & set(ids))
        known = {j: next((use for use in uses[j] if use > at), math.inf) for j in resident | set(ids)}
        resident = set(sorted(known, key=lambda j: (known[j], j))[:slots])
    return hits


def read(path):
    """Events by layer, of the published form of one line a token."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")[1:-1]
    tokens = [[[int(digit, 32) for digit in group] for group in line.split("\t")[0].split(" ")] for line in lines]
    return [[(False, token[layer]) for token in tokens] for layer in range(len(tokens[0]))]


def write_random(path, seed, layers=3, experts=16, top_k=3, steps=400):
    """A trace of our own form, with prompts; returns its events by layer."""
    draw = random.Random(seed)
    events = [[] for _ in range(layers)]
    lines = [f"# moxie-trace 1 layers={layers} experts={experts} top_k={top_k}"]
    for step in range(steps):
        prompt = draw.random() < 0.05
        for layer in range(layers):
            favoured = [draw.randrange(experts // 2) for _ in range(3 * top_k)] + list(range(experts))
            ids = list(dict.fromkeys(draw.sample(favoured, len(favoured))))[: draw.randint(top_k, experts) if prompt else top_k]
            ids = sorted(ids) if prompt else ids
            events[layer].append((prompt, ids))
            lines.append(f"{step}\t{'p' if prompt else 'd'}\t{layer}\t{','.join(map(str, ids))}")
    path.write_text("\n".join(lines) + "\n")
    return events


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require()

    def check(self, paths, traces, slots, names=()):
        arguments = [peers.PROGRAM, "replay", *paths, "--json", "--expert-slots", ",".join(map(str, slots))]
        arguments += ["--policy", ",".join(names)] if names else []
        report = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
        self.assertEqual(len(report["results"]) % len(slots), 0)
        for result in report["results"]:
            policy, given = result["policy"], result["slots"]
            layers = [layer for trace in traces for layer in trace]
            if policy == "belady":
                expected = sum(belady(layer, given) for layer in layers)
                self.assertEqual(result["hits"], expected, (policy, given))
                continue
            counts = [sum(column) for column in zip(*(replay(layer, policy, given) for layer in layers))]
            found = [result["hits"], result["misses"], result["evictions"]]
            self.assertEqual(found, counts, (policy, given))
        return report["results"]

    def test_recorded(self):
        paths = sorted((peers.ROOT / "tests/data/routing").glob("*.tsv"))
        results = self.check(paths, [read(path) for path in paths], [1, 4, 8, 12, 16, 24, 32])
        self.assertEqual(len({result["policy"] for result in results}), 8)

    def test_prompts(self):
        for seed in range(5):
            path = peers.work_folder() / f"random-{seed}.trace"
            events = write_random(path, seed)
            self.check([path], [events], [1, 3, 5, 8, 15])

    def test_published(self):
        if "MOXIE_TEST_DATA" not in os.environ:
            self.skipTest("MOXIE_TEST_DATA is not set")
        paths = sorted((Path(os.environ["MOXIE_TEST_DATA"]) / "routing/gpt-oss-20b").glob("*.tsv"))
        self.assertEqual(len(paths), 73)
        self.check(paths, [read(path) for path in paths], [8, 16], ["lru", "lfru"])


if __name__ == "__main__":
    unittest.main()
