"""Tensors of mixtures of experts, wherever their files lie: on the Hugging Face hub, in its cache, in a folder, in GGUF.

    >>> model = moxie.hub.open("mistralai/Mixtral-8x7B-v0.1")
    >>> model.get_router_metadata(layer=0).load(remote=True).shape
    (8, 4096)
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

from . import _native
from ._hub_cache import download as download
from ._hub_cache import fetch, open_file
from ._hub_files import Place, Source, source_of
from .errors import Corrupt, InvalidArgument, NotFound

_DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2",
           "U8": "u1", "BOOL": "?"}  # fmt: skip
# Floats of 8 bits: bits of the exponent; the largest one of e4m3 is a number, but for its last value.
_SMALL_FLOATS = {"F8_E4M3": 4, "F8_E5M2": 5}


@dataclass
class TensorMetadata:
    """A tensor and the file that holds it. `local_path` is filled once the file is on this machine."""

    model_id: str
    tensor_name: str
    hf_filename: str
    local_path: Optional[str] = None

    def _place(self) -> Place:
        return source_of(self.model_id).header(self.hf_filename)[self.tensor_name]

    def size(self) -> int:
        """Bytes of the tensor as it is stored."""
        return self._place().bytes

    def shape(self) -> Tuple[int, ...]:
        """Outermost dimension first."""
        return tuple(self._place().shape)

    def download_file(self) -> str:
        """Fetches the one file that holds the tensor, unless it is here; returns its path."""
        source = source_of(self.model_id)
        self.local_path = source.path(self.hf_filename) or fetch(self.model_id, source.revision, self.hf_filename)
        return self.local_path

    def load(self, remote: bool = False, torch: Optional[bool] = None) -> Any:
        """The tensor. remote: its bytes alone are fetched, where the file is not here. torch: a torch tensor in its own
        type (by default where torch is imported already), else numpy with bf16 and quantized types as float32."""
        import sys

        import numpy as np

        if not remote:
            self.download_file()
        place = self._place()
        data = source_of(self.model_id).read(self.hf_filename, place.offset, place.offset + place.bytes)
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
        source = source_of(self.model_id)
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
    source = source_of(name)
    if source.gguf:
        return _open_gguf(source)
    if source.local:
        path = os.path.join(source.root(), "config.json")
        if not os.path.exists(path):
            path = os.path.join(source.root(), "params.json")  # what Mistral publishes beside consolidated weights
        if not os.path.exists(path):
            raise NotFound(f"{source.root()} has no config.json; it says what kind of model the weights are")
    else:
        path = fetch(name, source.revision, "config.json")
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


def _open_gguf(source: Source) -> BaseMoE:
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
