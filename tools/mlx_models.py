"""Quantizes Hugging Face folders with mlx-lm and computes their logits with MLX on the CPU, in float32."""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "models/demo"
TOKENIZER = [DEMO / "tokenizer.json", DEMO / "tokenizer_config.json"]


def quantize(folder, out, bits=4, group=64, mode="affine", predicate=None):
    """`predicate(path, module)` gives True, False or {"bits", "group_size"} for a module, as mlx-lm has it."""
    from mlx_lm import convert

    if not (Path(folder) / "tokenizer.json").exists():  # mlx-lm wants one; it changes nothing
        source = Path(tempfile.mkdtemp(dir=Path(out).parent))
        for file in [*Path(folder).glob("*.json"), *Path(folder).glob("*.safetensors"), *TOKENIZER]:
            shutil.copy(file, source)
        folder = source
    with contextlib.redirect_stdout(sys.stderr):
        convert(
            str(folder),
            str(out),
            quantize=True,
            q_bits=bits,
            q_group_size=group,
            q_mode=mode,
            quant_predicate=predicate and (lambda path, module, *rest: predicate(path, module)),
        )
    return out


def load(folder):
    """The model with every float in float32, so that only the quantized numbers are rounded."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_lm.utils import load_model

    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    if not hasattr(nn.QuantizedEmbedding, "in_stored_type"):
        nn.QuantizedEmbedding.in_stored_type = nn.QuantizedEmbedding.__call__
        nn.QuantizedEmbedding.__call__ = lambda self, ids: self.in_stored_type(ids).astype(mx.float32)
    return model


def logits(model, ids):
    import mlx.core as mx
    import numpy as np

    return np.array(model(mx.array([ids]))[0].astype(mx.float32))


def split_experts(folder):
    """The form of conversions before May 2024: three tensors for every projection of every expert."""
    import mlx.core as mx

    names = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    path = Path(folder) / "model.safetensors"
    tensors = {}
    for name, values in mx.load(str(path)).items():
        if ".switch_mlp." not in name:
            tensors[name] = values
            continue
        layer, rest = name.split(".switch_mlp.")
        projection, kind = rest.split(".")
        for expert in range(values.shape[0]):
            tensors[f"{layer}.experts.{expert}.{names[projection]}.{kind}"] = values[expert]
    mx.save_safetensors(str(path), tensors, metadata={"format": "mlx"})
    (Path(folder) / "model.safetensors.index.json").unlink(missing_ok=True)
    return folder
