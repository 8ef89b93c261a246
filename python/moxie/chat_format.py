"""How conversations become prompts, for programs that bring their own way: llama-cpp-python's llama_chat_format.

`register_chat_format(name)` decorates a function from messages to a ChatFormatterResponse; `Llama(chat_format=name)` uses
it then. `Jinja2ChatFormatter(template, ...).to_chat_handler()` makes a `chat_handler` of a template's text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Protocol, Union

from . import _chat, _native
from .errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from .llama import Llama

chat_formats = _chat.chat_formats
HANDLERS: Dict[str, "LlamaChatCompletionHandler"] = {}


class LlamaChatCompletionHandler(Protocol):
    """Answers a conversation: takes the arguments of Llama.create_chat_completion and `llama`."""

    def __call__(self, *, llama: "Llama", messages: List[Dict[str, Any]], **kwargs: Any) -> Any: ...


class LlamaChatCompletionHandlerNotFoundException(Exception):
    """No handler has this name."""


@dataclass
class ChatFormatterResponse:
    """A prompt; texts that end the answer; a function that does; whether the prompt begins with its own first token."""

    prompt: str
    stop: Optional[Union[str, List[str]]] = None
    stopping_criteria: Any = None
    added_special: bool = False


class ChatFormatter(Protocol):
    """Writes a conversation as a prompt."""

    def __call__(self, *, messages: List[Dict[str, Any]], **kwargs: Any) -> ChatFormatterResponse: ...


class Jinja2ChatFormatter:
    """A chat template's text as a ChatFormatter. The template is run by moxie's own interpreter, without Python."""

    def __init__(
        self, template: str, eos_token: str, bos_token: str, add_generation_prompt: bool = True,
        stop_token_ids: Optional[List[int]] = None,
    ) -> None:  # fmt: skip
        self.template, self.eos_token, self.bos_token = template, eos_token, bos_token
        self.add_generation_prompt = add_generation_prompt
        self.stop_token_ids = set(stop_token_ids) if stop_token_ids is not None else None

    def __call__(
        self, *, messages: List[Dict[str, Any]], functions: Any = None, function_call: Any = None, tools: Any = None,
        tool_choice: Any = None, **kwargs: Any,
    ) -> ChatFormatterResponse:  # fmt: skip
        extra = {"functions": functions, "function_call": function_call, "tool_choice": tool_choice}
        prompt = _native.render_template(
            self.template, self.bos_token, self.eos_token, json.dumps(messages), json.dumps(tools) if tools else "",
            json.dumps({name: value for name, value in extra.items() if value is not None}), self.add_generation_prompt,
        )  # fmt: skip
        criteria = self._ends if self.stop_token_ids is not None else None
        return ChatFormatterResponse(prompt, [self.eos_token], criteria, added_special=True)

    def _ends(self, ids: Any, logits: Any) -> bool:
        return int(ids[-1]) in (self.stop_token_ids or ())

    def to_chat_handler(self) -> LlamaChatCompletionHandler:
        return chat_formatter_to_chat_completion_handler(self)


class _Plain:
    """An answer that is text alone, or the arguments of one call."""

    def __init__(self, function: str, id: str) -> None:
        self._function, self._id = function, id
        self._begun = False

    def feed(self, text: str) -> "List[_native.Event]":
        if not self._function:
            return [("text", text, 0, "", "")] if text else []
        events: "List[_native.Event]" = []
        if not self._begun:
            self._begun = True
            events.append(("call_begin", "", 0, self._id, self._function))
        return events + ([("call_arguments", text, 0, "", "")] if text else [])

    def finish(self, cut: bool) -> "List[_native.Event]":
        return []


def chat_formatter_to_chat_completion_handler(chat_formatter: ChatFormatter) -> LlamaChatCompletionHandler:
    """A handler that writes prompts with this function. A tool_choice that names a tool holds the answer to its schema."""

    def handler(
        *, llama: "Llama", messages: List[Dict[str, Any]], functions: Any = None, function_call: Any = None,
        tools: Any = None, tool_choice: Any = None, response_format: Any = None, grammar: Any = None,
        stopping_criteria: Any = None, **rest: Any,
    ) -> Any:  # fmt: skip
        made = chat_formatter(
            messages=messages, functions=functions, function_call=function_call, tools=tools, tool_choice=tool_choice
        )
        name = _named_tool(function_call, tool_choice)
        held: Dict[str, str] = {}
        schema = _chat.response_schema(response_format)
        if grammar is not None:
            held = grammar.options()
        elif name:
            held = {"json_schema": json.dumps(_parameters(name, functions, tools))}
        elif schema:
            held = {"json_schema": schema}
        stops = [made.stop] if isinstance(made.stop, str) else list(made.stop or [])
        return _chat.answer(
            llama, llama.tokenize(made.prompt.encode("utf-8"), not made.added_special, True),
            lambda seed: _Plain(name, f"call_{seed:08x}"), held, {**_defaults(), **rest}, stops=[one for one in stops if one],
            stopping_criteria=stopping_criteria or made.stopping_criteria, legacy=functions is not None,
        )  # fmt: skip

    return handler


def _defaults() -> Dict[str, Any]:
    import inspect

    from .llama import Llama

    parameters = inspect.signature(Llama.create_chat_completion).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def _named_tool(function_call: Any, tool_choice: Any) -> str:
    if isinstance(tool_choice, dict) and "function" in tool_choice:
        return str(tool_choice["function"]["name"])
    if isinstance(function_call, dict):
        return str(function_call["name"])
    return ""


def _parameters(name: str, functions: Any, tools: Any) -> Any:
    known = list(functions or []) + [one["function"] for one in tools or []]
    for one in known:
        if one["name"] == name:
            return one.get("parameters") or {"type": "object"}
    raise InvalidArgument(f"tool_choice names '{name}', which is not among {', '.join(one['name'] for one in known)}")


def register_chat_format(name: str) -> Callable[[ChatFormatter], ChatFormatter]:
    """Decorates a ChatFormatter: chat_format=name means it."""

    def decorate(formatter: ChatFormatter) -> ChatFormatter:
        HANDLERS[name] = chat_formatter_to_chat_completion_handler(formatter)
        return formatter

    return decorate


def register_chat_completion_handler(name: str) -> Callable[[LlamaChatCompletionHandler], LlamaChatCompletionHandler]:
    """Decorates a handler: chat_format=name means it."""

    def decorate(handler: LlamaChatCompletionHandler) -> LlamaChatCompletionHandler:
        HANDLERS[name] = handler
        return handler

    return decorate


def get_chat_completion_handler(name: str) -> LlamaChatCompletionHandler:
    """The handler for a name of chat_format."""
    if name in HANDLERS:
        return HANDLERS[name]
    if name not in _chat.chat_formats():
        raise LlamaChatCompletionHandlerNotFoundException(
            f"Invalid chat handler: {name} (valid formats: {[*HANDLERS, *_chat.chat_formats()]})"
        )

    def handler(*, llama: "Llama", messages: List[Dict[str, Any]], **kwargs: Any) -> Any:
        before, llama.chat_format = llama.chat_format, name
        try:
            return llama.create_chat_completion(messages, **kwargs)
        finally:
            llama.chat_format = before

    return handler


def __getattr__(name: str) -> Any:
    if not name.endswith("ChatHandler"):
        raise AttributeError(f"module 'moxie.chat_format' has no attribute '{name}'")

    def refuse(*_: Any, **__: Any) -> Any:
        raise Unsupported(f"{name} reads images; moxie reads text alone")

    refuse.from_pretrained = refuse  # type: ignore[attr-defined]
    return refuse
