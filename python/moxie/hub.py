"""Tensors of mixtures of experts, wherever their files lie: on the Hugging Face hub, in its cache, in a folder, in GGUF.

    >>> model = moxie.hub.open("mistralai/Mixtral-8x7B-v0.1")
    >>> model.get_router_metadata(layer=0).load(remote=True).shape
    (8, 4096)
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import json
import os
import struct
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

from . import _native
from .errors import Corrupt, InvalidArgument, NotFound, ReadError, Unavailable

_MAX_HEADER = 100 << 20
_DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2",
           "U8": "u1", "BOOL": "?"}  # fmt: skip
# Floats of 8 bits: bits of the exponent; the largest one of e4m3 is a number, but for its last value.
_SMALL_FLOATS = {"F8_E4M3": 4, "F8_E5M2": 5}
_PIECE = 1 << 20


# ---- the hub and its cache ----


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _home() -> str:
    base = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.environ.get("HF_HOME", os.path.join(base, "huggingface"))


def _cache() -> str:
    return os.environ.get("HF_HUB_CACHE") or os.path.join(_home(), "hub")


def _token() -> str:
    token = os.environ.get("HF_TOKEN", "")
    path = os.environ.get("HF_TOKEN_PATH", os.path.join(_home(), "token"))
    if not token and os.path.exists(path):
        with open_file(path) as file:
            token = file.read().decode().strip()
    return token


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def open_file(path: str) -> Any:
    import builtins

    return builtins.open(path, "rb")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts without the token."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            if urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
                made.remove_header("Authorization")
        return made


def _request(url: str, *, method: str = "GET", span: Optional[Tuple[int, int]] = None) -> Tuple[Any, Dict[str, str]]:
    if _offline():
        raise Unavailable(f"{url} is wanted, but HF_HUB_OFFLINE is set")
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "moxie"})
    if _token():
        request.add_header("Authorization", f"Bearer {_token()}")
    if span is not None:
        request.add_header("Range", f"bytes={span[0]}-{span[1] - 1}")
    handler = _Redirects()
    try:
        answer = urllib.request.build_opener(handler).open(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise Unavailable(f"{url}: the hub answers {error.code}; the model may be gated: set HF_TOKEN") from None
        if error.code == 404:
            raise NotFound(f"{url} is not there; check the model's name and the file's") from None
        raise ReadError(f"{url}: the hub answers {error.code}") from None
    except OSError as error:
        raise ReadError(f"{url}: {error}") from None
    return answer, dict(answer.headers)


def _url(repo: str, revision: str, name: str) -> str:
    return f"{_endpoint()}/{repo}/resolve/{urllib.parse.quote(revision, safe='')}/{urllib.parse.quote(name)}"


def _safe(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not os.path.isabs(name) and "\\" not in name and all(part not in ("", ".", "..") for part in parts)


def _repo_folder(repo: str, cache: Optional[str] = None) -> str:
    return os.path.join(cache or _cache(), "models--" + repo.replace("/", "--"))


def _cached(repo: str, revision: str, name: str, cache: Optional[str] = None) -> Optional[str]:
    folder = _repo_folder(repo, cache)
    commit = revision
    ref = os.path.join(folder, "refs", revision)
    if os.path.isfile(ref):
        with open_file(ref) as file:
            commit = file.read().decode().strip()
    path = os.path.join(folder, "snapshots", commit, name)
    return path if os.path.exists(path) else None


def _fetch(repo: str, revision: str, name: str, cache: Optional[str] = None) -> str:
    """The file in the cache, downloaded if it is not there yet."""
    if not _safe(name):
        raise InvalidArgument(f"'{name}' cannot be a file of a model")
    found = _cached(repo, revision, name, cache)
    if found is not None:
        return found
    url = _url(repo, revision, name)
    answer, headers = _request(url)
    with answer:
        # The hub names commit and digest before it redirects to where the bytes lie.
        named = {key.lower(): value for key, value in headers.items()}
        commit = named.get("x-repo-commit", "")
        etag = named.get("x-linked-etag", named.get("etag", "")).strip('W/"')
        if len(commit) != 40:
            head, first = _head(url)
            commit = first.get("x-repo-commit", commit)
            etag = first.get("x-linked-etag", first.get("etag", etag)).strip('W/"')
        if len(commit) != 40 or not etag.isalnum():
            raise Corrupt(f"{url}: the hub names no commit and digest for it")
        folder = _repo_folder(repo, cache)
        blob = os.path.join(folder, "blobs", etag)
        os.makedirs(os.path.dirname(blob), exist_ok=True)
        size = int(named.get("content-length", "-1"))
        if not os.path.exists(blob):
            _write_blob(answer, blob, size, etag, url)
    link = os.path.join(folder, "snapshots", commit, name)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    if not os.path.lexists(link):
        os.symlink(os.path.relpath(blob, os.path.dirname(link)), link)
    if revision != commit:
        ref = os.path.join(folder, "refs", revision)
        os.makedirs(os.path.dirname(ref), exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(ref), delete=False) as out:
            out.write(commit)
        os.replace(out.name, ref)
    return link


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _head(url: str) -> Tuple[int, Dict[str, str]]:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "moxie"})
    if _token():
        request.add_header("Authorization", f"Bearer {_token()}")
    try:
        answer = urllib.request.build_opener(_Stay()).open(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status or 0, {key.lower(): value for key, value in answer.headers.items()}


def _write_blob(answer: Any, blob: str, size: int, etag: str, url: str) -> None:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(blob), suffix=".incomplete", delete=False) as out:
        written = 0
        while True:
            piece = answer.read(_PIECE)
            if not piece:
                break
            digest.update(piece)
            written += out.write(piece)
    if (size >= 0 and written != size) or (len(etag) == 64 and digest.hexdigest() != etag):
        os.remove(out.name)
        raise Corrupt(f"{url}: {written} bytes came, which are not the file the hub names; try again")
    os.replace(out.name, blob)


def download(
    repo_id: str, filename: Optional[str], additional_files: Sequence[str] = (), *, local_dir: Any = None, cache_dir: Any = None
) -> str:
    """The path of a model's file (or folder of safetensors) on this machine, by Llama.from_pretrained's rules."""
    cache = os.fspath(cache_dir) if cache_dir is not None else None
    names = _listing(repo_id, cache)
    patterns = [filename] if filename else ["*.safetensors", "*.json", "tokenizer.model", "*.jinja"]
    chosen = [name for name in names if any(fnmatch.fnmatch(name, one) for one in patterns)]
    if not chosen:
        raise NotFound(f"No file found in {repo_id} that match {filename}; there are {', '.join(names[:40])}")
    first = chosen[0]
    if filename:
        stems = {name.split("-00")[0] for name in chosen}
        if len(chosen) > 1 and len(stems) > 1:
            raise InvalidArgument(f"Multiple files found in {repo_id} matching {filename}: {', '.join(chosen)}")
        if "-of-" in first:
            chosen = [name for name in names if name.split("-00")[0] == first.split("-00")[0]]
    for pattern in additional_files:
        chosen += [name for name in names if fnmatch.fnmatch(name, pattern)]
    paths = {}
    for name in chosen:
        path = _fetch(repo_id, "main", name, cache)
        if local_dir is not None:
            target = os.path.join(local_dir, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                os.symlink(os.path.realpath(path), target)
            path = target
        paths[name] = path
    return paths[min(chosen) if "-of-" in first else first] if filename else os.path.dirname(paths[first])


def _listing(repo: str, cache: Optional[str] = None) -> List[str]:
    if _offline():
        folder = _repo_folder(repo, cache)
        ref = os.path.join(folder, "refs", "main")
        if not os.path.exists(ref):
            raise Unavailable(f"{repo} is not in the cache, and HF_HUB_OFFLINE is set")
        with open_file(ref) as file:
            snapshot = os.path.join(folder, "snapshots", file.read().decode().strip())
        return sorted(
            os.path.relpath(os.path.join(at, name), snapshot) for at, _, names in os.walk(snapshot) for name in names
        )
    answer, _ = _request(f"{_endpoint()}/api/models/{repo}/revision/main")
    with answer:
        facts = json.load(answer)
    return sorted(one["rfilename"] for one in facts.get("siblings", []))


# ---- where tensors lie ----


@dataclass
class _Place:
    dtype: str
    shape: List[int]
    offset: int
    bytes: int


def _header_of(read: Any, what: str) -> Dict[str, _Place]:
    """Places by name, from the header of a safetensors file; read(begin, end) gives its bytes."""
    (length,) = struct.unpack("<Q", read(0, 8))
    if length > _MAX_HEADER:
        raise Corrupt(f"{what}: a header of {length} bytes is no safetensors header; the limit is {_MAX_HEADER}")
    try:
        header = json.loads(read(8, 8 + length))
        return {
            name: _Place(one["dtype"], one["shape"], 8 + length + one["data_offsets"][0],
                         one["data_offsets"][1] - one["data_offsets"][0])
            for name, one in header.items() if name != "__metadata__"
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError):
        raise Corrupt(f"{what}: its header is no safetensors header") from None


def _weight_map(index: Any, path: str) -> Dict[str, str]:
    """File names by tensor, from a checkpoint's index."""
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not all(isinstance(name, str) and _safe(name) for name in found.values()):
        raise Corrupt(f"{path} is no index: it has no weight_map, or names files that cannot be a model's")
    return dict(found)


class _Source:
    """A model's tensors: which file holds each, and their bytes."""

    def __init__(self, model_id: str, revision: str = "main") -> None:
        self.model_id, self.revision = model_id, revision
        self.local = os.path.exists(model_id)
        self.gguf = self.local and not self._safetensors()
        self._files: Optional[Dict[str, str]] = None
        self._headers: Dict[str, Dict[str, _Place]] = {}

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
                    place = _Place(one["dtype"], one["shape"], one["offset"], one["bytes"])
                    self._headers.setdefault(name, {})[one["name"]] = place
            return found
        try:
            path = _fetch(self.model_id, self.revision, "model.safetensors.index.json")
        except NotFound:
            return dict.fromkeys(self.header("model.safetensors"), "model.safetensors")
        with open_file(path) as file:
            return _weight_map(json.load(file), path)

    def path(self, name: str) -> Optional[str]:
        """Of a file that is on this machine."""
        if self.local:
            return os.path.join(self.root(), name)
        return _cached(self.model_id, self.revision, name)

    def header(self, name: str) -> Dict[str, _Place]:
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
            answer, _ = _request(_url(self.model_id, self.revision, name), span=(begin, end))
            with answer:
                if answer.status != 206:
                    raise ReadError(f"{self.model_id}: {name} cannot be read in part; use load() without remote=True")
                data = answer.read(end - begin)
        if len(data) != end - begin:
            raise Corrupt(f"{name} ends after {begin + len(data)} bytes; {end} were expected")
        return data


_SOURCES: Dict[str, _Source] = {}


def _source(model_id: str) -> _Source:
    if model_id not in _SOURCES:
        _SOURCES[model_id] = _Source(model_id)
    return _SOURCES[model_id]


# ---- what users hold ----


@dataclass
class TensorMetadata:
    """A tensor and the file that holds it. `local_path` is filled once the file is on this machine."""

    model_id: str
    tensor_name: str
    hf_filename: str
    local_path: Optional[str] = None

    def _place(self) -> _Place:
        return _source(self.model_id).header(self.hf_filename)[self.tensor_name]

    def size(self) -> int:
        """Bytes of the tensor as it is stored."""
        return self._place().bytes

    def shape(self) -> Tuple[int, ...]:
        """Outermost dimension first."""
        return tuple(self._place().shape)

    def download_file(self) -> str:
        """Fetches the one file that holds the tensor, unless it is here; returns its path."""
        source = _source(self.model_id)
        self.local_path = source.path(self.hf_filename) or _fetch(self.model_id, source.revision, self.hf_filename)
        return self.local_path

    def load(self, remote: bool = False, torch: Optional[bool] = None) -> Any:
        """The tensor. remote: its bytes alone are fetched, where the file is not here. torch: a torch tensor in its own
        type (by default where torch is imported already), else numpy with bf16 and quantized types as float32."""
        import sys

        import numpy as np

        if not remote:
            self.download_file()
        place = self._place()
        data = _source(self.model_id).read(self.hf_filename, place.offset, place.offset + place.bytes)
        if torch or (torch is None and "torch" in sys.modules):
            import torch as library

            kinds = {"BF16": library.bfloat16, "F16": library.float16, "F32": library.float32}
            if place.dtype in kinds:
                return library.frombuffer(bytearray(data), dtype=kinds[place.dtype]).reshape(place.shape)
        if place.dtype in _SMALL_FLOATS:
            return _small_floats(data, _SMALL_FLOATS[place.dtype]).reshape(place.shape)
        if place.dtype in _DTYPES:
            return np.frombuffer(data, dtype="<" + _DTYPES[place.dtype]).reshape(place.shape)
        count = int(np.prod(place.shape, dtype=np.int64))
        return _native.decode(place.dtype, data, count).reshape(place.shape)


def _small_floats(data: bytes, exponent_bits: int) -> Any:
    import numpy as np

    codes = np.arange(256)
    mantissa_bits = 7 - exponent_bits
    bias = (1 << (exponent_bits - 1)) - 1
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    share = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    size = np.where(exponent > 0, (1 + share) * 2.0 ** (exponent - bias), share * 2.0 ** (1 - bias))
    if exponent_bits == 4:
        size[codes & 0x7F == 0x7F] = np.nan
    else:
        size[exponent == 31] = np.where(share[exponent == 31] > 0, np.nan, np.inf)
    values = np.where(codes & 0x80, -size, size).astype(np.float32)
    return values[np.frombuffer(data, dtype=np.uint8)]


class BaseMoE:
    """A model's experts and routers by layer. Subclasses say where they are:

    class Mixtral(BaseMoE):
        model_id = "mistralai/Mixtral-8x7B-v0.1"
        n_experts = 8
        n_layers = 32
        expert_tensor_name_template = "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight"
        router_tensor_name_template = "model.layers.{layer}.block_sparse_moe.gate.weight"

    A template may also be a list, for experts of several tensors; {} {} in it are the layer and the expert.
    """

    model_id: str = ""
    n_experts: int = 0
    n_layers: int = 0
    expert_tensor_name_template: Union[str, Sequence[str]] = ""
    router_tensor_name_template: str = ""

    def __init__(self, model_id: Optional[str] = None) -> None:
        if model_id is not None:
            self.model_id = model_id
        if not self.model_id:
            raise InvalidArgument(f"{type(self).__name__} has no model_id; set it, or give it to the constructor")

    def _check(self, layer: int) -> None:
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} is none: {self.model_id} has the layers 0 to {self.n_layers - 1}")

    def metadata(self, name: str) -> TensorMetadata:
        """Of any tensor by its name. KeyError, with the most similar names, where there is none."""
        source = _source(self.model_id)
        files = source.files()
        if name not in files:
            near = difflib.get_close_matches(name, files, n=3, cutoff=0.5)
            raise KeyError(f"{self.model_id} has no tensor '{name}'" + (f"; did you mean {', '.join(near)}?" if near else ""))
        return TensorMetadata(self.model_id, name, files[name], source.path(files[name]))

    def get_experts_metadata(self, layer: int) -> List[TensorMetadata]:
        """The layer's experts, expert after expert (one entry for all where the file keeps them in one tensor)."""
        self._check(layer)
        templates = self.expert_tensor_name_template
        names: List[str] = []
        for expert in range(self.n_experts):
            for template in [templates] if isinstance(templates, str) else templates:
                name = _fill(template, layer, expert)
                if name not in names:
                    names.append(name)
        return [self.metadata(name) for name in names]

    get_experts_metdata = get_experts_metadata

    def get_router_metadata(self, layer: int) -> TensorMetadata:
        """The layer's router."""
        self._check(layer)
        return self.metadata(_fill(self.router_tensor_name_template, layer, 0))


def _fill(template: str, layer: int, expert: int) -> str:
    return template.format(
        layer, expert, layer=layer, layer_idx=layer, layer_index=layer, l=layer, i=layer,
        expert=expert, expert_idx=expert, expert_index=expert, e=expert, j=expert,
    )  # fmt: skip


class MixtralMoE(BaseMoE):
    model_id = "mistralai/Mixtral-8x7B-v0.1"
    n_experts, n_layers = 8, 32
    expert_tensor_name_template = tuple(
        "model.layers.{layer}.block_sparse_moe.experts.{expert}." + part + ".weight" for part in ("w1", "w2", "w3")
    )
    router_tensor_name_template = "model.layers.{layer}.block_sparse_moe.gate.weight"


class _MlpMoE(BaseMoE):
    expert_tensor_name_template = tuple(
        "model.layers.{layer}.mlp.experts.{expert}." + part + ".weight" for part in ("gate_proj", "up_proj", "down_proj")
    )
    router_tensor_name_template = "model.layers.{layer}.mlp.gate.weight"


class OlmoeMoE(_MlpMoE):
    model_id = "allenai/OLMoE-1B-7B-0924"
    n_experts, n_layers = 64, 16


class Qwen2MoE(_MlpMoE):
    model_id = "Qwen/Qwen1.5-MoE-A2.7B"
    n_experts, n_layers = 60, 24


class Qwen3MoE(_MlpMoE):
    model_id = "Qwen/Qwen3-30B-A3B"
    n_experts, n_layers = 128, 48


class GgufMoE(BaseMoE):
    """A GGUF file; merged experts are one tensor (experts, rows, columns) for each part."""

    expert_tensor_name_template = tuple("blk.{layer}.ffn_" + part + "_exps.weight" for part in ("gate", "up", "down"))
    router_tensor_name_template = "blk.{layer}.ffn_gate_inp.weight"


class GgufApartMoE(GgufMoE):
    expert_tensor_name_template = tuple("blk.{layer}.ffn_" + part + ".{expert}.weight" for part in ("gate", "up", "down"))


# Other names under which checkpoints keep a layer's router and experts, without what follows the last dot of tensors.
_ROUTERS = (
    "block_sparse_moe.gate", "mlp.gate", "mlp.router", "block_sparse_moe.router.layer", "feed_forward.gate",
    "feed_forward.router", "mixer.gate",
)  # fmt: skip
_PARTS = (("w1", "w2", "w3"), ("gate_proj", "up_proj", "down_proj"), ("gate_up_proj", "down_proj"))
_EXPERTS = tuple(
    tuple(f"{block}.{inner}{part}" for part in parts)
    for block in ("block_sparse_moe", "mlp", "feed_forward", "mixer")
    for inner in ("experts.{expert}.", "experts.", "switch_mlp.")
    for parts in _PARTS
)


def _fit(made: BaseMoE, files: Sequence[str]) -> None:
    """Chooses the templates that this model's tensors have."""
    ends: Dict[str, List[str]] = {}
    for name in files:
        stem, _, end = name.rpartition(".")
        ends.setdefault(stem, []).append(end)
        ends.setdefault(name, []).append("")
    for begin in ("model.layers.{layer}.", "layers.{layer}."):
        for layer in range(made.n_layers):
            routers = [one for one in _ROUTERS if "weight" in ends.get(_fill(begin + one, layer, 0), [])]
            for stems in _EXPERTS:
                found = [ends.get(_fill(begin + stem, layer, 0), []) for stem in stems]
                if not routers or not all(found):
                    continue
                made.router_tensor_name_template = begin + routers[0] + ".weight"
                made.expert_tensor_name_template = tuple(
                    f"{begin}{stem}.{end}" if end else begin + stem for stem, all_ends in zip(stems, found) for end in sorted(all_ends)
                )
                return


FAMILIES: Dict[str, Type[BaseMoE]] = {
    "mixtral": MixtralMoE, "olmoe": OlmoeMoE, "qwen2_moe": Qwen2MoE, "qwen3_moe": Qwen3MoE,
}  # fmt: skip


def open(model_id: "Union[str, os.PathLike[str]]") -> BaseMoE:
    """The model's experts and routers, by what its files say. `model_id`: a name on the hub, a folder, a GGUF file."""
    name = os.fspath(model_id)
    source = _source(name)
    if source.gguf:
        return _open_gguf(source)
    if source.local:
        path = os.path.join(source.root(), "config.json")
        if not os.path.exists(path):
            path = os.path.join(source.root(), "params.json")  # what Mistral publishes beside consolidated weights
        if not os.path.exists(path):
            raise NotFound(f"{source.root()} has no config.json; it says what kind of model the weights are")
    else:
        path = _fetch(name, source.revision, "config.json")
    with open_file(path) as file:
        config = json.load(file)
    if isinstance(config.get("moe"), dict) and "n_layers" in config:
        experts = config["moe"].get("num_experts")
        config = {"model_type": "mixtral", "num_hidden_layers": config["n_layers"], "num_local_experts": experts}
    family = FAMILIES.get(config.get("model_type", ""))
    if family is None:
        raise InvalidArgument(
            f"{name} is a {config.get('model_type')!r}; ready classes are for {', '.join(FAMILIES)}. Declare a BaseMoE."
        )
    made = family(name)
    made.n_layers = int(config["num_hidden_layers"])
    experts = [config[key] for key in ("num_local_experts", "num_experts", "n_routed_experts") if key in config]
    if not experts:
        raise Corrupt(f"{path} does not say how many experts there are")
    made.n_experts = int(experts[0])
    _fit(made, list(source.files()))
    return made


def _open_gguf(source: _Source) -> BaseMoE:
    files = source.files()
    apart = "blk.0.ffn_gate.0.weight" in files
    made = (GgufApartMoE if apart else GgufMoE)(source.model_id)
    facts = _native.read_weights(source.model_id)["metadata"]
    arch = facts.get("general.architecture", "")
    made.n_layers = int(facts.get(f"{arch}.block_count", 0))
    made.n_experts = int(facts.get(f"{arch}.expert_count", 0))
    if not made.n_experts:
        raise InvalidArgument(f"{source.model_id} has no experts: its file names none ({arch}.expert_count)")
    return made
