"""The names of transformers that model cards use, over moxie: AutoTokenizer and AutoModelForCausalLM."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, Dict, List, Optional, Sequence, Union

from .. import _chat, _native, hub
from .._arguments import say_ignored
from ..errors import InvalidArgument, QuantizedAtLoad, Unsupported
from ..llama import Llama

_CPU = "moxie computes on the CPU"
_STORED = "weights are computed with as they are stored"
_MEANINGLESS = {
    "torch_dtype": _STORED,
    "dtype": _STORED,
    "use_flash_attention_2": "attention never stores its score matrix",
    "attn_implementation": "there is one attention, which never stores its score matrix",
    "device_map": _CPU,
    "max_memory": "memory= says how much memory may be used",
    "low_cpu_mem_usage": "weights are never loaded twice",
    "trust_remote_code": "no code of a model is ever run",
    "use_safetensors": "pickles are never read",
    "pad_token_id": "one prompt is answered at a time: nothing is padded",
    "use_cache": "keys and values are always kept",
}
# What weights of floats become at load.
_QUANTIZED = {"load_in_4bit": "q4_k_m", "load_in_8bit": "q8_0"}


def _path(name: Any) -> str:
    path = os.fspath(name)
    return path if os.path.exists(path) else hub.download(path, None)


class BatchEncoding(Dict[str, Any]):
    """What a tokenizer returns: input_ids and attention_mask, (1, tokens)."""

    def to(self, device: Any) -> "BatchEncoding":
        return self

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"a BatchEncoding has {', '.join(self)}, not {name}")


def _tensor(ids: List[List[int]], kind: Any) -> Any:
    if kind == "pt":
        import torch

        class Tensor(torch.Tensor):  # type: ignore[misc, unused-ignore]
            """Stays where it is computed with, whatever device it is sent to."""

            def to(self, *_: Any, **__: Any) -> Any:
                return self

        return torch.tensor(ids).as_subclass(Tensor)
    if kind == "np":
        import numpy as np

        return np.array(ids)
    if kind is not None:
        raise Unsupported(f"return_tensors={kind!r}: ids come as 'pt', 'np' or lists")
    return ids


class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, name: Any, **_: Any) -> "AutoTokenizer":
        return cls(Llama(_path(name), vocab_only=True, verbose=False))

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self.bos_token_id, self.eos_token_id = llama.token_bos(), llama.token_eos()
        self.pad_token_id: Optional[int] = None
        self.bos_token, self.eos_token = (
            llama.detokenize([id], special=True).decode() if id >= 0 else "" for id in (self.bos_token_id, self.eos_token_id)
        )
        self.pad_token: Optional[str] = None

    def __len__(self) -> int:
        return self._llama.n_vocab()

    def __call__(self, text: str, return_tensors: Any = None, add_special_tokens: bool = True, **_: Any) -> BatchEncoding:
        if not isinstance(text, str):
            raise Unsupported("one text is answered at a time: give a text, not a list")
        ids = [self.encode(text, add_special_tokens)]
        return BatchEncoding(
            input_ids=_tensor(ids, return_tensors), attention_mask=_tensor([[1] * len(ids[0])], return_tensors)
        )

    def encode(self, text: str, add_special_tokens: bool = True) -> List[int]:
        return self._llama.tokenize(text.encode("utf-8"), add_special_tokens, True)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return self._llama.detokenize([int(id) for id in ids], special=not skip_special_tokens).decode("utf-8", "replace")

    def batch_decode(self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> List[str]:
        return [self.decode(ids, skip_special_tokens) for ids in rows]

    def apply_chat_template(
        self, conversation: List[Dict[str, Any]], tools: Any = None, tokenize: bool = True,
        add_generation_prompt: bool = False, return_tensors: Any = None, return_dict: bool = False, **variables: Any,
    ) -> Any:  # fmt: skip
        """The conversation as the model's own template writes it: its ids, or with tokenize=False its text."""
        if not self._llama.facts["chat_template"]:
            raise InvalidArgument(f"{self._llama.model_path} has no chat template; take one whose name ends in Instruct")
        chat = _chat._chat_of(self._llama, bool(tools))
        text = _native.render_template(
            chat.template, self.bos_token, self.eos_token, json.dumps(conversation), json.dumps(tools) if tools else "",
            json.dumps(variables) if variables else "", add_generation_prompt,
        )  # fmt: skip
        if not tokenize:
            return text
        ids = [self._llama.tokenize(text.encode("utf-8"), False, True)]
        made = _tensor(ids, return_tensors)
        if return_dict:
            return BatchEncoding(input_ids=made, attention_mask=_tensor([[1] * len(ids[0])], return_tensors))
        return made if return_tensors is not None else ids[0]


def _quantize_type(others: Dict[str, Any]) -> Optional[str]:
    """Takes what asks for quantizing out of the arguments, and says what comes of it."""
    config = others.pop("quantization_config", None)
    for key, wanted in _QUANTIZED.items():
        asked = bool(others.pop(key, False)) or bool(getattr(config, key, False))
        if isinstance(config, dict):
            asked = asked or bool(config.get(key))
        if asked:
            warnings.warn(
                f"{key}: weights of floats are quantized to {wanted} while the model opens; `moxie convert --type {wanted}` "
                "does it once and for all",
                QuantizedAtLoad, stacklevel=4,
            )  # fmt: skip
            return wanted
    if config is not None:
        say_ignored("quantization_config", config, "it asks for neither 4 nor 8 bits")
    return None


class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, name: Any, *, n_ctx: int = 4096, memory: str = "auto", **others: Any) -> "AutoModelForCausalLM":
        """Opens a model of the hub or a folder. `n_ctx`: tokens of the context; `memory`: as for Llama."""
        options: Dict[str, Any] = {}
        quantize = _quantize_type(others)
        if quantize is not None:
            options["quantize"] = quantize
        for key, value in others.items():
            say_ignored(key, value, _MEANINGLESS.get(key, "moxie knows no such argument"))
        return cls(Llama(_path(name), n_ctx=n_ctx, memory=memory, verbose=False, **options))

    def __init__(self, llama: Llama) -> None:
        self.llama = llama

    def to(self, device: Any) -> "AutoModelForCausalLM":
        return self

    def eval(self) -> "AutoModelForCausalLM":
        return self

    @property
    def device(self) -> str:
        return "cpu"

    def generate(
        self, input_ids: Any = None, attention_mask: Any = None, *, inputs: Any = None, max_new_tokens: int = 20,
        do_sample: bool = False, temperature: float = 1.0, top_k: int = 50, top_p: float = 1.0,
        repetition_penalty: float = 1.0, **others: Any,
    ) -> Any:  # fmt: skip
        """(1, tokens) to (1, tokens and new ones), of the same kind."""
        for key, value in others.items():
            say_ignored(key, value, _MEANINGLESS.get(key, "moxie knows no such argument"))
        given = input_ids if input_ids is not None else inputs
        if isinstance(given, dict):
            given = given["input_ids"]
        if given is None:
            raise InvalidArgument("generate needs input_ids: what a tokenizer makes of a text")
        rows: Union[Any, List[List[int]]] = given.tolist() if hasattr(given, "tolist") else given
        if len(rows) != 1:
            raise Unsupported(f"input_ids holds {len(rows)} prompts; one is answered at a time")
        ids = [int(id) for id in rows[0]]
        ends = set(self.llama.model.end_ids())
        drawn = self.llama.generate(
            ids, temp=temperature if do_sample else 0.0, top_k=top_k, top_p=top_p, min_p=0.0,
            repeat_penalty=repetition_penalty,
        )  # fmt: skip
        out = list(ids)
        for _, id in zip(range(max_new_tokens), drawn):
            out.append(id)
            if id in ends:
                break
        kinds = [one.__module__.split(".")[0] for one in type(given).__mro__]
        return _tensor([out], "pt" if "torch" in kinds else "np" if "numpy" in kinds else None)
