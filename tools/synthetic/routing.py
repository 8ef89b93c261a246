"""Weights with which a random model chooses its experts as Mixtral 8x7B does: how often consecutive tokens repeat one,
how far the choice is foreseen a layer ahead, every expert equally often. Nothing is learnt: the model is built so that
the statistics follow.

Channels of the hidden state come in three kinds.
  constant  the same for every token; only layer 0's queries and keys look at them
  slow      a weighted mean over past tokens, the near ones weighing most; written by layer 0's attention alone
  fast      the rest: the token's own random embedding and all that the experts add; nothing persists from token to token
A router reads a mixture of slow and fast channels, and the mixture sets how often its choice repeats. The experts'
output is scaled so that a layer's choice is as well foreseen from the layer before as in Mixtral.

The weighted mean comes from RoPE: constant queries and keys score a pair of positions by a sum of cosines of their
distance, which over many frequencies falls off with its logarithm.
"""

import weights
from weights import GROUP, Matrix, Vector

# Share of consecutive tokens with the same first choice, by depth (0 first layer, 1 last): Table 5 of the Mixtral paper
# (arXiv 2401.04088), about the middle of its eight corpora, at layers 0, 15 and 31.
FIRST_CHOICE_REPEATED = ((0.0, 0.14), (15 / 31, 0.28), (1.0, 0.23))
# Share of a layer's experts that its router names when shown the state of the layer before (arXiv 2408.10284, AdapMoE):
# layers 1, 2, 3, 4; the last holds for all later ones.
FORESEEN = (0.57, 0.72, 0.79, 0.87, 0.885)
# Deviation of a router's scores: makes the first expert weigh 0.70 of the two, as in traces of Mixtral.
SCORE_DEVIATION = 1.6
# Fastest pairs of RoPE frequencies in use and the score at distance 0: the falling off of repetition with distance
# then resembles that of traces, and the mean hardly depends on the length of the text.
KERNEL_PAIRS = 32
KERNEL_SCORE = 8.0
REFERENCE_LENGTH = 256  # tokens of context for which the numbers are exact
QUERY_NOISE = 0.25  # random part of layer 0's queries and keys, against 1 elsewhere
ATTENTION = 0.3  # attention output of the other layers, against that of a plain random model
ATTENTION_LEAK = 0.1  # of layer 0's attention into the fast channels, against the slow ones
CONSTANT, SLOW = 0, 1  # groups of channels; the others are fast
SAMPLES = 200_000


def _first_two(np, scores):
    first = scores.argmax(1)
    rest = scores.copy()
    rest[np.arange(len(rest)), first] = -np.inf
    return first, rest.argmax(1)


class ChoiceStatistics:
    """What follows from the correlation of scores, for independent normal scores: by simulation."""

    def __init__(self, np, rng, experts):
        a = rng.standard_normal((SAMPLES, experts), dtype="f4")
        b = rng.standard_normal((SAMPLES, experts), dtype="f4")
        a1, a2 = _first_two(np, a)
        self._np, self._grid = np, np.linspace(0, 1, 51)
        self._repeated, self._foreseen = [], []
        for correlation in self._grid:
            b1, b2 = _first_two(np, correlation * a + (1 - correlation**2) ** 0.5 * b)
            common = (a1 == b1) * 1 + (a1 == b2) + (a2 == b1) + (a2 == b2)
            self._repeated.append((a1 == b1).mean())
            self._foreseen.append(common.mean() / 2)
        gap = a[np.arange(SAMPLES), a1] - a[np.arange(SAMPLES), a2]
        share = 1 / (1 + np.exp(-SCORE_DEVIATION * gap))
        self.first_weight = share.mean()
        self.sum_of_squared_weights = (share**2 + (1 - share) ** 2).mean()

    def correlation_for_repetition(self, share):
        return float(self._np.interp(share, self._repeated, self._grid))

    def correlation_for_foresight(self, share):
        return float(self._np.interp(share, self._foreseen, self._grid))


class CalibratedModel:
    """Gives the values of every tensor. REQUIRES: arch llama, two experts used, rows of at least 1024 in groups of 256."""

    def __init__(self, shape, seed):
        import numpy as np

        if shape["arch"] != "llama" or shape["used"] != 2 or shape["hidden"] < 4 * GROUP or shape["hidden"] % GROUP:
            raise SystemExit("--routing mixtral is for the shapes of Mixtral; use --routing random")
        self._np, self._shape = np, shape
        self._rng = np.random.Generator(np.random.SFC64([seed, 1]))
        self._pattern = self._rng.integers(0, 16, GROUP)
        levels = 2.0 * self._pattern - 15
        self._pattern_power = float(np.sum(levels**2))
        self._choices = ChoiceStatistics(np, self._rng, shape["experts"])
        self._plan_attention()
        self._plan_layers()

    # ---- the numbers ----

    def _plan_attention(self):
        """Weights of the mean, its size and how alike it is for consecutive tokens."""
        np, shape = self._np, self._shape
        pairs = min(KERNEL_PAIRS, shape["head_dim"] // 2)
        frequencies = shape["rope_base"] ** (-2.0 * np.arange(pairs) / shape["head_dim"])
        distances = np.arange(REFERENCE_LENGTH)
        mean = np.exp(KERNEL_SCORE * np.cos(np.outer(distances, frequencies)).mean(1))
        mean /= mean.sum()
        self._pairs = pairs
        self._mean_power = float(np.sum(mean**2))
        self._mean_likeness = float(np.sum(mean[1:] * mean[:-1]) / self._mean_power)

    def _plan_layers(self):
        """For each layer: share of the slow channels in its scores, deviation of the fast channels."""
        shape, layers = self._shape, self._shape["layers"]
        depth, wanted = zip(*FIRST_CHOICE_REPEATED)
        self.slow_share, self.fast = [], [1.0]
        for layer in range(layers):
            target = self._np.interp(layer / max(1, layers - 1), depth, wanted)
            likeness = self._choices.correlation_for_repetition(target)
            self.slow_share.append(likeness / self._mean_likeness)
        for layer in range(1, layers):
            wanted = FORESEEN[min(layer, len(FORESEEN)) - 1]
            alike = self._choices.correlation_for_foresight(wanted)
            slow = self.slow_share[layer]
            fast_alike = max(0.1, (alike - slow) / (1 - slow))
            self.fast.append(self.fast[-1] / fast_alike)
        self.fast.append(self.fast[-1] * (self.fast[-1] / self.fast[-2] if layers > 1 else 1.1))
        self._groups = shape["hidden"] // GROUP

    def _power(self, layer):
        """Mean square of all channels before the layer's experts."""
        return (1 + 1 + (self._groups - 2) * self.fast[layer] ** 2) / self._groups

    def _silu_times_up(self, power):
        """Mean square of silu(g) * u for normal g and u of this mean square."""
        np = self._np
        g = np.linspace(-8, 8, 4001)
        density = np.exp(-g * g / 2)
        g = g * power**0.5
        return float(np.sum(density * (g / (1 + np.exp(-g))) ** 2) / np.sum(density)) * power

    def _down_deviation(self, layer):
        """Makes the experts' output lift the fast channels from this layer's deviation to the next one's."""
        added = self.fast[layer + 1] ** 2 - self.fast[layer] ** 2
        power = 1 - 1 / (self._groups * self._power(layer))  # the norm drops the constant channels
        of_one = self._shape["ffn"] * self._silu_times_up(power) * self._choices.sum_of_squared_weights
        return (added / of_one) ** 0.5

    # ---- the tensors ----

    def values_of(self, name, dims):
        """What weights.chunks_of takes."""
        hidden = self._shape["hidden"]
        if name == "token_embd.weight":
            amplitude = (GROUP / self._pattern_power) ** 0.5
            return Matrix(1.0, None, self._factors({SLOW: 0.0}), self._np.full(dims[1], amplitude), self._pattern)
        if not name.startswith("blk."):
            return Vector(self._all_but_constant()) if name == "output_norm.weight" else Matrix(hidden**-0.5)
        _, number, role, *_ = name.split(".")
        layer = int(number)
        if role == "attn_norm":
            return Vector(self._np.ones(hidden) if layer == 0 else self._all_but_constant())
        if role == "ffn_norm":
            return Vector(self._all_but_constant())
        if role == "ffn_gate_inp":
            return self._router(layer)
        if role.startswith("ffn_down"):
            return Matrix(self._down_deviation(layer), self._rows({CONSTANT: 0.0, SLOW: 0.0}))
        if role.startswith("attn_"):
            return self._first_attention(role, dims) if layer == 0 else self._attention(role, layer)
        return Matrix(hidden**-0.5)

    def _factors(self, changed):
        factors = self._np.ones(self._groups)
        for group, factor in changed.items():
            factors[group] = factor
        return factors

    def _rows(self, changed):
        return self._np.repeat(self._factors(changed), GROUP)

    def _all_but_constant(self):
        return self._rows({CONSTANT: 0.0})

    def _router(self, layer):
        """Slow and fast channels weigh so that each kind brings its share of the scores' variance."""
        slow, power = self.slow_share[layer], self._power(layer)
        of_slow = SCORE_DEVIATION * (slow * power / GROUP) ** 0.5
        of_fast = SCORE_DEVIATION * ((1 - slow) * power / (GROUP * (self._groups - 2))) ** 0.5 / self.fast[layer]
        factors = self._np.full(self._groups, of_fast)
        factors[CONSTANT], factors[SLOW] = 0.0, of_slow
        return Matrix(1.0, None, factors)

    def _attention(self, role, layer):
        deviation = self._shape["hidden"] ** -0.5
        if role != "attn_output":
            return Matrix(deviation)
        return Matrix(ATTENTION * self.fast[layer] * deviation, self._rows({CONSTANT: 0.0, SLOW: 0.0}))

    def _first_attention(self, role, dims):
        np, hidden, head_dim = self._np, self._shape["hidden"], self._shape["head_dim"]
        power = (1 + (self._groups - 2)) / self._groups  # of the embedding; the slow channels are still empty
        if role in ("attn_q", "attn_k"):
            # Score at distance 0: pairs * entry^2 / sqrt(head_dim). Only the first of a rotated pair is not 0.
            entry = (KERNEL_SCORE * head_dim**0.5 / self._pairs) ** 0.5
            seen = (GROUP * self._pattern_power) ** 0.5 / power**0.5  # what amplitude 1 gives on the constant channels
            place = np.arange(dims[1]) % head_dim
            amplitudes = np.where((place % 2 == 0) & (place < 2 * self._pairs), entry / seen, 0.0)
            return Matrix(QUERY_NOISE * hidden**-0.5, None, None, amplitudes, self._pattern)
        if role == "attn_v":
            return Matrix(hidden**-0.5, None, self._factors({CONSTANT: 0.0}))
        # Values have mean square `value`, the mean over tokens has mean_power of it; slow channels shall have 1.
        value = GROUP * (self._groups - 2) / power / hidden
        rows = np.repeat(np.full(self._groups, ATTENTION_LEAK), GROUP)
        rows[CONSTANT * GROUP : (CONSTANT + 1) * GROUP] = 0.0
        rows[SLOW * GROUP : (SLOW + 1) * GROUP] = 1.0
        return Matrix((dims[0] * value * self._mean_power) ** -0.5, rows)
