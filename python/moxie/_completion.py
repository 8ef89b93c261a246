"""Completions: tokens drawn one by one, as text in llama-cpp-python's shapes."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from . import _native
from ._text import StopTexts
from .errors import InvalidArgument

if TYPE_CHECKING:
    from .llama import Llama

# Names under which vocabularies carry the tokens around a gap: before it, after it, the gap itself.
_INFILL = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<PRE>", "<SUF>", "<MID>"),
)


@dataclass
class Request:
    """What generation needs to know, whoever asks."""

    ids: List[int]
    sampling: Dict[str, Any]
    max_tokens: int
    stop: List[str]
    logits_processor: Any = None
    stopping_criteria: Any = None
    top_logprobs: Optional[int] = None
    special: bool = False


@dataclass
class Drawn:
    """One token with what the model thought of it."""

    id: int
    logprob: Optional[float] = None
    top: List[Tuple[int, float]] = field(default_factory=list)


@dataclass
class Piece:
    """Text that is certain, the tokens it came with, and at the end why it ends ("stop", "length")."""

    text: str
    tokens: List[Drawn]
    finish: Optional[str] = None


def infill_ids(llama: "Llama", prompt: str, suffix: str) -> Optional[List[int]]:
    """The prompt for a gap between two texts; None where the vocabulary has no tokens for that."""
    for names in _INFILL:
        before, after, middle = (llama._find_token(name) for name in names)
        if min(before, after, middle) >= 0:
            begin = [llama.token_bos()] if llama._adds_bos() else []
            first = llama.tokenize(prompt.encode("utf-8"), False, False)
            last = llama.tokenize(suffix.encode("utf-8"), False, False)
            return begin + [before] + first + [after] + last + [middle]
    return None


def check_room(llama: "Llama", tokens: int, max_tokens: Optional[int]) -> int:
    """How many tokens may be drawn after so many."""
    len(llama._sequence)  # an error that says so, where the model is closed or was opened for its vocabulary
    limit = llama.n_ctx()
    if tokens >= limit:
        raise InvalidArgument(
            f"Requested tokens ({tokens}) exceed context window of {limit}; give a larger n_ctx or a shorter prompt"
        )
    if max_tokens is None or max_tokens <= 0:
        return limit - tokens
    return min(int(max_tokens), limit - tokens)


def run(llama: "Llama", request: Request) -> Iterator[Piece]:
    """Draws tokens until an end. The last piece alone has `finish`."""
    engine = llama._engine
    starts_text = len(request.ids) == 1 and request.ids[0] == llama.token_bos()
    text = _native.Detokenizer(engine, request.special, starts_text)
    stops = StopTexts(request.stop)
    ends = set(engine.end_ids())
    pending: List[Drawn] = []
    drawn = 0
    if request.max_tokens == 0:
        yield Piece("", [], "length")
        return
    tokens = llama._draw(request.ids, request.sampling, request.logits_processor, request.stopping_criteria)
    for id in tokens:
        if id in ends:
            yield Piece(stops.finish(text.finish()), pending, "stop")
            return
        one = Drawn(id)
        if request.top_logprobs is not None:
            one.logprob, one.top = llama._sequence.chances(id, request.top_logprobs)
        pending.append(one)
        drawn += 1
        certain = stops.push(text.push(id))
        if stops.found:
            yield Piece(certain, pending, "stop")
            return
        if drawn >= request.max_tokens:
            yield Piece(certain + stops.finish(text.finish()), pending, "stop" if stops.found else "length")
            return
        if certain:
            yield Piece(certain, pending)
            pending = []
    yield Piece(stops.finish(text.finish()), pending, "stop")


class LogprobWriter:
    """The `logprobs` of completions: lists over tokens, with offsets into the text."""

    def __init__(self, llama: "Llama", offset: int = 0) -> None:
        self._llama = llama
        self._offset = offset

    def write(self, tokens: List[Drawn]) -> Dict[str, Any]:
        out: Dict[str, Any] = {"tokens": [], "text_offset": [], "token_logprobs": [], "top_logprobs": []}
        for one in tokens:
            name = self._name(one.id)
            out["tokens"].append(name)
            out["text_offset"].append(self._offset)
            out["token_logprobs"].append(one.logprob)
            top: Optional[Dict[str, Any]] = {self._name(id): value for id, value in one.top}
            if one.logprob is None:
                top = None
            elif top is not None:
                top[name] = one.logprob
            out["top_logprobs"].append(top)
            self._offset += len(name)
        return out

    def _name(self, id: int) -> str:
        return self._llama._token_bytes(id).decode("utf-8", errors="ignore")


def _scored_prompt(llama: "Llama", ids: List[int], top: int) -> List[Drawn]:
    """The prompt's own tokens with their log-probabilities; computes the prompt."""
    llama.reset()
    scored = llama._sequence.append_scored(ids, top)
    return [Drawn(ids[0])] + [Drawn(id, value, best) for id, (value, best) in zip(ids[1:], scored)]


def create(
    llama: "Llama",
    prompt: Any,
    request: Request,
    *,
    suffix: Optional[str],
    echo: bool,
    model: Optional[str],
) -> Iterator[Dict[str, Any]]:
    """Chunks of a completion; each holds one choice with new text."""
    identity = f"cmpl-{uuid.uuid4()}"
    created = int(time.time())
    name = model if model is not None else llama.model_path

    def chunk(text: str, logprobs: Optional[Dict[str, Any]], finish: Optional[str]) -> Dict[str, Any]:
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish}
        return {"id": identity, "object": "text_completion", "created": created, "model": name, "choices": [choice]}

    shown_prompt = prompt if isinstance(prompt, str) else llama.detokenize(list(prompt)).decode("utf-8", errors="ignore")
    writer = LogprobWriter(llama, 0 if echo else len(shown_prompt))
    wanted = request.top_logprobs
    if echo:
        shown = request.ids[1:] if request.ids[:1] == [llama.token_bos()] else request.ids
        scored = None
        if wanted is not None:
            drawn = _scored_prompt(llama, request.ids, wanted)[-len(shown) :] if shown else []
            scored = writer.write([Drawn(one.id) for one in drawn[:1]] + drawn[1:])  # nothing comes before the first
        yield chunk(shown_prompt, scored, None)
    finish = None
    for piece in run(llama, request):
        finish = piece.finish
        logprobs = writer.write(piece.tokens) if wanted is not None and piece.tokens else None
        llama._usage[1] += len(piece.tokens)
        if piece.text or logprobs is not None:
            yield chunk(piece.text, logprobs, None)
    if suffix:
        yield chunk(suffix, None, None)
    yield chunk("", None, finish)


def gathered(llama: "Llama", chunks: Iterator[Dict[str, Any]], wants_logprobs: bool) -> Dict[str, Any]:
    """All chunks of a completion as one."""
    whole: Dict[str, Any] = {}
    text, finish = "", None
    logprobs: Dict[str, List[Any]] = {"tokens": [], "text_offset": [], "token_logprobs": [], "top_logprobs": []}
    for chunk in chunks:
        whole = chunk
        choice = chunk["choices"][0]
        text += choice["text"]
        finish = choice["finish_reason"] or finish
        for key, values in (choice["logprobs"] or {}).items():
            logprobs[key].extend(values)
    whole["choices"] = [
        {"text": text, "index": 0, "logprobs": logprobs if wants_logprobs else None, "finish_reason": finish}
    ]
    whole["usage"] = llama._usage_dict()
    return whole
