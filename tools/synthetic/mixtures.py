"""Which type each tensor gets: the mixtures of llama.cpp's quantizer, today's and those of the first Mixtral files."""

# Number llama.cpp gives each mixture in general.file_type.
FILE_TYPES = {
    "f16": 1,
    "q4_0": 2,
    "q8_0": 7,
    "q5_0": 8,
    "q2_k": 10,
    "q3_k_m": 12,
    "q4_k_m": 15,
    "q5_k_m": 17,
    "q6_k": 18,
    "bf16": 32,
}
_BASE = {"q3_k_m": "q3_k", "q4_k_m": "q4_k", "q5_k_m": "q5_k"}


def takes_more_bits(layer, layers):
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _today(role, layer, shape, mixture, base):
    grouped = shape["heads"] // shape["kv_heads"] >= 4
    if role == "output":
        return "q6_k"
    if shape["experts"] == 8:
        if role in ("attn_k", "attn_v"):
            return "q8_0"
        if role == "attn_output" and mixture in ("q2_k", "q3_k_m", "q4_k_m"):
            return "q5_k"
    if mixture in ("q4_k_m", "q5_k_m"):
        more = role in ("attn_v", "ffn_down") and takes_more_bits(layer, shape["layers"])
        return "q6_k" if more else base
    if mixture == "q2_k":
        return {"attn_v": "q4_k" if grouped else "q3_k", "attn_output": "q3_k", "ffn_down": "q3_k"}.get(role, base)
    if mixture == "q3_k_m":
        first = {"attn_v": layer < 2, "ffn_down": layer < shape["layers"] // 16}
        if role in first:
            return "q5_k" if first[role] else "q4_k"
        return "q4_k" if role == "attn_output" else base
    return base


def _of_2023(role, mixture, base):
    """The quantizer of December 2023 knew experts by no name: they have the plain type, and routers stayed f16."""
    if role == "output":
        return "q6_k"
    if role in ("attn_k", "attn_v"):
        return "q8_0"
    if role == "attn_output":
        return {"q2_k": "q3_k", "q3_k_m": "q4_k"}.get(mixture, base)
    return base


def type_of(role, layer, shape, mixture, era="today"):
    """The type llama.cpp's quantizer gives a tensor of this role. era: today or 2023."""
    base = _BASE.get(mixture, mixture)
    if role == "norm" or (role == "router" and era == "today"):
        return "f32"
    if role == "router":
        return "f16"
    if base in ("f16", "bf16", "q8_0"):
        return base
    return _today(role, layer, shape, mixture, base) if era == "today" else _of_2023(role, mixture, base)
