"""Chat completions in llama-cpp-python's shapes, over the library's templates and tool formats."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Tuple

from . import _completion, _native
from ._text import stop_list
from .errors import InvalidArgument

if TYPE_CHECKING:
    from .llama import Llama


class _Form(NamedTuple):
    """A way to write conversations: what stands around each message."""

    system: Tuple[str, str]
    user: Tuple[str, str]
    assistant: Tuple[str, str]
    prompt: str
    stop: Tuple[str, ...] = ()
    default_system: str = ""


# llama-cpp-python's names for forms that the library knows under llama.cpp's.
_SAME = {
    "llama-2": "llama2-sys", "llama-3": "llama3", "alpaca": "alpaca", "vicuna": "vicuna", "zephyr": "zephyr",
    "chatml": "chatml", "mistral-instruct": "mistral-v1", "chatglm3": "chatglm3", "openchat": "openchat", "gemma": "gemma",
    "chatml-function-calling": "chatml",
}  # fmt: skip
_FORMS = {
    "qwen": _Form(("<|im_start|>system\n", "<|im_end|>\n"), ("<|im_start|>user\n", "<|im_end|>\n"),
                  ("<|im_start|>assistant\n", "<|im_end|>\n"), "<|im_start|>assistant\n", ("<|endoftext|>", "<|im_end|>"),
                  "You are a helpful assistant."),
    "oasst_llama": _Form(("[INST] <<SYS>>\n", "\n<</SYS>>\n\n"), ("<|prompter|>", "</s>"), ("<|assistant|>", "</s>"),
                         "<|assistant|>"),
    "baichuan": _Form(("", ""), ("<reserved_102>", ""), ("<reserved_103>", ""), "<reserved_103>"),
    "baichuan-2": _Form(("", ""), ("<reserved_106>", ""), ("<reserved_107>", ""), "<reserved_107>"),
    "openbuddy": _Form(("", "\n"), ("User: ", "\n"), ("Assistant: ", "\n"), "Assistant:", ("\nUser:",)),
    "redpajama-incite": _Form(("", "\n"), ("<human>: ", "\n"), ("<bot>: ", "\n"), "<bot>:", ("<human>",)),
    "snoozy": _Form(("### Instruction:\n", "\n"), ("### Prompt: ", "\n"), ("### Response: ", "\n"), "### Response:",
                    ("###",), "The prompt below is a question to answer or a conversation to go on with."),
    "phind": _Form(("### System Prompt\n", "\n\n"), ("### User Message: ", "\n\n"), ("### Assistant: ", "\n\n"),
                   "### Assistant:", ("### User Message",), "You are an intelligent programming assistant."),
    "intel": _Form(("### System:\n", "\n"), ("### User:\n", "\n"), ("### Assistant:\n", "\n"), "### Assistant:\n",
                   ("### User:",)),
    "open-orca": _Form(("", "<|end_of_turn|>\n"), ("User: ", "<|end_of_turn|>\n"), ("Assistant: ", "<|end_of_turn|>\n"),
                       "Assistant: ", ("User", "<|end_of_turn|>")),
    "mistrallite": _Form(("<|system|>", "</s>"), ("<|prompter|>", "</s>"), ("<|assistant|>", "</s>"), "<|assistant|>"),
    "pygmalion": _Form(("<|system|>", "\n"), ("<|user|>", "\n"), ("<|model|>", "\n"), "<|model|>", ("<|user|>",)),
    "saiga": _Form(("<s>system\n", "</s>"), ("<s>user\n", "</s>"), ("<s>bot\n", "</s>"), "<s>bot\n"),
}  # fmt: skip
# Their forms are the models' own templates.
_OWN = ("functionary", "functionary-v1", "functionary-v2")


def chat_formats() -> List[str]:
    """The names that `chat_format` takes, beside llama.cpp's built-in ones and a template's Jinja text."""
    return sorted([*_SAME, *_FORMS, *_OWN])


def registered(name: Optional[str]) -> Any:
    """The handler that a program registered under this name with moxie.chat_format; None: none."""
    module = sys.modules.get("moxie.chat_format")
    return module.HANDLERS.get(name) if module is not None else None


def check_format(name: Optional[str]) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"chat_format is a name or a template's text, not {type(name).__name__}")


def _template(form: _Form) -> str:
    text = ""
    if form.default_system:
        text += "{% if messages[0].role != 'system' %}{{ " + json.dumps("".join((form.system[0], form.default_system, form.system[1])))
        text += " }}{% endif %}"
    text += "{% for message in messages %}"
    word = "if"
    for role, (begin, end) in (("system", form.system), ("assistant", form.assistant)):
        text += "{% " + word + " message.role == '" + role + "' %}{{ " + json.dumps(begin)
        text += " + (message.content or '') + " + json.dumps(end) + " }}"
        word = "elif"
    text += "{% else %}{{ " + json.dumps(form.user[0]) + " + (message.content or '') + " + json.dumps(form.user[1])
    text += " }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ " + json.dumps(form.prompt) + " }}{% endif %}"
    return text


def _chat_of(llama: "Llama", tools: bool) -> _native.Chat:
    name = llama.chat_format
    key = (name, tools)
    if key in llama._chats:
        return llama._chats[key]
    given = ""
    if name in _SAME:
        given = _SAME[name]
    elif name in _FORMS:
        given = _template(_FORMS[name])
    elif name is not None and name not in _OWN and name != "chat_template.default":
        given = name
    elif not llama._facts["chat_template"] and name is None:
        given = "llama2-sys"  # llama-cpp-python's guess
    try:
        llama._chats[key] = _native.Chat(llama._engine, given, tools)
    except ValueError as error:
        if given and given == name:
            raise InvalidArgument(f"chat_format '{name[:60]}': {error}; also {', '.join(chat_formats())}") from None
        raise
    return llama._chats[key]


def _legacy_tools(functions: Any, function_call: Any, tools: Any, tool_choice: Any) -> Tuple[Any, Any]:
    if functions is None:
        return tools, tool_choice
    tools = [{"type": "function", "function": one} for one in functions]
    if isinstance(function_call, dict):
        return tools, {"type": "function", "function": {"name": function_call["name"]}}
    return tools, function_call


def response_schema(response_format: Any) -> Optional[str]:
    """The JSON schema that an answer is wanted in, as text; None: in none."""
    if response_format is None or response_format.get("type") == "text":
        return None
    if response_format.get("type") == "json_object":
        schema = response_format.get("schema") or {"type": "object"}
    elif response_format.get("type") == "json_schema":
        named = response_format.get("json_schema")
        if not isinstance(named, dict) or "schema" not in named:
            raise InvalidArgument("response_format has the type 'json_schema' but no json_schema with a schema in it")
        schema = named["schema"]
    else:
        raise InvalidArgument(
            f"response_format has type {response_format.get('type')!r}; take text, json_object or json_schema"
        )
    return schema if isinstance(schema, str) else json.dumps(schema)


def create(
    llama: "Llama", *, messages: Any, functions: Any, function_call: Any, tools: Any, tool_choice: Any, response_format: Any,
    grammar: Any, parallel_tool_calls: Any, chat_template_kwargs: Any, **rest: Any,
) -> Any:  # fmt: skip
    """The answer to a conversation, whole or as chunks. See Llama.create_chat_completion."""
    if not messages:
        raise InvalidArgument("messages is empty; it must be a list of {'role': ..., 'content': ...}")
    tools, tool_choice = _legacy_tools(functions, function_call, tools, tool_choice)
    if parallel_tool_calls is None and isinstance(tool_choice, dict) and "function" in tool_choice:
        parallel_tool_calls = False  # one call of the function that is named
    chat = _chat_of(llama, bool(tools))
    prompt = chat.prompt(
        _json("messages", list(messages)),
        _json("tools", tools) if tools else "",
        _json("tool_choice", tool_choice) if tool_choice is not None and tools else "",
        parallel_tool_calls,
        _json("chat_template_kwargs", chat_template_kwargs) if chat_template_kwargs else "",
    )
    schema = response_schema(response_format)
    held: Dict[str, str] = {}
    if grammar is not None:
        held = grammar.options()
    else:
        structure = chat.structure(prompt, schema or "")
        if structure:
            held = {"structure": structure}
        elif schema:
            held = {"json_schema": schema}
    form = _FORMS.get(llama.chat_format or "")
    return answer(
        llama, prompt.ids, lambda seed: _native.AnswerParser(chat, prompt, seed), held, rest,
        stops=form.stop if form else (), special=prompt.can_call and chat.shows_control(), legacy=functions is not None,
    )  # fmt: skip


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be written as JSON: {error}") from None


def answer(
    llama: "Llama", ids: List[int], make_parser: "Callable[[int], Parser]", held: Dict[str, str], rest: Dict[str, Any], *,
    stops: Sequence[str] = (), special: bool = False, legacy: bool = False, stopping_criteria: Any = None,
) -> Any:  # fmt: skip
    """An answer after these ids. `held`: sampling options of what it is held to. `rest`: the arguments of
    Llama.create_chat_completion that say how to draw. `legacy`: calls come as function_call."""
    llama._next_seed(rest["seed"])
    sampling = llama._sampling(
        temp=rest["temperature"], mirostat_mode=rest["mirostat_mode"], mirostat_tau=rest["mirostat_tau"],
        mirostat_eta=rest["mirostat_eta"], logit_bias=rest["logit_bias"],
        **{name: rest[name] for name in ("top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "frequency_penalty",
                                         "presence_penalty", "tfs_z")},
    )  # fmt: skip
    sampling.update(held)
    request = _completion.Request(
        ids=ids,
        sampling=sampling,
        max_tokens=_completion.check_room(llama, len(ids), rest["max_tokens"]),
        stop=stop_list(rest["stop"]) + list(stops),
        logits_processor=rest["logits_processor"],
        stopping_criteria=stopping_criteria,
        top_logprobs=(rest["top_logprobs"] or 0) if rest["logprobs"] else None,
        special=special,
    )
    made = _Answer(llama, make_parser(sampling["seed"]), request, rest["model"], legacy)
    chunks = llama._cached(made.chunks(), ids)
    return chunks if rest["stream"] else made.whole(chunks)


class Parser(Protocol):
    """Takes an answer's text apart; events as _native.AnswerParser gives them."""

    def feed(self, text: str) -> "List[_native.Event]": ...
    def finish(self, cut: bool) -> "List[_native.Event]": ...


class _Answer:
    """An answer as it comes."""

    def __init__(
        self, llama: "Llama", parser: Parser, request: _completion.Request, model: Optional[str], legacy: bool
    ) -> None:
        import time
        import uuid

        self._llama, self._request, self._legacy = llama, request, legacy
        self._parser = parser
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4()}",
            "model": model if model is not None else llama.model_path,
            "created": int(time.time()),
        }
        self._called = False

    def chunks(self) -> Iterator[Dict[str, Any]]:
        yield self._chunk({"role": "assistant"})
        for piece in _completion.run(self._llama, self._request):
            self._llama._usage[1] += len(piece.tokens)
            logprobs = self._logprobs(piece.tokens)
            deltas = self._deltas(self._parser.feed(piece.text))
            if piece.finish is not None:
                deltas += self._deltas(self._parser.finish(piece.finish == "length"))
            if logprobs is not None and not deltas:
                deltas = [{"content": ""}]
            for delta in deltas:
                yield self._chunk(delta, logprobs)
                logprobs = None
            if piece.finish is not None:
                called = "function_call" if self._legacy else "tool_calls"
                yield self._chunk({}, None, called if self._called else piece.finish)

    def _deltas(self, events: List[_native.Event]) -> List[Dict[str, Any]]:
        out: List[Dict[str, Any]] = []
        for kind, text, call, id, name in events:
            if kind == "text":
                out.append({"content": text})
            elif kind == "reasoning":
                out.append({"reasoning_content": text})
            elif kind == "call_begin":
                self._called = True
                function = {"name": name, "arguments": ""}
                out.append(
                    {"function_call": function}
                    if self._legacy
                    else {"tool_calls": [{"index": call, "id": id, "type": "function", "function": function}]}
                )
            elif kind == "call_arguments":
                part = {"arguments": text}
                out.append(
                    {"function_call": {"name": "", **part}}
                    if self._legacy
                    else {"tool_calls": [{"index": call, "function": part}]}
                )
        return out

    def _chunk(self, delta: Dict[str, Any], logprobs: Any = None, finish: Optional[str] = None) -> Dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, tokens: List[_completion.Drawn]) -> Optional[Dict[str, Any]]:
        if self._request.top_logprobs is None or not tokens:
            return None

        def entry(id: int, value: Optional[float]) -> Dict[str, Any]:
            raw = self._llama._token_bytes(id)
            return {"token": raw.decode("utf-8", errors="ignore"), "bytes": list(raw), "logprob": value}

        content = [
            {**entry(one.id, one.logprob), "top_logprobs": [entry(id, value) for id, value in one.top]} for one in tokens
        ]
        return {"content": content, "refusal": None}

    def whole(self, chunks: Iterator[Dict[str, Any]]) -> Dict[str, Any]:
        message: Dict[str, Any] = {"role": "assistant", "content": ""}
        calls: List[Dict[str, Any]] = []
        logprobs: List[Any] = []
        finish = None
        for chunk in chunks:
            choice = chunk["choices"][0]
            delta = choice["delta"]
            finish = choice["finish_reason"] or finish
            message["content"] += delta.get("content") or ""
            if "reasoning_content" in delta:
                message["reasoning_content"] = message.get("reasoning_content", "") + delta["reasoning_content"]
            logprobs += (choice["logprobs"] or {}).get("content", [])
            for part in delta.get("tool_calls", []):
                if "id" in part:
                    calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
                else:
                    calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
            if "function_call" in delta:
                known = message.setdefault("function_call", {"name": delta["function_call"]["name"], "arguments": ""})
                known["arguments"] += delta["function_call"]["arguments"]
        if calls:
            message["tool_calls"] = calls
        if self._called and not message["content"].strip():
            message["content"] = None
        wanted = self._request.top_logprobs is not None
        choice = {
            "index": 0,
            "message": message,
            "logprobs": {"content": logprobs, "refusal": None} if wanted else None,
            "finish_reason": finish,
        }
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._llama._usage_dict()}
