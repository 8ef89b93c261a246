"""The short way: one call for one answer, or a session that stays."""

from __future__ import annotations

import os
from typing import Any, Iterator, List, Optional, Union

from .errors import InvalidArgument, Unsupported
from .llama import Llama

_CACHE_TYPES = {32: "f32", 16: "f16", 8: "q8_0"}


def _open(model: Any, memory: Any, profile: Any, kv_bits: Optional[int], n_ctx: int, **options: Any) -> Llama:
    if kv_bits is not None:
        if kv_bits not in _CACHE_TYPES:
            raise Unsupported(f"kv_bits={kv_bits}: keys and values are kept with 8, 16 or 32 bits")
        options["cache_type"] = _CACHE_TYPES[kv_bits]
    if memory is not None:
        options["memory"] = str(memory)
    if profile is not None:
        options["pin"] = os.fspath(profile)
    return Llama(model, n_ctx=n_ctx, verbose=False, **options)


class Session:
    """A model that stays open, and a context that goes on from call to call.

    memory: the most the process may use ("12G"). profile: a file of `moxie profile` whose most used experts never give
    way. kv_bits: 8, 16 or 32. state: a file in which the context is kept between runs; it is read if it is there, and
    written by save() and close(). Where experts are read as they are wanted, a folder beside it, state.experts, keeps
    which of them were used most, and the next session begins with those in memory.
    """

    def __init__(
        self, model: "Union[str, os.PathLike[str]]", *, memory: Optional[str] = None, profile: Any = None,
        kv_bits: Optional[int] = None, n_ctx: int = 4096, state: "Optional[Union[str, os.PathLike[str]]]" = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if state is not None:
            options.setdefault("cache_folder", f"{os.fspath(state)}.experts")
        self.llama = _open(model, memory, profile, kv_bits, n_ctx, **options)
        self._state = state
        self._closed = False
        if state is not None and os.path.exists(state):
            with open(state, "rb") as file:
                self.llama.load_state(_plain_state(file.read()))

    @property
    def tokens(self) -> List[int]:
        """The context's ids."""
        return self.llama.ctx.ids()

    def stream(self, prompt: str, max_tokens: int = 256, **sampling: Any) -> Iterator[str]:
        """Continues the context with a text and answers it, piece by piece."""
        ids = self.tokens
        more = self.llama.tokenize(prompt.encode("utf-8"), add_bos=not ids, special=True)
        if not ids and not more:
            raise InvalidArgument("there is nothing to continue: the session and the prompt are empty")
        for chunk in self.llama.create_completion(ids + more, max_tokens=max_tokens, stream=True, **sampling):
            text = chunk["choices"][0]["text"]
            if text:
                yield text

    def generate(self, prompt: str, max_tokens: int = 256, **sampling: Any) -> str:
        """The same as one text."""
        return "".join(self.stream(prompt, max_tokens, **sampling))

    def save(self) -> None:
        """Writes the context to the session's file."""
        if self._state is None:
            raise InvalidArgument("the session has no file: give Session(..., state=PATH)")
        temporary = f"{os.fspath(self._state)}.part"
        with open(temporary, "wb") as file:
            file.write(self.llama.save_state().llama_state)
        os.replace(temporary, self._state)

    def close(self) -> None:
        """Saves the context where the session has a file, and gives the memory back."""
        if self._closed:
            return
        self._closed = True
        if self._state is not None:
            self.save()
        self.llama.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain_state(saved: bytes) -> Any:
    from .state import LlamaState

    return LlamaState([], None, 0, saved, len(saved), 0xFFFFFFFF)


def stream_generate(
    model: Any, prompt: str, *, max_tokens: int = 256, memory: Optional[str] = None, profile: Any = None,
    kv_bits: Optional[int] = None, n_ctx: int = 4096, **sampling: Any,
) -> Iterator[str]:  # fmt: skip
    """Pieces of the text that follows `prompt`. `model`: a path, or an open Llama (then it stays open).

    memory: the most the process may use ("12G"). profile: a file of `moxie profile`. kv_bits: 8, 16 or 32."""
    if isinstance(model, Llama):
        for chunk in model.create_completion(prompt, max_tokens=max_tokens, stream=True, **sampling):
            if chunk["choices"][0]["text"]:
                yield chunk["choices"][0]["text"]
        return
    with Session(model, memory=memory, profile=profile, kv_bits=kv_bits, n_ctx=n_ctx) as session:
        yield from session.stream(prompt, max_tokens, **sampling)


def generate(model: Any, prompt: str, **options: Any) -> str:
    """The text that follows `prompt`; takes stream_generate()'s arguments."""
    return "".join(stream_generate(model, prompt, **options))
