"""Grammars that hold an answer to a form: GBNF, JSON schemas, regular expressions."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Union

from . import _native

JSON_GRAMMAR = "{}"


class LlamaGrammar:
    """What an answer must match from its first character to its end. Bad grammars raise ValueError with the place."""

    def __init__(self, *, kind: str, text: str) -> None:
        """`kind`: "gbnf", "json_schema" or "regex"."""
        _native.check_grammar(kind, text)
        self.kind = kind
        self.text = text

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> "LlamaGrammar":
        """From GBNF."""
        return cls(kind="gbnf", text=grammar)

    @classmethod
    def from_file(cls, file: Union[str, "os.PathLike[str]"], verbose: bool = True) -> "LlamaGrammar":
        """From a file of GBNF."""
        with open(file, encoding="utf-8") as opened:
            return cls.from_string(opened.read())

    @classmethod
    def from_json_schema(cls, json_schema: Union[str, Dict[str, Any]], verbose: bool = True) -> "LlamaGrammar":
        """From a JSON schema as text or as an object. Keywords that cannot be held to are refused by name."""
        return cls(kind="json_schema", text=json_schema if isinstance(json_schema, str) else json.dumps(json_schema))

    @classmethod
    def from_regex(cls, regex: str) -> "LlamaGrammar":
        """From a regular expression in JavaScript's syntax, for the whole answer."""
        return cls(kind="regex", text=regex)

    def options(self) -> Dict[str, str]:
        return {"grammar" if self.kind == "gbnf" else self.kind: self.text}
