"""moxie: mixture-of-experts language models on ordinary machines.

`moxie.Llama` has llama-cpp-python's surface; `moxie.generate`, `moxie.stream_generate` and `moxie.Session` are the
short way; `moxie.hub` finds and fetches single tensors; `Llama.trace()` and `moxie.plot` show what experts do.
Importing the package loads nothing heavy: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

__version__ = "0.1.0"

_WHERE = {
    "Llama": "llama",
    "LlamaState": "state",
    "LlamaGrammar": "grammar",
    "LogitsProcessor": "processors",
    "LogitsProcessorList": "processors",
    "StoppingCriteria": "processors",
    "StoppingCriteriaList": "processors",
    "MinTokensLogitsProcessor": "processors",
    "LlamaRAMCache": "cache",
    "LlamaDiskCache": "cache",
    "LlamaCache": "cache",
    "LlamaPromptLookupDecoding": "cache",
    "LlamaDraftModel": "cache",
    "LlamaTokenizer": "tokenizer",
    "LlamaHFTokenizer": "tokenizer",
    "ExpertStats": "trace",
    "Trace": "trace",
    "generate": "session",
    "stream_generate": "session",
    "Session": "session",
    "MoxieError": "errors",
}
_MODULES = ("errors", "hub", "plot", "compat", "trace", "grammar", "chat_format", "llama_types")

if TYPE_CHECKING:
    from . import chat_format, compat, errors, grammar, hub, llama_types, plot, trace  # noqa: F401
    from .cache import LlamaCache, LlamaDiskCache, LlamaDraftModel, LlamaPromptLookupDecoding, LlamaRAMCache
    from .errors import MoxieError
    from .grammar import LlamaGrammar
    from .llama import Llama
    from .processors import (
        LogitsProcessor,
        LogitsProcessorList,
        MinTokensLogitsProcessor,
        StoppingCriteria,
        StoppingCriteriaList,
    )
    from .session import Session, generate, stream_generate
    from .state import LlamaState
    from .tokenizer import LlamaHFTokenizer, LlamaTokenizer
    from .trace import ExpertStats, Trace

__all__ = [
    "ExpertStats",
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
    "MoxieError",
    "Session",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "Trace",
    "__version__",
    "chat_format",
    "compat",
    "errors",
    "generate",
    "grammar",
    "hub",
    "llama_types",
    "plot",
    "stream_generate",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'moxie' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted(set(globals()) | set(__all__))
