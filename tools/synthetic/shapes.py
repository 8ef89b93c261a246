"""Shapes of the models that are imitated, and the tensors of each."""

from mixtures import type_of

_MIXTRAL = {
    "arch": "llama",
    "layers": 32,
    "hidden": 4096,
    "ffn": 14336,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "experts": 8,
    "used": 2,
    "vocab": 32000,
    "context": 32768,
    "rope_base": 1e6,
    "norm_epsilon": 1e-5,
}
_QWEN3 = {
    "arch": "qwen3moe",
    "layers": 48,
    "hidden": 2048,
    "ffn": 768,
    "heads": 32,
    "kv_heads": 4,
    "head_dim": 128,
    "experts": 128,
    "used": 8,
    "vocab": 151936,
    "context": 40960,
    "rope_base": 1e6,
    "norm_epsilon": 1e-6,
}
SHAPES = {
    "mixtral-2l": _MIXTRAL | {"layers": 2},
    "mixtral-32l": _MIXTRAL,
    "mixtral-32l-narrow": _MIXTRAL | {"ffn": 1024},
    "mixtral-layer": _MIXTRAL | {"layers": 1, "ffn": 3584, "vocab": 512, "context": 4096},
    "qwen3-30b-2l": _QWEN3 | {"layers": 2},
    "qwen3-30b-48l": _QWEN3,
}


def layer_tensors(layer, shape, experts_layout):
    """(name, dimensions, role) of one layer."""
    hidden, ffn, experts = shape["hidden"], shape["ffn"], shape["experts"]
    q_rows, kv_rows = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    yield "attn_norm", (hidden,), "norm"
    yield "attn_q", (hidden, q_rows), "attn_q"
    yield "attn_k", (hidden, kv_rows), "attn_k"
    yield "attn_v", (hidden, kv_rows), "attn_v"
    yield "attn_output", (q_rows, hidden), "attn_output"
    if shape["arch"] == "qwen3moe":
        yield "attn_q_norm", (shape["head_dim"],), "norm"
        yield "attn_k_norm", (shape["head_dim"],), "norm"
    yield "ffn_norm", (hidden,), "norm"
    yield "ffn_gate_inp", (hidden, experts), "router"
    parts = (("ffn_gate", (hidden, ffn)), ("ffn_down", (ffn, hidden)), ("ffn_up", (hidden, ffn)))
    if experts_layout == "merged":
        for role, dims in parts:
            yield f"{role}_exps", (*dims, experts), role
    else:
        for expert in range(experts):
            for role, dims in parts:
                yield f"{role}.{expert}", dims, role


def all_tensors(shape, mixture, experts_layout, era="today"):
    """(name, dimensions, type name), in file order."""
    hidden, vocab = shape["hidden"], shape["vocab"]
    yield "token_embd.weight", (hidden, vocab), type_of("token_embd", 0, shape, mixture, era)
    for layer in range(shape["layers"]):
        for name, dims, role in layer_tensors(layer, shape, experts_layout):
            yield f"blk.{layer}.{name}.weight", dims, type_of(role, layer, shape, mixture, era)
    yield "output_norm.weight", (hidden,), "f32"
    yield "output.weight", (hidden, vocab), type_of("output", 0, shape, mixture, era)
