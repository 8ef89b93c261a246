"""A model's tokenizer with llama-cpp-python's habits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional

if TYPE_CHECKING:
    from .llama import Llama


class BaseLlamaTokenizer:
    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> List[int]:
        raise NotImplementedError

    def detokenize(
        self, tokens: List[int], prev_tokens: Optional[List[int]] = None, special: bool = False
    ) -> bytes:
        raise NotImplementedError


class LlamaTokenizer(BaseLlamaTokenizer):
    """Text to ids and back, by the model's own tokenizer."""

    def __init__(self, llama: "Llama") -> None:
        self._llama = llama

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> List[int]:
        return self._llama.tokenize(text, add_bos, special)

    def detokenize(
        self, tokens: List[int], prev_tokens: Optional[List[int]] = None, special: bool = False
    ) -> bytes:
        return self._llama.detokenize(tokens, prev_tokens, special)

    def encode(self, text: str, add_bos: bool = True, special: bool = True) -> List[int]:
        return self.tokenize(text.encode("utf-8", errors="ignore"), add_bos, special)

    def decode(self, tokens: List[int]) -> str:
        return self.detokenize(tokens).decode("utf-8", errors="ignore")

    @classmethod
    def from_ggml_file(cls, path: str) -> "LlamaTokenizer":
        """Of a model's file, without its weights."""
        from .llama import Llama

        return cls(Llama(path, vocab_only=True, verbose=False))


class LlamaHFTokenizer(BaseLlamaTokenizer):
    """A tokenizer of the package transformers, for `Llama(..., tokenizer=...)`."""

    def __init__(self, hf_tokenizer: Any) -> None:
        self.hf_tokenizer = hf_tokenizer

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str) -> "LlamaHFTokenizer":
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise ImportError("LlamaHFTokenizer needs the package transformers: pip install transformers") from error
        return cls(AutoTokenizer.from_pretrained(pretrained_model_name_or_path))

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> List[int]:
        ids = self.hf_tokenizer.encode(text.decode("utf-8", errors="ignore"), add_special_tokens=add_bos)
        return [int(id) for id in ids]

    def detokenize(
        self, tokens: List[int], prev_tokens: Optional[List[int]] = None, special: bool = False
    ) -> bytes:
        before = list(prev_tokens or [])
        whole = self._decode(before + list(tokens), special)
        return whole[len(self._decode(before, special)) :]

    def _decode(self, ids: List[int], special: bool) -> bytes:
        text: str = self.hf_tokenizer.decode(ids, skip_special_tokens=not special) if ids else ""
        return text.encode("utf-8", errors="ignore")
