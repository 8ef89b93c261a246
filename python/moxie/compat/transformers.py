"""The names of transformers that model cards use, over moxie: AutoTokenizer and AutoModelForCausalLM."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence, Union

from .. import hub
from .._arguments import say_ignored
from ..llama import Llama

_MEANINGLESS = {
    "torch_dtype": "weights are computed with as they are stored",
    "dtype": "weights are computed with as they are stored",
    "load_in_4bit": "weights stay as they are stored; `moxie convert --type q4_k` makes smaller ones",
    "load_in_8bit": "weights stay as they are stored; `moxie convert --type q8_0` makes smaller ones",
    "use_flash_attention_2": "attention never stores its score matrix",
    "attn_implementation": "there is one attention",
    "device_map": "moxie computes on the CPU",
}


def _path(name: str) -> str:
    return name if os.path.exists(name) else hub.download(name, None)


class BatchEncoding(Dict[str, Any]):
    """What a tokenizer returns: input_ids and attention_mask, (1, tokens)."""

    def to(self, device: Any) -> "BatchEncoding":
        return self


def _tensor(ids: List[List[int]], kind: Any) -> Any:
    if kind == "pt":
        import torch

        return torch.tensor(ids)
    if kind == "np":
        import numpy as np

        return np.array(ids)
    return ids


class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, name: str, **_: Any) -> "AutoTokenizer":
        return cls(Llama(_path(name), vocab_only=True, verbose=False))

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    def __call__(self, text: str, return_tensors: Any = None, **_: Any) -> BatchEncoding:
        ids = [self._llama.tokenize(text.encode("utf-8"), True, True)]
        return BatchEncoding(
            input_ids=_tensor(ids, return_tensors), attention_mask=_tensor([[1] * len(ids[0])], return_tensors)
        )

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return self._llama.detokenize([int(id) for id in ids], special=not skip_special_tokens).decode("utf-8", "replace")


class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, name: str, *, n_ctx: int = 4096, memory: str = "auto", **others: Any) -> "AutoModelForCausalLM":
        for key, value in others.items():
            say_ignored(key, value, _MEANINGLESS.get(key, "moxie knows no such argument"))
        return cls(Llama(_path(name), n_ctx=n_ctx, memory=memory, verbose=False))

    def __init__(self, llama: Llama) -> None:
        self.llama = llama

    def to(self, device: Any) -> "AutoModelForCausalLM":
        return self

    def generate(
        self, input_ids: Any, attention_mask: Any = None, *, max_new_tokens: int = 20, do_sample: bool = False,
        temperature: float = 1.0, top_k: int = 50, top_p: float = 1.0,
    ) -> Any:  # fmt: skip
        """(1, tokens) to (1, tokens and new ones), of the same kind."""
        rows: Union[Any, List[List[int]]] = input_ids.tolist() if hasattr(input_ids, "tolist") else input_ids
        ids = [int(id) for id in rows[0]]
        ends = set(self.llama.model.end_ids())
        drawn = self.llama.generate(
            ids, temp=temperature if do_sample else 0.0, top_k=top_k, top_p=top_p, min_p=0.0
        )
        out = list(ids)
        for _, id in zip(range(max_new_tokens), drawn):
            out.append(id)
            if id in ends:
                break
        kind = type(input_ids).__module__.split(".")[0]
        return _tensor([out], {"torch": "pt", "numpy": "np"}.get(kind))
