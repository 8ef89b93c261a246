"""Llama: a model with llama-cpp-python's surface."""

from __future__ import annotations

import json
import os
import random
import sys
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Dict, Generator, Iterator, List, Optional, Sequence, Union, cast

from . import _chat, _completion, _native
from ._arguments import DEFAULT_SEED, check_types, engine_options
from ._text import stop_list
from .errors import InvalidArgument, NotFound
from .state import LlamaState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .grammar import LlamaGrammar
    from .llama_types import CreateEmbeddingResponse
    from .tokenizer import LlamaTokenizer
    from .trace import ExpertStats, Trace

Tokens = List[int]
# Arguments of the constructor that it looks at itself; engine_options() gets the rest.
_TAKEN = (
    "n_ctx", "n_batch", "n_ubatch", "n_threads", "use_mmap", "vocab_only", "type_k", "type_v", "seed", "pooling_type",
    "logits_all", "embedding", "last_n_tokens_size", "chat_format", "chat_handler", "tokenizer", "verbose",
)  # fmt: skip


class Llama:
    """A model: `Llama(model_path)` opens GGUF files and folders of safetensors.

    Takes llama-cpp-python's arguments. Those without a meaning here are said once, as a warning. moxie's own:
    `memory` ("12G", "60%", "auto", "all"): the most memory the process may use; experts beyond it are read when they
    are wanted. Also `expert_slots`, `policy`, `lookahead`, `pin`, `cpu_target`, `fast` and the other options of the engine.

    Not for several threads at once. Close it, or use it as a context manager, to give its memory back.
    """

    def __init__(
        self, model_path: "Union[str, os.PathLike[str]]", *, n_gpu_layers: int = 0, split_mode: int = 1, main_gpu: int = 0,
        tensor_split: Optional[List[float]] = None, vocab_only: bool = False, use_mmap: bool = True,
        use_mlock: bool = False, kv_overrides: Optional[Dict[str, Union[bool, int, float, str]]] = None,
        seed: int = DEFAULT_SEED, n_ctx: int = 512, n_batch: int = 512, n_ubatch: int = 512,
        n_threads: Optional[int] = None, n_threads_batch: Optional[int] = None, rope_scaling_type: Optional[int] = -1,
        pooling_type: int = -1, attention_type: int = -1, rope_freq_base: float = 0.0, rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0, yarn_attn_factor: float = 1.0, yarn_beta_fast: float = 32.0,
        yarn_beta_slow: float = 1.0, yarn_orig_ctx: int = 0, logits_all: bool = False, embedding: bool = False,
        offload_kqv: bool = True, flash_attn: bool = False, op_offload: Optional[bool] = None,
        swa_full: Optional[bool] = None, no_perf: bool = False, last_n_tokens_size: int = 64,
        lora_base: Optional[str] = None, lora_scale: float = 1.0, lora_path: Optional[str] = None,
        numa: Union[bool, int] = False, chat_format: Optional[str] = None, chat_handler: Any = None,
        draft_model: Any = None, tokenizer: Any = None, type_k: Optional[int] = None, type_v: Optional[int] = None,
        spm_infill: bool = False, verbose: bool = True, memory: Optional[str] = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        others = {name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")}
        others.update(kwargs)
        self._given = dict(others)  # what another process opens the same with
        self._closed = True
        self.model_path = os.fspath(others.pop("model_path"))
        self.verbose = verbose
        if not self.model_path.startswith("hf:") and not os.path.exists(self.model_path):
            raise NotFound(f"Model path does not exist: {self.model_path}")
        check_types("Llama", others)
        for name in _TAKEN:
            del others[name]
        if memory is None:
            del others["memory"]
        options = engine_options(
            self.model_path, n_ctx, n_batch, n_ubatch, n_threads, use_mmap, vocab_only, type_k, type_v, others
        )
        self.n_batch = n_batch
        self.last_n_tokens_size = last_n_tokens_size
        self.chat_format = chat_format
        self.chat_handler = chat_handler
        self.cache: Any = None
        self._seed = seed
        self._pooling = max(0, pooling_type)
        self._logits_all = logits_all
        self._scores: "List[npt.NDArray[np.single]]" = []
        self._usage = [0, 0]
        self._chats: Dict[Any, _native.Chat] = {}
        self._metadata: Optional[Dict[str, str]] = None
        self.tokenizer_ = tokenizer
        _chat.check_format(chat_format)
        self._engine = _native.Engine(options)
        self._facts = self._engine.facts()
        self._open_sequence = None if vocab_only else _native.Sequence(self._engine)
        self._closed = False
        self._say()

    # ---- life ----

    def close(self) -> None:
        """Gives the memory back. Calls after that raise ValueError."""
        if self._closed:
            return
        self._closed = True
        if self._open_sequence is not None:
            self._open_sequence.close()
        self._engine.close()

    def __enter__(self) -> "Llama":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def _say(self) -> None:
        for severity, text in self._engine.said():
            if self.verbose and severity > 0:
                print(f"moxie: {text}", file=sys.stderr)

    @property
    def _sequence(self) -> _native.Sequence:
        if self._open_sequence is None:
            raise InvalidArgument("the model was opened with vocab_only=True; it can only tokenize")
        return self._open_sequence

    # ---- facts ----

    def n_ctx(self) -> int:
        """Tokens that the context holds."""
        return int(self._facts["context_tokens"])

    def n_embd(self) -> int:
        """Width of the hidden state."""
        return int(self._facts["hidden"])

    def n_vocab(self) -> int:
        """Tokens of the vocabulary."""
        return int(self._facts["vocabulary"]) or self._engine.vocabulary_size()

    @property
    def n_tokens(self) -> int:
        """Tokens in the context."""
        return len(self._sequence)

    @property
    def facts(self) -> Dict[str, Any]:
        """What the file says of the model, and how it runs: sizes in bytes, the CPU target, memory by purpose."""
        return dict(self._facts)

    @property
    def metadata(self) -> Dict[str, str]:
        """The file's facts by name, as texts."""
        if self._metadata is None:
            found = _native.read_weights(self.model_path)["metadata"]
            self._metadata = {key: _as_text(value) for key, value in found.items()}
        return self._metadata

    @property
    def ctx(self) -> _native.Sequence:
        return self._sequence

    @property
    def model(self) -> _native.Engine:
        return self._engine

    def notices(self) -> List[str]:
        """Every fallback, clamp and ignored setting so far."""
        return self._engine.notices()

    # ---- tokens ----

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> Tokens:
        """Ids of a text. `special`: control tokens written out in it count as such."""
        if not isinstance(text, (bytes, bytearray)):
            raise TypeError(f"tokenize takes bytes, not {type(text).__name__}; use text.encode('utf-8')")
        if self.tokenizer_ is not None:
            return cast(Tokens, self.tokenizer_.tokenize(text, add_bos, special))
        return self._engine.tokenize(bytes(text), add_bos, special)

    def detokenize(self, tokens: Sequence[int], prev_tokens: Optional[Sequence[int]] = None, special: bool = False) -> bytes:
        """Bytes of ids, which may end within a character. Without prev_tokens they begin a text."""
        if self.tokenizer_ is not None:
            return cast(bytes, self.tokenizer_.detokenize(list(tokens), prev_tokens=prev_tokens, special=special))
        pieces = [self._engine.token_bytes(id, special) for id in tokens]
        out = b"".join(pieces)
        begins = not prev_tokens and len(tokens) > 0 and tokens[0] == self.token_bos()
        if begins and self._engine.strips_leading_space():
            return out[1:] if out.startswith(b" ") else out
        return out

    def _token_bytes(self, id: int) -> bytes:
        return self.detokenize([id], [id])

    def _find_token(self, text: str) -> int:
        return self._engine.find_token(text)

    def _adds_bos(self) -> bool:
        return self._engine.adds_bos()

    def token_bos(self) -> int:
        """The id that begins a text; -1: none."""
        return self._engine.bos()

    def token_eos(self) -> int:
        """The id that ends a text; -1: none."""
        return self._engine.eos()

    def token_nl(self) -> int:
        """The id of a line end."""
        ids = self._engine.tokenize(b"\n", False, False)
        return ids[-1] if ids else -1

    def tokenizer(self) -> "LlamaTokenizer":
        """The model's tokenizer as an object."""
        from .tokenizer import LlamaTokenizer

        return LlamaTokenizer(self)

    def pooling_type(self) -> int:
        """0: an embedding for each token, 1: their mean, 2: the first, 3: the last."""
        return self._pooling

    # ---- steps ----

    @property
    def _input_ids(self) -> "npt.NDArray[np.intc]":
        import numpy as np

        return np.array(self._sequence.ids(), dtype=np.intc)

    @property
    def input_ids(self) -> "npt.NDArray[np.intc]":
        """The context's ids (n_tokens,)."""
        return self._input_ids

    @property
    def scores(self) -> "npt.NDArray[np.single]":
        """Logits: with logits_all=True (n_tokens, n_vocab), else (1, n_vocab) after the last token."""
        import numpy as np

        if self._logits_all:
            if not self._scores:
                return np.zeros((0, self.n_vocab()), dtype=np.single)
            return np.concatenate(self._scores)[: self.n_tokens]
        return self._sequence.logits()[np.newaxis, :]

    @property
    def eval_tokens(self) -> Deque[int]:
        return deque(self._sequence.ids(), maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> Deque[List[float]]:
        return deque(self.scores.tolist(), maxlen=self.n_ctx() if self._logits_all else 1)

    def reset(self) -> None:
        """Empties the context."""
        self._keep(0)

    def _keep(self, tokens: int) -> None:
        self._sequence.truncate(tokens)
        if self._logits_all:
            import numpy as np

            self._scores = [np.concatenate(self._scores)[:tokens]] if self._scores and tokens else []

    def set_seed(self, seed: int) -> None:
        """The seed of the following draws."""
        self._seed = seed

    def set_cache(self, cache: Any) -> None:
        """A LlamaRAMCache or LlamaDiskCache, asked before each prompt is computed; None: none."""
        self.cache = cache

    def eval(self, tokens: Sequence[int]) -> None:
        """Adds ids to the context and computes them."""
        ids = [int(id) for id in tokens]
        if not ids:
            return
        if self._logits_all:
            self._scores.append(self._sequence.append_all(ids))
        else:
            self._sequence.append(ids)

    def _prepare(self, ids: Tokens) -> None:
        """Makes the context these ids, keeping what they share with it."""
        if self.cache is not None:
            self._take_cached(ids)
        held = self._sequence.ids()
        same = 0
        while same < min(len(held), len(ids)) and held[same] == ids[same]:
            same += 1
        if same == len(held) == len(ids):
            return
        keep = min(same, len(ids) - 1)
        if keep < len(held):
            self._keep(keep)
        self.eval(ids[keep:])

    def _take_cached(self, ids: Tokens) -> None:
        from .cache import _common

        try:
            state = self.cache[ids]
        except KeyError:
            return
        if _common(state.input_ids, ids) > _common(self._sequence.ids(), ids):
            self.load_state(state)

    def _sampling(
        self, *, temp: float, top_k: int, top_p: float, min_p: float, typical_p: float, repeat_penalty: float,
        frequency_penalty: float, presence_penalty: float, mirostat_mode: int, mirostat_tau: float, mirostat_eta: float,
        seed: Optional[int] = None, grammar: "Optional[LlamaGrammar]" = None, logit_bias: Any = None, tfs_z: float = 1.0,
    ) -> Dict[str, Any]:  # fmt: skip
        from ._arguments import say_ignored

        if tfs_z != 1.0:
            say_ignored("tfs_z", tfs_z, "tail-free sampling is no longer part of llama.cpp's samplers either")
        options: Dict[str, Any] = {
            "temp": float(temp), "top_k": int(top_k), "top_p": float(top_p), "min_p": float(min_p), "typical": float(typical_p),
            "repeat_penalty": float(repeat_penalty), "frequency_penalty": float(frequency_penalty),
            "presence_penalty": float(presence_penalty), "repeat_last_n": int(self.last_n_tokens_size),
            "mirostat": int(mirostat_mode), "mirostat_ent": float(mirostat_tau), "mirostat_lr": float(mirostat_eta),
            "seed": int(self._seed if seed is None else seed) & 0xFFFFFFFF, "min_keep": 1,
        }  # fmt: skip
        if temp < 0:  # llama-cpp-python: the distribution as it is
            options.update(temp=1.0, samplers=["penalties"])
        if grammar is not None:
            options.update(grammar.options())
        if logit_bias:
            options["logit_bias"] = [(int(id), float(value)) for id, value in logit_bias.items()]
        return options

    def _draw(
        self, ids: Tokens, sampling: Dict[str, Any], logits_processor: Any = None, stopping_criteria: Any = None
    ) -> Generator[int, Optional[Sequence[int]], None]:
        """Makes the context `ids` and draws; each id is computed when the next one is asked for."""
        sampler = _native.Sampler(self._engine, sampling)
        self._prepare(ids)
        sampler.remember(self._sequence.ids())
        while True:
            logits = None
            if logits_processor is not None:
                logits = logits_processor(self._input_ids, self._sequence.logits())
                id = sampler.draw(logits)
            else:
                id = self._sequence.draw(sampler)
            if id is None:  # the grammar's text is complete
                return
            sampler.accept(id)
            if stopping_criteria is not None:
                import numpy as np

                seen = np.append(self._input_ids, np.intc(id))
                if stopping_criteria(seen, self._sequence.logits() if logits is None else logits):
                    return
            more: Optional[Sequence[int]] = yield id
            if self.n_tokens + 1 + len(more or []) > self.n_ctx():
                return
            self.eval([id] + [int(extra) for extra in more or []])
            if more:
                sampler.remember([int(extra) for extra in more])

    def sample(
        self, top_k: int = 40, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0, temp: float = 0.80,
        repeat_penalty: float = 1.0, frequency_penalty: float = 0.0, presence_penalty: float = 0.0, tfs_z: float = 1.0,
        mirostat_mode: int = 0, mirostat_eta: float = 0.1, mirostat_tau: float = 5.0, penalize_nl: bool = True,
        logits_processor: Any = None, grammar: "Optional[LlamaGrammar]" = None, idx: Optional[int] = None,
    ) -> int:  # fmt: skip
        """Draws an id after the context; the context stays what it is. `idx`: after that position (needs logits_all)."""
        if self.n_tokens == 0:
            raise InvalidArgument("there is nothing to draw from: eval() some tokens first")
        sampler = _native.Sampler(
            self._engine,
            self._sampling(
                temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p, repeat_penalty=repeat_penalty,
                frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, mirostat_mode=mirostat_mode,
                mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, grammar=grammar, tfs_z=tfs_z,
            ),
        )  # fmt: skip
        sampler.remember(self._sequence.ids())
        logits = self._sequence.logits() if idx is None else self.scores[idx]
        if logits_processor is not None:
            logits = logits_processor(self._input_ids, logits)
        id = sampler.draw(logits)
        return self.token_eos() if id is None else id

    def generate(
        self, tokens: Sequence[int], top_k: int = 40, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        temp: float = 0.80, repeat_penalty: float = 1.0, reset: bool = True, frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0, tfs_z: float = 1.0, mirostat_mode: int = 0, mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1, penalize_nl: bool = True, logits_processor: Any = None, stopping_criteria: Any = None,
        grammar: "Optional[LlamaGrammar]" = None,
    ) -> Generator[int, Optional[Sequence[int]], None]:  # fmt: skip
        """Ids that follow `tokens`, without end. Send a list of ids in to have them follow the last one."""
        sampling = self._sampling(
            temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p, repeat_penalty=repeat_penalty,
            frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, grammar=grammar, tfs_z=tfs_z,
        )  # fmt: skip
        ids = [int(id) for id in tokens]
        if not reset:
            ids = self._sequence.ids() + ids
        if not ids:
            raise InvalidArgument("there is nothing to continue: tokens is empty")
        return self._draw(ids, sampling, logits_processor, stopping_criteria)

    # ---- completions ----

    def create_completion(
        self, prompt: Union[str, Sequence[int]], suffix: Optional[str] = None, max_tokens: Optional[int] = 16,
        temperature: float = 0.8, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        logprobs: Optional[int] = None, echo: bool = False, stop: Optional[Union[str, List[str]]] = [],
        frequency_penalty: float = 0.0, presence_penalty: float = 0.0, repeat_penalty: float = 1.0, top_k: int = 40,
        stream: bool = False, seed: Optional[int] = None, tfs_z: float = 1.0, mirostat_mode: int = 0,
        mirostat_tau: float = 5.0, mirostat_eta: float = 0.1, model: Optional[str] = None, stopping_criteria: Any = None,
        logits_processor: Any = None, grammar: "Optional[LlamaGrammar]" = None,
        logit_bias: Optional[Dict[int, float]] = None,
    ) -> Any:  # fmt: skip
        """Continues a prompt (a text, or ids). Returns a completion as a dict, or with stream=True its chunks.

        max_tokens None or <= 0: until an end or the context is full. logprobs=N: log-probabilities (natural) of each
        token and of the N likeliest ones. echo: the prompt comes first. suffix: what follows the gap that is filled,
        where the model has tokens for that; else it is put behind the text.
        """
        check_types("create_completion", locals())
        if not isinstance(prompt, str):
            prompt = [int(id) for id in prompt]
        self._next_seed(seed)
        ids: Optional[Tokens] = None
        appended = suffix
        if suffix is not None and isinstance(prompt, str):
            ids = _completion.infill_ids(self, prompt, suffix)
            appended = None if ids is not None else suffix
        if ids is None:
            ids = self._prompt_ids(prompt)
        request = _completion.Request(
            ids=ids,
            sampling=self._sampling(
                temp=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p,
                repeat_penalty=repeat_penalty, frequency_penalty=frequency_penalty, presence_penalty=presence_penalty,
                mirostat_mode=mirostat_mode, mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, grammar=grammar,
                logit_bias=logit_bias, tfs_z=tfs_z,
            ),
            max_tokens=0 if max_tokens == 0 and echo else _completion.check_room(self, len(ids), max_tokens),
            stop=stop_list(stop), logits_processor=logits_processor, stopping_criteria=stopping_criteria,
            top_logprobs=logprobs,
        )  # fmt: skip
        chunks = self._cached(_completion.create(self, prompt, request, suffix=appended, echo=echo, model=model), ids)
        return chunks if stream else _completion.gathered(self, chunks, logprobs is not None)

    def __call__(
        self, prompt: Union[str, Sequence[int]], suffix: Optional[str] = None, max_tokens: Optional[int] = 16,
        temperature: float = 0.8, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        logprobs: Optional[int] = None, echo: bool = False, stop: Optional[Union[str, List[str]]] = [],
        frequency_penalty: float = 0.0, presence_penalty: float = 0.0, repeat_penalty: float = 1.0, top_k: int = 40,
        stream: bool = False, seed: Optional[int] = None, tfs_z: float = 1.0, mirostat_mode: int = 0,
        mirostat_tau: float = 5.0, mirostat_eta: float = 0.1, model: Optional[str] = None, stopping_criteria: Any = None,
        logits_processor: Any = None, grammar: "Optional[LlamaGrammar]" = None,
        logit_bias: Optional[Dict[int, float]] = None,
    ) -> Any:  # fmt: skip
        """create_completion()."""
        given = {name: value for name, value in locals().items() if name != "self"}
        return self.create_completion(**given)

    def _prompt_ids(self, prompt: Union[str, Tokens]) -> Tokens:
        ids = self.tokenize(prompt.encode("utf-8"), True, True) if isinstance(prompt, str) else list(prompt)
        if not ids:
            if self.token_bos() < 0:
                raise InvalidArgument("the prompt is empty, and the model has no token that begins a text")
            ids = [self.token_bos()]
        if ids[:2] == [self.token_bos()] * 2:
            begin = self.detokenize(ids[:1], special=True).decode("utf-8", "replace")
            warnings.warn(
                f'Detected duplicate leading "{begin}" in prompt: the model begins texts by itself; leave it out',
                RuntimeWarning, stacklevel=3,
            )  # fmt: skip
        return ids

    def _next_seed(self, seed: Optional[int]) -> None:
        if seed is not None:
            self._seed = seed
        elif self._seed != DEFAULT_SEED:
            self._seed = random.Random(self._seed).randint(0, 2**32 - 2)

    def _cached(self, chunks: Iterator[Dict[str, Any]], ids: Tokens) -> Iterator[Dict[str, Any]]:
        self._usage = [len(ids), 0]
        yield from chunks
        self._say()
        if self.cache is not None:
            self.cache[self._sequence.ids()] = self.save_state()

    def _usage_dict(self) -> Dict[str, int]:
        prompt, completion = self._usage
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def create_chat_completion(
        self, messages: List[Dict[str, Any]], functions: Optional[List[Dict[str, Any]]] = None, function_call: Any = None,
        tools: Optional[List[Dict[str, Any]]] = None, tool_choice: Any = None, temperature: float = 0.2,
        top_p: float = 0.95, top_k: int = 40, min_p: float = 0.05, typical_p: float = 1.0, stream: bool = False,
        stop: Optional[Union[str, List[str]]] = [], seed: Optional[int] = None,
        response_format: Optional[Dict[str, Any]] = None, max_tokens: Optional[int] = None,
        presence_penalty: float = 0.0, frequency_penalty: float = 0.0, repeat_penalty: float = 1.0, tfs_z: float = 1.0,
        mirostat_mode: int = 0, mirostat_tau: float = 5.0, mirostat_eta: float = 0.1, model: Optional[str] = None,
        logits_processor: Any = None, grammar: "Optional[LlamaGrammar]" = None,
        logit_bias: Optional[Dict[int, float]] = None, logprobs: Optional[bool] = None,
        top_logprobs: Optional[int] = None, parallel_tool_calls: Optional[bool] = None,
        chat_template_kwargs: Optional[Dict[str, Any]] = None,
    ) -> Any:  # fmt: skip
        """Answers a conversation. Returns it as a dict, or with stream=True its chunks.

        The form is chat_handler's, chat_format's, or the model's own template. tools: calls come back as `tool_calls`;
        tool_choice "required" or a named function makes the answer a call, held to the tool's schema. response_format:
        {"type": "json_object", "schema": ...} or {"type": "json_schema", "json_schema": ...} holds the answer to it.
        max_tokens None or <= 0: until an end or the context is full. chat_template_kwargs: variables of the template.
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        check_types("create_chat_completion", given)
        handler = self.chat_handler or _chat.registered(self.chat_format)
        if handler is None:
            return _chat.create(self, **given)
        for name in ("parallel_tool_calls", "chat_template_kwargs"):  # moxie's own, which handlers do not take
            if given[name] is None:
                del given[name]
        return handler(llama=self, **given)

    def create_chat_completion_openai_v1(self, *args: Any, **kwargs: Any) -> Any:
        """create_chat_completion() with the types of the package openai."""
        try:
            from openai.types.chat import ChatCompletion, ChatCompletionChunk
        except ImportError as error:
            raise ImportError("this call needs the package openai: pip install openai") from error
        if kwargs.get("stream"):
            return (ChatCompletionChunk(**one) for one in self.create_chat_completion(*args, **kwargs))
        return ChatCompletion(**self.create_chat_completion(*args, **kwargs))

    # ---- embeddings ----

    def embed(
        self, input: Union[str, List[str]], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> Any:
        """The final norm's output: for a text a list of (n_embd,) lists, one a token, or with pooling_type 1 to 3 one
        list; for a list of texts a list of those. truncate: texts longer than n_batch are cut, else a ValueError."""
        import numpy as np

        texts = [input] if isinstance(input, str) else list(input)
        for one in texts:
            if not isinstance(one, str):
                raise TypeError(f"embed takes a text or a list of texts; {one!r} is none")
        out: List[Any] = []
        total = 0
        last = int(self._facts["layers"])
        for text in texts:
            ids = self.tokenize(text.encode("utf-8"))
            if len(ids) > self.n_batch and not truncate:
                raise InvalidArgument(f"Requested tokens ({len(ids)}) exceed batch size of {self.n_batch}")
            ids = ids[: min(self.n_batch, self.n_ctx())]
            if not ids:
                raise InvalidArgument("an empty text has no embedding: the model has no token that begins a text")
            total += len(ids)
            self.reset()
            self._sequence.watch(False, False, [last])
            try:
                self._sequence.append(ids)
                states = self._sequence.take_watched()[last]["hidden"]
            finally:
                self._sequence.unwatch()
            if self._pooling:
                states = {1: states.mean(axis=0), 2: states[0], 3: states[-1]}[self._pooling]
            if normalize:
                norms = np.linalg.norm(states, axis=-1, keepdims=True)
                states = np.divide(states, norms, out=np.zeros_like(states), where=norms != 0)
            out.append(states.tolist())
        self.reset()
        result = out[0] if isinstance(input, str) else out
        return (result, total) if return_count else result

    def create_embedding(self, input: Union[str, List[str]], model: Optional[str] = None) -> "CreateEmbeddingResponse":
        """Embeddings in OpenAI's shape."""
        vectors, count = self.embed([input] if isinstance(input, str) else input, return_count=True)
        return {
            "object": "list",
            "data": [{"object": "embedding", "embedding": one, "index": i} for i, one in enumerate(vectors)],
            "model": model if model is not None else self.model_path,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }

    # ---- state ----

    def save_state(self) -> LlamaState:
        """The context, for load_state() of this or another process over the same model."""
        saved = self._sequence.save()
        return LlamaState(
            input_ids=self._sequence.ids(),
            scores=self.scores if self._logits_all else None,
            n_tokens=self.n_tokens,
            llama_state=saved,
            llama_state_size=len(saved),
            seed=self._seed,
        )

    def load_state(self, state: LlamaState) -> None:
        """Replaces the context. ValueError for another model's state or a damaged one."""
        self._sequence.restore(state.llama_state)
        self._scores = [state.scores] if self._logits_all and state.scores is not None else []
        self._seed = state.seed

    # ---- microscope ----

    def trace(
        self, text: Optional[Union[str, Sequence[int]]] = None, *, logits: bool = True, hidden_layers: Sequence[int] = ()
    ) -> "Trace":
        """What routers choose. With a text (or ids): computes it alone and returns its Trace. Without: a context
        manager, `with llm.trace() as trace: llm(...)`, which watches everything computed inside.

        logits: the routers' logits too. hidden_layers: keep the states that enter these layers; the number of layers
        stands for the final norm's output.
        """
        from .trace import Trace

        for layer in hidden_layers:
            if not 0 <= layer <= self._facts["layers"]:
                raise IndexError(f"layer {layer} is none: 0 to {self._facts['layers']} are")
        trace = Trace(self, logits=logits, hidden_layers=hidden_layers)
        if text is not None:
            ids = self._prompt_ids(text if isinstance(text, str) else [int(id) for id in text])
            self.reset()
            with trace:
                self.eval(ids)
        return trace

    def expert_stats(self) -> "ExpertStats":
        """Hits, misses and bytes read since the model was opened."""
        from .trace import ExpertStats

        return ExpertStats(**self._engine.expert_stats())

    # ---- other ways in ----

    @classmethod
    def from_pretrained(
        cls, repo_id: str, filename: Optional[str] = None, additional_files: Optional[List[str]] = None,
        local_dir: "Optional[Union[str, os.PathLike[str]]]" = None, local_dir_use_symlinks: Union[bool, str] = "auto",
        cache_dir: "Optional[Union[str, os.PathLike[str]]]" = None, **kwargs: Any,
    ) -> "Llama":  # fmt: skip
        """Opens a model of the Hugging Face hub, downloading what is not in the cache that huggingface_hub shares.

        filename: a name or pattern, "*q4_0.gguf"; all parts of a split file come with its first. Without one the whole
        repository's safetensors.
        """
        from . import hub

        path = hub.download(repo_id, filename, additional_files or [], local_dir=local_dir, cache_dir=cache_dir)
        return cls(model_path=path, **kwargs)

    @staticmethod
    def logits_to_logprobs(logits: Any, axis: int = -1) -> "npt.NDArray[np.single]":
        """The logarithm of the softmax."""
        import numpy as np

        values = np.asarray(logits, dtype=np.single)
        highest = values.max(axis=axis, keepdims=True)
        highest = np.where(np.isfinite(highest), highest, np.single(0))
        with np.errstate(divide="ignore"):
            total = np.log(np.exp(values - highest).sum(axis=axis, keepdims=True))
        return cast("npt.NDArray[np.single]", (values - highest - total).astype(np.single))

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """How many tokens two lists share at their beginning."""
        from .cache import _common

        return _common(a, b)

    def __getstate__(self) -> Dict[str, Any]:
        """A pickled Llama is the arguments it was opened with: unpickling opens the model again, its context empty."""
        return self._given

    def __setstate__(self, state: Dict[str, Any]) -> None:
        Llama.__init__(self, **state)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)
