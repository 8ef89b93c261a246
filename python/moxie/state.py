"""A saved context."""

from __future__ import annotations

from typing import Any, List


class LlamaState:
    """What Llama.save_state() returns: plain data that can be pickled. `llama_state` carries the model's fingerprint and
    a checksum; loading it into another model is refused."""

    def __init__(
        self,
        input_ids: List[int],
        scores: Any,
        n_tokens: int,
        llama_state: bytes,
        llama_state_size: int,
        seed: int,
    ) -> None:
        self.input_ids = input_ids
        self.scores = scores
        self.n_tokens = n_tokens
        self.llama_state = llama_state
        self.llama_state_size = llama_state_size
        self.seed = seed
