"""The names of llama-cpp-python's package that programs use, over moxie."""

from __future__ import annotations

import typing
from types import ModuleType
from typing import Dict

from .. import cache as llama_cache
from .. import chat_format as llama_chat_format
from .. import grammar as llama_grammar
from .. import llama as llama
from .. import llama_types
from .. import tokenizer as llama_tokenizer
from ..cache import BaseLlamaCache, LlamaCache, LlamaDiskCache, LlamaDraftModel, LlamaPromptLookupDecoding, LlamaRAMCache
from ..grammar import LlamaGrammar
from ..llama import Llama
from ..processors import (
    LogitsProcessor,
    LogitsProcessorList,
    MinTokensLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)
from ..state import LlamaState
from ..tokenizer import BaseLlamaTokenizer, LlamaHFTokenizer, LlamaTokenizer

__version__ = "0.3.36"  # whose surface this is

LLAMA_DEFAULT_SEED = 0xFFFFFFFF
LLAMA_SPLIT_MODE_NONE, LLAMA_SPLIT_MODE_LAYER, LLAMA_SPLIT_MODE_ROW = 0, 1, 2
LLAMA_POOLING_TYPE_UNSPECIFIED = -1
LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_MEAN, LLAMA_POOLING_TYPE_CLS, LLAMA_POOLING_TYPE_LAST = 0, 1, 2, 3
GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0 = 0, 1, 8


def llama_supports_gpu_offload() -> bool:
    return False


def _module(name: str, source: ModuleType) -> ModuleType:
    made = ModuleType(f"llama_cpp.{name}", f"{source.__name__} under llama-cpp-python's name")
    kept = {key: value for key, value in vars(source).items() if not key.startswith("__") or key == "__getattr__"}
    made.__dict__.update(kept)
    return made


SUBMODULES: Dict[str, ModuleType] = {
    "llama": _module("llama", llama),
    "llama_cache": _module("llama_cache", llama_cache),
    "llama_chat_format": _module("llama_chat_format", llama_chat_format),
    "llama_grammar": _module("llama_grammar", llama_grammar),
    "llama_types": _module("llama_types", llama_types),
    "llama_tokenizer": _module("llama_tokenizer", llama_tokenizer),
    "llama_speculative": _module("llama_speculative", llama_cache),
}
for _name in ("LogitsProcessor", "LogitsProcessorList", "MinTokensLogitsProcessor", "StoppingCriteria", "StoppingCriteriaList"):
    setattr(SUBMODULES["llama"], _name, globals()[_name])

globals().update({key: value for key, value in vars(llama_types).items() if key[0].isupper() and not hasattr(typing, key)})

__all__ = [
    "BaseLlamaCache",
    "BaseLlamaTokenizer",
    "Llama",
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaDraftModel",
    "LlamaGrammar",
    "LlamaHFTokenizer",
    "LlamaPromptLookupDecoding",
    "LlamaRAMCache",
    "LlamaState",
    "LlamaTokenizer",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MinTokensLogitsProcessor",
    "StoppingCriteria",
    "StoppingCriteriaList",
]
