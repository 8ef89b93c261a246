"""What llama-cpp-python's constructor arguments mean here."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from typing import Any, Dict, Set

from .errors import IgnoredArgument, InvalidArgument, Unsupported

DEFAULT_SEED = 0xFFFFFFFF

# Arguments without a meaning here: the value that says nothing, and why.
_CPU = "moxie computes on the CPU"
_ROPE = "the position encoding is always what the model's file says"
_MEANINGLESS: Dict[str, "tuple[Any, str]"] = {
    "n_gpu_layers": (0, _CPU),
    "split_mode": (1, _CPU),
    "main_gpu": (0, _CPU),
    "tensor_split": (None, _CPU),
    "offload_kqv": (True, _CPU),
    "op_offload": (None, _CPU),
    "flash_attn": (False, "attention never stores its score matrix"),
    "use_mlock": (False, "memory= holds what is needed in memory"),
    "kv_overrides": (None, "a model's facts come from its file"),
    "n_threads_batch": (None, "prompts use the same threads (n_threads)"),
    "rope_scaling_type": (-1, _ROPE),
    "rope_freq_base": (0.0, _ROPE),
    "rope_freq_scale": (0.0, _ROPE),
    "yarn_ext_factor": (-1.0, _ROPE),
    "yarn_attn_factor": (1.0, _ROPE),
    "yarn_beta_fast": (32.0, _ROPE),
    "yarn_beta_slow": (1.0, _ROPE),
    "yarn_orig_ctx": (0, _ROPE),
    "attention_type": (-1, "the model's family says how it attends"),
    "swa_full": (None, "the whole context is kept"),
    "no_perf": (False, "figures cost nothing"),
    "numa": (False, "threads are not bound to nodes"),
    "draft_model": (None, "tokens are not guessed ahead"),
    "spm_infill": (False, "the order of a suffix follows the model's tokens"),
    "lora_base": (None, "there are no adapters"),
    "lora_scale": (1.0, "there are no adapters"),
}
# moxie's own, as EngineOptions names them.
_OWN = {
    "arch", "batch_size", "cache_folder", "cache_prior", "cache_type", "cpu_target", "direct_io", "expert_slots", "fast",
    "io_backend", "io_depth", "io_piece", "lookahead", "memory", "pin", "pin_top", "policy", "quantize", "quantize_cache", "skip_missing", "top1_threshold",
    "trace_routing", "verify", "warm",
}  # fmt: skip
_CACHE_TYPES = {0: "f32", 1: "f16", 8: "q8_0"}

# What arguments of calls must be, as their names say; None is taken where it is the default.
_WHOLE = (
    "n_ctx", "n_batch", "n_ubatch", "n_threads", "n_threads_batch", "n_gpu_layers", "seed", "pooling_type", "last_n_tokens_size",
    "max_tokens", "top_k", "mirostat_mode", "top_logprobs", "logprobs",
)  # fmt: skip
_REAL = (
    "temperature", "top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty", "repeat_penalty", "tfs_z",
    "mirostat_tau", "mirostat_eta",
)  # fmt: skip
_TEXT = ("suffix", "model", "chat_format")
_LISTS = {"messages": "a list of {'role': ..., 'content': ...}", "tools": "a list of tools", "functions": "a list of functions"}
_DICTS = ("response_format", "logit_bias", "chat_template_kwargs", "kv_overrides")

_said: Set[str] = set()


def check_types(call: str, given: Mapping[str, Any]) -> None:
    """TypeError where an argument is of another type than it must be; numbers of numpy count as numbers."""
    for name, value in given.items():
        if value is None and name not in ("prompt", "messages"):
            continue
        what = ""
        if name in _WHOLE and not isinstance(value, numbers.Integral):
            what = "a whole number"
        elif name in _REAL and not isinstance(value, numbers.Real):
            what = "a number"
        elif name in _TEXT and not isinstance(value, str):
            what = "a text"
        elif name in _LISTS and not isinstance(value, (list, tuple)):
            what = _LISTS[name]
        elif name in _DICTS and not isinstance(value, Mapping):
            what = "a dict"
        elif name == "prompt" and isinstance(value, (bytes, bytearray)):
            what = "a text, or a list of ids"
        elif name == "prompt" and not isinstance(value, str):
            if not hasattr(value, "__iter__") or not all(isinstance(id, numbers.Integral) for id in value):
                what = "a text, or a list of ids"
        if what:
            raise TypeError(f"{call}: {name} must be {what}, not {type(value).__name__}")




def say_ignored(name: str, value: Any, why: str) -> None:
    """Warns of an argument without a meaning, once for each name."""
    if name in _said:
        return
    _said.add(name)
    warnings.warn(f"{name}={value!r} has no effect: {why}", IgnoredArgument, stacklevel=4)


def _cache_type(type_k: Any, type_v: Any) -> str:
    wanted = [one for one in (type_k, type_v) if one is not None]
    if not wanted:
        return "f16"
    if len(set(wanted)) > 1:
        raise InvalidArgument(f"type_k={type_k} and type_v={type_v} differ; keys and values have one type here")
    if wanted[0] in _CACHE_TYPES.values():
        return str(wanted[0])
    if wanted[0] not in _CACHE_TYPES:
        raise InvalidArgument(f"type_k={wanted[0]!r} is not a type of the KV cache; take 0 (f32), 1 (f16) or 8 (q8_0)")
    return _CACHE_TYPES[wanted[0]]


def engine_options(
    model_path: str, n_ctx: int, n_batch: int, n_ubatch: int, n_threads: Any, use_mmap: bool, vocab_only: bool,
    type_k: Any, type_v: Any, others: Dict[str, Any],
) -> Dict[str, Any]:  # fmt: skip
    """Options of the engine; says what it leaves out."""
    if others.get("lora_path") is not None:
        raise Unsupported(f"lora_path={others['lora_path']!r}: adapters cannot be applied; merge them into the model")
    options: Dict[str, Any] = {
        "model": model_path,
        "ctx_size": int(n_ctx),
        "ubatch_size": int(n_ubatch),
        "batch_size": max(int(n_batch), int(n_ubatch)),
        "threads": int(n_threads or 0),
        "mmap": bool(use_mmap),
        "vocab_only": bool(vocab_only),
        "cache_type": _cache_type(type_k, type_v),
    }
    for name, value in others.items():
        if name == "lora_path":
            continue
        if name in _OWN:
            options[name] = str(value) if name == "memory" else value
        elif name in _MEANINGLESS:
            neutral, why = _MEANINGLESS[name]
            if value != neutral:
                say_ignored(name, value, why)
        else:
            say_ignored(name, value, "moxie knows no such argument")
    return options
