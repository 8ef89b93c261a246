"""Stores of contexts for prompts that come again, and the name for speculation that llama-cpp-python uses."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple

from .state import LlamaState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Key = Tuple[int, ...]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b):
        if x != y:
            break
        count += 1
    return count


class BaseLlamaCache:
    """Contexts by their tokens. `cache[key]` is the one that shares the longest beginning with `key`."""

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        self.capacity_bytes = capacity_bytes
        self._sizes: "OrderedDict[Key, int]" = OrderedDict()

    @property
    def cache_size(self) -> int:
        """Bytes of all contexts."""
        return sum(self._sizes.values())

    def _find(self, key: Sequence[int]) -> Optional[Key]:
        best, best_length = None, 0
        for known in self._sizes:
            length = _common(known, key)
            if length > best_length:
                best, best_length = known, length
        return best

    def __contains__(self, key: Sequence[int]) -> bool:
        return self._find(key) is not None

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        found = self._find(key)
        if found is None:
            raise KeyError("no context begins like these tokens")
        self._sizes.move_to_end(found)
        return self._load(found)

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        whole = tuple(key)
        if whole in self._sizes:
            self._drop(whole)
        self._sizes[whole] = value.llama_state_size
        self._store(whole, value)
        while self.cache_size > self.capacity_bytes and self._sizes:
            self._drop(next(iter(self._sizes)))

    def _drop(self, key: Key) -> None:
        del self._sizes[key]
        self._forget(key)

    def _load(self, key: Key) -> LlamaState:
        raise NotImplementedError

    def _store(self, key: Key, value: LlamaState) -> None:
        raise NotImplementedError

    def _forget(self, key: Key) -> None:
        raise NotImplementedError


class LlamaRAMCache(BaseLlamaCache):
    """In memory, at most `capacity_bytes`; the least recently used context goes first."""

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        super().__init__(capacity_bytes)
        self._states: "dict[Key, LlamaState]" = {}

    def _load(self, key: Key) -> LlamaState:
        return self._states[key]

    def _store(self, key: Key, value: LlamaState) -> None:
        self._states[key] = value

    def _forget(self, key: Key) -> None:
        del self._states[key]


LlamaCache = LlamaRAMCache


class LlamaDiskCache(BaseLlamaCache):
    """In files of a folder, at most `capacity_bytes`. The files are pickles: keep the folder to yourself."""

    def __init__(self, cache_dir: str = ".cache/llama_cache", capacity_bytes: int = 2 << 30) -> None:
        super().__init__(capacity_bytes)
        self.cache_dir = cache_dir
        os.makedirs(cache_dir, mode=0o700, exist_ok=True)
        for name in sorted(os.listdir(cache_dir)):
            if not name.endswith(".state"):
                continue
            with open(os.path.join(cache_dir, name), "rb") as file:
                key = pickle.load(file)
            self._sizes[key] = os.path.getsize(os.path.join(cache_dir, name))

    def _path(self, key: Key) -> str:
        return os.path.join(self.cache_dir, hashlib.sha256(repr(key).encode()).hexdigest()[:32] + ".state")

    def _load(self, key: Key) -> LlamaState:
        with open(self._path(key), "rb") as file:
            pickle.load(file)
            state = pickle.load(file)
        assert isinstance(state, LlamaState)
        return state

    def _store(self, key: Key, value: LlamaState) -> None:
        temporary = self._path(key) + ".part"
        with open(temporary, "wb") as file:
            pickle.dump(key, file)
            pickle.dump(value, file)
        os.replace(temporary, self._path(key))

    def _forget(self, key: Key) -> None:
        try:
            os.remove(self._path(key))
        except FileNotFoundError:
            return


class LlamaDraftModel:
    """What guesses the next ids from those so far. moxie takes one as `draft_model` and says that it does not speculate
    here."""

    def __call__(self, input_ids: Any, /, **kwargs: Any) -> "npt.NDArray[np.intc]":
        raise NotImplementedError


class LlamaPromptLookupDecoding(LlamaDraftModel):
    """Guesses by looking the last ids up in the text so far; as a function it works by itself."""

    def __init__(self, max_ngram_size: int = 2, num_pred_tokens: int = 10) -> None:
        self.max_ngram_size = max_ngram_size
        self.num_pred_tokens = num_pred_tokens

    def __call__(self, input_ids: Any, /, **_: Any) -> "npt.NDArray[np.intc]":
        import numpy as np

        ids = [int(id) for id in input_ids]
        for size in range(min(self.max_ngram_size, len(ids) - 1), 0, -1):
            tail = ids[-size:]
            for start in range(len(ids) - size):
                if ids[start : start + size] == tail:
                    return np.array(ids[start + size : start + size + self.num_pred_tokens], dtype=np.intc)
        return np.array([], dtype=np.intc)
