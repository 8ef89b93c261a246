"""Functions that change logits or end an answer, and lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Optional

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.intc]
    Scores = npt.NDArray[np.single]
else:
    Ids = Scores = Any

LogitsProcessor = Callable[[Ids, Scores], Scores]
"""(ids so far (tokens,), logits (vocabulary,)) to logits of the same shape."""
StoppingCriteria = Callable[[Ids, Scores], bool]
"""(ids so far with the new one (tokens,), logits it was drawn from (vocabulary,)) to: is this the end?"""


class LogitsProcessorList(List[LogitsProcessor]):
    """Applies its functions one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(List[StoppingCriteria]):
    """The end once one of them says so."""

    def __call__(self, input_ids: Ids, logits: Scores) -> bool:
        return any([criterion(input_ids, logits) for criterion in self])


class MinTokensLogitsProcessor:
    """Keeps `token_eos` from being drawn before `min_tokens` tokens are there."""

    def __init__(self, min_tokens: int, token_eos: int) -> None:
        self.min_tokens = min_tokens
        self.token_eos = token_eos
        self.prompt_tokens: Optional[int] = None

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if self.prompt_tokens is None:
            self.prompt_tokens = len(input_ids)
        if len(input_ids) - self.prompt_tokens < self.min_tokens:
            scores[self.token_eos] = -float("inf")
        return scores
