#!/usr/bin/env python3
"""Writes tests/data/samplers.json: what each sampler keeps, from plain definitions in numpy float64.

Needs numpy alone. Run from the root of the project; the output is the same every time.
"""

import json
import math
import sys

import numpy as np

DEFAULTS = dict(
    temp=0.8, dynatemp_range=0.0, dynatemp_exponent=1.0, top_k=40, top_p=0.95, min_p=0.05, typical=1.0, top_nsigma=-1.0,
    xtc_probability=0.0, xtc_threshold=0.1, min_keep=0, repeat_last_n=64, repeat_penalty=1.0, frequency_penalty=0.0,
    presence_penalty=0.0, dry_multiplier=0.0, dry_base=1.75, dry_allowed_length=2, dry_penalty_last_n=-1, mirostat=0,
    mirostat_lr=0.1, mirostat_ent=5.0, logit_bias=[], ignore_eos=False,
    samplers=["penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
)
# Texts of the ids, where a test needs some; every other id is a plain word.
BREAKERS = {7: "\n", 11: ":", 13: 'say"', 17: "*"}


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def entropy(p):
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def descending(z, ids):
    return sorted(range(len(ids)), key=lambda i: (-z[i], ids[i]))


# Every sampler takes and gives (z, ids): logits in float64 and the ids they belong to.
def logit_bias(z, ids, o, history):
    z = z.copy()
    for token, bias in o["logit_bias"]:
        z[ids == token] += bias
    return z, ids


def penalties(z, ids, o, history):
    last = history if o["repeat_last_n"] < 0 else history[max(0, len(history) - o["repeat_last_n"]):]
    z = z.copy()
    for i, token in enumerate(ids):
        count = list(last).count(int(token))
        if not count:
            continue
        z[i] = z[i] * o["repeat_penalty"] if z[i] <= 0 else z[i] / o["repeat_penalty"]
        z[i] -= count * o["frequency_penalty"] + o["presence_penalty"]
    return z, ids


def dry(z, ids, o, history):
    if o["dry_multiplier"] == 0:
        return z, ids
    n = o["dry_penalty_last_n"]
    h = list(history if n < 0 else history[max(0, len(history) - n):])
    z = z.copy()
    best = {}
    for j in range(len(h) - 1):  # h[j + 1] followed the text that ends with h[j]
        length = 0
        while length <= j and h[j - length] == h[len(h) - 1 - length] and h[len(h) - 1 - length] not in BREAKERS:
            length += 1
        best[h[j + 1]] = max(best.get(h[j + 1], 0), length)
    for i, token in enumerate(ids):
        length = best.get(int(token), 0)
        if length >= o["dry_allowed_length"]:
            z[i] -= o["dry_multiplier"] * o["dry_base"] ** (length - o["dry_allowed_length"])
    return z, ids


def take(z, ids, keep):
    keep = sorted(keep, key=lambda i: (-z[i], ids[i]))
    return z[keep], ids[keep]


def top_k(z, ids, o, history):
    if o["top_k"] <= 0:
        return z, ids
    return take(z, ids, descending(z, ids)[:max(o["top_k"], o["min_keep"], 1)])


def top_p(z, ids, o, history):
    if o["top_p"] >= 1:
        return z, ids
    p, keep, total = softmax(z), [], 0.0
    for i in descending(z, ids):
        keep.append(i)
        total += p[i]
        if total >= o["top_p"] and len(keep) >= o["min_keep"]:
            break
    return take(z, ids, keep)


def min_p(z, ids, o, history):
    if o["min_p"] <= 0:
        return z, ids
    p, keep = softmax(z), []
    for i in descending(z, ids):
        if p[i] >= o["min_p"] * p.max() or len(keep) < o["min_keep"]:
            keep.append(i)
    return take(z, ids, keep)


def typ_p(z, ids, o, history):
    if o["typical"] >= 1:
        return z, ids
    p = softmax(z)
    h = entropy(p)
    order = sorted(range(len(ids)), key=lambda i: (abs(-math.log(p[i]) - h), -z[i], ids[i]))
    keep, total = [], 0.0
    for i in order:
        if total > o["typical"] and len(keep) >= max(1, o["min_keep"]):
            break
        keep.append(i)
        total += p[i]
    return take(z, ids, keep)


def xtc(z, ids, o, history):  # for xtc_probability 0 or 1 alone
    if o["xtc_probability"] == 0 or o["xtc_threshold"] > 0.5:
        return z, ids
    p = softmax(z)
    likely = [i for i in descending(z, ids) if p[i] >= o["xtc_threshold"]]
    if len(likely) < 2 or len(ids) - len(likely) + 1 < o["min_keep"]:
        return z, ids
    return take(z, ids, set(range(len(ids))) - set(likely[:-1]))


def temperature(z, ids, o, history):
    t = o["temp"]
    if t > 0 and o["dynatemp_range"] > 0:
        low, high = max(0.0, t - o["dynatemp_range"]), t + o["dynatemp_range"]
        h = entropy(softmax(z)) / math.log(len(ids)) if len(ids) > 1 else 1.0
        t = low + (high - low) * h ** o["dynatemp_exponent"]
    if t <= 0:
        return take(z, ids, descending(z, ids)[:1])
    return z / t, ids


def top_n_sigma(z, ids, o, history):
    if o["top_nsigma"] < 0:
        return z, ids
    return take(z, ids, [i for i in range(len(ids)) if z[i] >= z.max() - o["top_nsigma"] * z.std()])


def mirostat(z, ids, o, mu, vocabulary):
    order = descending(z, ids)
    p = softmax(z)[order]
    m = min(100, len(p))
    t = np.log([(i + 2) / (i + 1) for i in range(m - 1)])
    b = np.log(p[:m - 1] / p[1:m])
    s = float((t * b).sum() / (t * t).sum())
    e = s - 1
    k = (e * 2**mu / (1 - float(vocabulary)**-e)) ** (1 / s)
    return take(z, ids, order[:max(1, min(len(p), int(k)))])


def mirostat_v2(z, ids, o, mu, vocabulary):
    p = softmax(z)
    keep = [i for i in range(len(ids)) if -math.log2(p[i]) <= mu]
    return take(z, ids, keep or descending(z, ids)[:1])


SAMPLERS = {f.__name__: f for f in
            (logit_bias, penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature)}


def chain_names(o):
    if o["top_nsigma"] >= 0 and "top_n_sigma" not in o["samplers"]:
        return ["logit_bias", "top_k", "temperature", "top_n_sigma"]
    return ["logit_bias"] + o["samplers"]


def result(z, ids):
    order = descending(z, ids)
    p = softmax(z)
    return dict(ids=[int(ids[i]) for i in order], probabilities=[float(p[i]) for i in order])


rng = np.random.default_rng(20240108)


def make_logits(n, spread):
    # Multiples of 1/64 are exact in float32 and float64 alike; some are equal on purpose.
    return np.round(rng.normal(0, spread, n) * 64) / 64


def single_cases():
    cases = []

    def add(name, n=48, spread=2.0, history=(), **options):
        z, ids = make_logits(n, spread), np.arange(n)
        o = {**DEFAULTS, **options}
        cases.append(dict(sampler=name, logits_64ths=(z * 64).astype(int).tolist(), history=list(map(int, history)), options=options,
                          **result(*SAMPLERS[name](z, ids, o, list(history)))))

    text = list(map(int, rng.integers(0, 48, 90)))
    add("logit_bias", logit_bias=[[3, 2.5], [40, -100.0], [0, -0.25], [3, 1.0]])
    for last in (-1, 1, 20, 64):
        add("penalties", history=text, repeat_last_n=last, repeat_penalty=1.25)
        add("penalties", history=text, repeat_last_n=last, frequency_penalty=0.5, presence_penalty=0.25)
    add("penalties", history=text[:5], repeat_last_n=64, repeat_penalty=0.75, frequency_penalty=-0.5, presence_penalty=-1.0)
    for k in (1, 2, 5, 47, 48, 100):
        add("top_k", top_k=k)
    add("top_k", top_k=2, min_keep=4)
    add("top_k", n=1500, spread=3.0, top_k=40)
    for p in (0.0, 0.1, 0.5, 0.9, 0.999):
        add("top_p", top_p=p)
        add("min_p", min_p=max(p, 0.01))
        add("typ_p", typical=p)
    add("top_p", n=1500, spread=1.0, top_p=0.9)
    for name, field in (("top_p", "top_p"), ("min_p", "min_p"), ("typ_p", "typical")):
        add(name, min_keep=6, spread=4.0, **{field: 0.3})
    for threshold in (0.02, 0.1, 0.4, 0.5):
        add("xtc", xtc_probability=1.0, xtc_threshold=threshold)
    add("xtc", xtc_probability=1.0, xtc_threshold=0.02, min_keep=47)
    for t in (-1.0, 0.0, 0.2, 0.8, 2.0):
        add("temperature", temp=t)
    for spread in (0.25, 2.0, 8.0):
        add("temperature", spread=spread, temp=0.8, dynatemp_range=0.5)
        add("temperature", spread=spread, temp=0.5, dynatemp_range=1.0, dynatemp_exponent=2.0)
    for n in (0.0, 0.5, 1.0, 3.0):
        add("top_n_sigma", top_nsigma=n)

    phrase = [20, 21, 22, 23, 24]
    for history in (
        phrase + [1, 2] + phrase,
        phrase + [25, 1] + phrase[1:] + [26, 2] + phrase,
        phrase + [25] + phrase[:2] + [7] + phrase[2:] + [25] + phrase,  # a newline inside
        phrase + [13] + phrase[3:],
        [5] * 12,
        [5, 6] * 9 + [5],
        phrase + [25] + phrase + [11],  # ends with a breaker
        text,
        [1],
        [],
    ):
        add("dry", history=history, dry_multiplier=0.8)
        add("dry", history=history, dry_multiplier=1.5, dry_base=1.25, dry_allowed_length=1, dry_penalty_last_n=8)
    return cases


def chain_cases():
    cases = []
    text = list(map(int, rng.integers(0, 200, 120)))
    for options in (
        {},
        dict(repeat_penalty=1.1, temp=0.7),
        dict(top_k=0, top_p=0.8, min_p=0.0),
        dict(top_k=0, top_p=1.0, min_p=0.0, temp=1.0),
        dict(typical=0.7, dynatemp_range=0.3, presence_penalty=0.5),
        dict(top_nsigma=1.0, repeat_penalty=3.0, min_p=0.9),  # penalties and min-p are no part of this chain
        dict(samplers=["temperature", "top_k"], temp=0.25, top_k=3),
        dict(samplers=["min-p", "temp", "top_n_sigma"], temp=1.5, top_nsigma=2.0),
        dict(logit_bias=[[1, 5.0], [2, 5.0]], dry_multiplier=0.5),
        dict(temp=0.0, repeat_penalty=1.3),
        dict(samplers=[]),
    ):
        z, ids = make_logits(200, 3.0), np.arange(200)
        o = {**DEFAULTS, **options}
        current = (z, ids)
        for name in chain_names(o):
            name = {"min-p": "min_p", "temp": "temperature"}.get(name, name)
            current = SAMPLERS[name](*current, o, text)
        cases.append(dict(logits_64ths=(z * 64).astype(int).tolist(), history=text, options=options, **result(*current)))
    return cases


def mirostat_cases():
    """Some steps each: what is kept, then a token that is said to be drawn, which moves mu."""
    cases = []
    for version, function in ((1, mirostat), (2, mirostat_v2)):
        for tau, eta, n in ((5.0, 0.1, 300), (2.0, 0.5, 300), (0.5, 0.1, 60)):
            mu, steps = 2 * tau, []
            for _ in range(6):
                z, ids = make_logits(n, 2.0), np.arange(n)
                kept = result(*function(z, ids, DEFAULTS, mu, n))
                drawn = int(rng.integers(0, len(kept["ids"])))
                steps.append(dict(logits_64ths=(z * 64).astype(int).tolist(), drawn=kept["ids"][drawn], **kept))
                mu -= eta * (-math.log2(kept["probabilities"][drawn]) - tau)
            cases.append(dict(options=dict(mirostat=version, mirostat_ent=tau, mirostat_lr=eta), vocabulary=n, steps=steps))
    return cases


def draw_cases():
    """The generator is MT19937 seeded with one word; numpy's legacy one is the same and gives 53-bit numbers the same way."""
    cases = []
    for seed, options in ((1, {}), (42, {}), (4294967294, {}), (7, dict(top_k=0, top_p=1.0, min_p=0.0, temp=1.0))):
        z, ids = make_logits(120, 2.0), np.arange(120)
        o = {**DEFAULTS, **options}
        current = (z, ids)
        for name in chain_names(o):
            current = SAMPLERS[name](*current, o, [])
        p = softmax(current[0])
        generator = np.random.RandomState(seed)
        ids = [int(current[1][min(np.searchsorted(np.cumsum(p), generator.random_sample(), side="right"), len(p) - 1)])
               for _ in range(64)]
        cases.append(dict(seed=seed, options=options, logits_64ths=(z * 64).astype(int).tolist(), drawn=ids))
    return cases


def main():
    vectors = dict(breakers={str(k): v for k, v in BREAKERS.items()}, single=single_cases(), chain=chain_cases(),
                   mirostat=mirostat_cases(), draw=draw_cases())

    def short(value):
        if isinstance(value, float):
            return float(f"{value:.8g}")
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        if isinstance(value, list):
            return [short(v) for v in value]
        return value

    path = sys.argv[1] if len(sys.argv) > 1 else "tests/data/samplers.json"
    with open(path, "w") as out:
        json.dump(short(vectors), out, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
