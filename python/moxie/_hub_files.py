"""Where a model's tensors lie: which file holds each, and their bytes, here or on the hub."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from . import _native
from ._hub_cache import cached, fetch, is_safe, open_file, request, url_of
from .errors import Corrupt, NotFound, ReadError

_MAX_HEADER = 100 << 20


@dataclass
class Place:
    dtype: str
    shape: List[int]
    offset: int
    bytes: int


def _header_of(read: Any, what: str) -> Dict[str, Place]:
    """Places by name, from the header of a safetensors file; read(begin, end) gives its bytes."""
    (length,) = struct.unpack("<Q", read(0, 8))
    if length > _MAX_HEADER:
        raise Corrupt(f"{what}: a header of {length} bytes is no safetensors header; the limit is {_MAX_HEADER}")
    try:
        header = json.loads(read(8, 8 + length))
        places = {}
        for name, one in header.items():
            if name != "__metadata__":
                begin, end = (int(at) for at in one["data_offsets"])
                if not 0 <= begin <= end or min(one["shape"], default=0) < 0:
                    raise ValueError(name)
                places[name] = Place(str(one["dtype"]), list(one["shape"]), 8 + length + begin, end - begin)
        return places
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Corrupt(f"{what}: its header is no safetensors header") from None


def _weight_map(index: Any, path: str) -> Dict[str, str]:
    """File names by tensor, from a checkpoint's index."""
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not all(isinstance(name, str) and is_safe(name) for name in found.values()):
        raise Corrupt(f"{path} is no index: it has no weight_map, or names files that cannot be a model's")
    return dict(found)


class Source:
    """A model's tensors: which file holds each, and their bytes."""

    def __init__(self, model_id: str, revision: str = "main") -> None:
        self.model_id, self.revision = model_id, revision
        self.local = os.path.exists(model_id)
        self.gguf = self.local and not self._safetensors()
        self._files: Optional[Dict[str, str]] = None
        self._headers: Dict[str, Dict[str, Place]] = {}

    def root(self) -> str:
        """The folder of a model on this machine."""
        return self.model_id if os.path.isdir(self.model_id) else os.path.dirname(self.model_id)

    def _safetensors(self) -> List[str]:
        """The files of a checkpoint on this machine: their own names and those of their tensors count, as on the hub."""
        if os.path.isfile(self.model_id):
            name = os.path.basename(self.model_id)
            if name.endswith(".safetensors"):
                return [name]
            return self._indexed(name) if name.endswith(".index.json") else []
        there = sorted(os.listdir(self.model_id))
        for name in there:
            if name.endswith(".safetensors.index.json"):
                return self._indexed(name)
        return [name for name in there if name.endswith(".safetensors")]

    def _indexed(self, index: str) -> List[str]:
        path = os.path.join(self.root(), index)
        with open_file(path) as file:
            names = set(_weight_map(json.load(file), path).values())
        return sorted(name for name in names if os.path.exists(os.path.join(self.root(), name)))

    def files(self) -> Dict[str, str]:
        """File names by tensor."""
        if self._files is None:
            self._files = self._find_files()
        return self._files

    def _find_files(self) -> Dict[str, str]:
        if self.local and not self.gguf:
            return {tensor: name for name in self._safetensors() for tensor in self.header(name)}
        if self.local:
            weights = _native.read_weights(self.model_id)
            found = {}
            root = self.root()
            for one in weights["tensors"]:
                name = os.path.relpath(weights["files"][one["file"]], root)
                found[one["name"]] = name
                if not one["apart"]:
                    place = Place(one["dtype"], one["shape"], one["offset"], one["bytes"])
                    self._headers.setdefault(name, {})[one["name"]] = place
            return found
        try:
            path = fetch(self.model_id, self.revision, "model.safetensors.index.json")
        except NotFound:
            return dict.fromkeys(self.header("model.safetensors"), "model.safetensors")
        with open_file(path) as file:
            return _weight_map(json.load(file), path)

    def path(self, name: str) -> Optional[str]:
        """Of a file that is on this machine."""
        if self.local:
            return os.path.join(self.root(), name)
        return cached(self.model_id, self.revision, name)

    def header(self, name: str) -> Dict[str, Place]:
        if name not in self._headers:
            self._headers[name] = _header_of(lambda begin, end: self.read(name, begin, end), name)
        return self._headers[name]

    def read(self, name: str, begin: int, end: int) -> bytes:
        path = self.path(name)
        if path is not None:
            with open_file(path) as file:
                file.seek(begin)
                data: bytes = file.read(end - begin)
        else:
            answer, _ = request(url_of(self.model_id, self.revision, name), span=(begin, end))
            with answer:
                if answer.status != 206:
                    raise ReadError(f"{self.model_id}: {name} cannot be read in part; use load() without remote=True")
                data = answer.read(end - begin)
        if len(data) != end - begin:
            raise Corrupt(f"{name} ends after {begin + len(data)} bytes; {end} were expected")
        return data


SOURCES: Dict[str, Source] = {}


def source_of(model_id: str) -> Source:
    if model_id not in SOURCES:
        SOURCES[model_id] = Source(model_id)
    return SOURCES[model_id]
