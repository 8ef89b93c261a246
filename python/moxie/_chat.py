"""Chat completions in llama-cpp-python's shapes, over the library's templates and tool formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

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


def _response_grammar(response_format: Any) -> Any:
    from .grammar import LlamaGrammar

    if response_format is None or response_format.get("type") == "text":
        return None
    if response_format.get("type") == "json_object":
        return LlamaGrammar.from_json_schema(response_format.get("schema") or {"type": "object"})
    if response_format.get("type") == "json_schema":
        return LlamaGrammar.from_json_schema(response_format["json_schema"]["schema"])
    raise InvalidArgument(
        f"response_format has type {response_format.get('type')!r}; take text, json_object or json_schema"
    )


def create(
    llama: "Llama",
    messages: List[Dict[str, Any]],
    functions: Optional[List[Dict[str, Any]]] = None,
    function_call: Any = None,
    tools: Optional[List[Dict[str, Any]]] = None,
    tool_choice: Any = None,
    temperature: float = 0.2,
    top_p: float = 0.95,
    top_k: int = 40,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    stream: bool = False,
    stop: Any = None,
    seed: Optional[int] = None,
    response_format: Optional[Dict[str, Any]] = None,
    max_tokens: Optional[int] = None,
    presence_penalty: float = 0.0,
    frequency_penalty: float = 0.0,
    repeat_penalty: float = 1.0,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_tau: float = 5.0,
    mirostat_eta: float = 0.1,
    model: Optional[str] = None,
    logits_processor: Any = None,
    grammar: Any = None,
    logit_bias: Optional[Dict[int, float]] = None,
    logprobs: Optional[bool] = None,
    top_logprobs: Optional[int] = None,
    chat_template_kwargs: Optional[Dict[str, Any]] = None,
) -> Any:
    """The answer to a conversation, whole or as chunks. See Llama.create_chat_completion."""
    if not isinstance(messages, (list, tuple)) or not messages:
        raise InvalidArgument("messages is empty; it must be a list of {'role': ..., 'content': ...}")
    tools, tool_choice = _legacy_tools(functions, function_call, tools, tool_choice)
    chat = _chat_of(llama, bool(tools))
    prompt = chat.prompt(
        json.dumps(list(messages)),
        json.dumps(tools) if tools else "",
        json.dumps(tool_choice) if tool_choice is not None and tools else "",
        json.dumps(chat_template_kwargs) if chat_template_kwargs else "",
    )
    form = _FORMS.get(llama.chat_format or "")
    llama._next_seed(seed)
    sampling = llama._sampling(
        temp=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p, repeat_penalty=repeat_penalty,
        frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, mirostat_mode=mirostat_mode,
        mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, grammar=grammar or _response_grammar(response_format),
        logit_bias=logit_bias, tfs_z=tfs_z,
    )  # fmt: skip
    request = _completion.Request(
        ids=prompt.ids,
        sampling=sampling,
        max_tokens=_completion.check_room(llama, len(prompt.ids), max_tokens),
        stop=stop_list(stop) + list(form.stop if form else ()),
        logits_processor=logits_processor,
        top_logprobs=(top_logprobs or 0) if logprobs else None,
        special=prompt.can_call and chat.shows_control(),
    )
    answer = _Answer(llama, chat, prompt, request, model, legacy=functions is not None)
    chunks = llama._cached(answer.chunks(), prompt.ids)
    return chunks if stream else answer.whole(chunks)


class _Answer:
    """An answer as it comes."""

    def __init__(
        self, llama: "Llama", chat: _native.Chat, prompt: _native.ChatPrompt, request: _completion.Request,
        model: Optional[str], legacy: bool,
    ) -> None:  # fmt: skip
        import time
        import uuid

        self._llama, self._request, self._legacy = llama, request, legacy
        self._parser = _native.AnswerParser(chat, prompt, request.sampling["seed"])
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
