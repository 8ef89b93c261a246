"""What routers choose, as numpy; and how experts fare under a memory budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .llama import Llama


@dataclass
class ExpertStats:
    """How experts fared since the model was opened. Reads are counted where experts stream from files."""

    mode: str = "exact"
    streaming: bool = False
    slots_per_layer: float = 0.0
    hits: int = 0
    misses: int = 0
    bytes_read: int = 0
    stall_seconds: float = 0.0
    disk_busy_seconds: float = 0.0
    lookahead_useful: int = 0
    lookahead_late: int = 0
    lookahead_wasted: int = 0
    layer_hits: List[int] = field(default_factory=list)
    layer_misses: List[int] = field(default_factory=list)
    lossy_accesses: int = 0
    lossy_changed: int = 0
    lossy_weight_share: float = 0.0
    reads: str = ""

    @property
    def hit_rate(self) -> float:
        """Share of accesses (layer, step and distinct expert) found in memory; 1 where all experts are."""
        accesses = self.hits + self.misses
        return self.hits / accesses if accesses else 1.0


class Trace:
    """What each layer's router did with each computed token. Layers without experts do not appear.

    `layers`: numbers of the layers with experts, ascending.
    `positions` (tokens,): places of the tokens in the context, in the order they were computed.
    `experts` (layers, tokens, used): chosen experts, heaviest first; -1: left out by a lossy mode.
    `weights` (layers, tokens, used): what their outputs were multiplied by.
    `logits` (layers, tokens, experts): the routers' logits before the softmax, where they were asked for.
    `hidden` {layer: (tokens, n_embd)}: the states that entered the chosen layers.
    """

    def __init__(self, llama: "Llama", *, logits: bool, hidden_layers: Sequence[int]) -> None:
        self._llama = llama
        self._wants_logits = logits
        self._hidden_layers = list(hidden_layers)
        self._raw: Dict[int, Dict[str, Any]] = {}
        self.n_experts = int(llama._facts["experts"])
        self.n_layers = int(llama._facts["layers"])

    def __enter__(self) -> "Trace":
        self._llama._sequence.watch(True, self._wants_logits, self._hidden_layers)
        return self

    def __exit__(self, *_: object) -> None:
        self._raw = self._llama._sequence.take_watched()
        self._llama._sequence.unwatch()

    @property
    def layers(self) -> List[int]:
        return sorted(layer for layer, one in self._raw.items() if "experts" in one)

    def _stack(self, name: str) -> "npt.NDArray[Any]":
        import numpy as np

        if not self.layers:
            raise ValueError("nothing was traced: no layer with experts has computed a token yet")
        return np.stack([self._raw[layer][name] for layer in self.layers])

    @property
    def positions(self) -> "npt.NDArray[np.int64]":
        places: "npt.NDArray[np.int64]" = self._stack("positions")[0]
        return places

    @property
    def experts(self) -> "npt.NDArray[np.int32]":
        return self._stack("experts")

    @property
    def weights(self) -> "npt.NDArray[np.float32]":
        return self._stack("weights")

    @property
    def logits(self) -> "npt.NDArray[np.float32]":
        if not self._wants_logits:
            raise ValueError("the trace has no logits: it was made with logits=False")
        return self._stack("logits")

    @property
    def hidden(self) -> "Dict[int, npt.NDArray[np.float32]]":
        return {layer: one["hidden"] for layer, one in sorted(self._raw.items()) if "hidden" in one}

    def counts(self) -> "npt.NDArray[np.int64]":
        """(layers, experts): tokens that chose each expert."""
        import numpy as np

        chosen = self.experts
        return np.stack([np.bincount(one[one >= 0].ravel(), minlength=self.n_experts) for one in chosen])

    def mass(self) -> "npt.NDArray[np.float64]":
        """(layers, experts): sum of the weights with which tokens chose each expert."""
        import numpy as np

        experts, weights = self.experts, self.weights
        out = np.zeros((len(experts), self.n_experts))
        for layer in range(len(experts)):
            kept = experts[layer] >= 0
            np.add.at(out[layer], experts[layer][kept], weights[layer][kept])
        return out

    def reuse(self, window: int = 1) -> "npt.NDArray[np.float64]":
        """(layers,): share of a token's experts that one of the `window` tokens before it chose too."""
        import numpy as np

        experts = self.experts
        if window < 1 or experts.shape[1] <= window:
            raise ValueError(f"a window of {window} tokens does not fit a trace of {experts.shape[1]}")
        out = np.zeros(len(experts))
        for layer, chosen in enumerate(experts):
            shares = [
                np.isin(chosen[t], chosen[t - window : t].ravel()).mean() for t in range(window, chosen.shape[0])
            ]
            out[layer] = np.mean(shares)
        return out

    def hit_rates(self) -> "npt.NDArray[np.float64]":
        """(n_experts + 1,): share of choices found in memory if a layer keeps the 0, 1, ... experts used last."""
        import numpy as np

        hits = np.zeros(self.n_experts + 1)
        total = 0
        for chosen in self.experts:
            recent: List[int] = []
            for token in chosen:
                for expert in (int(one) for one in token if one >= 0):
                    total += 1
                    if expert in recent:
                        hits[recent.index(expert) + 1 :] += 1
                for expert in (int(one) for one in token if one >= 0):
                    if expert in recent:
                        recent.remove(expert)
                    recent.insert(0, expert)
        return hits / max(1, total)
