"""The tiny models of tests/data/golden: their configurations and the tensors a checkpoint of each family holds.

An entry of MODELS: `about`, `config` (written as config.json), and optionally
  layout        how the folder stores experts: "per-expert" or "stacked"
  gguf          GGUF twins to write beside it
  switch_off    {label: config changes}: each must change the logits visibly
  prompt_tokens prompt length, 24 if absent
  weights_of    take the weights of that model; prompt_of: its prompt (that model must be made first)
"""

VOCAB = 128


def _config(model_type, architecture, **changes):
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    } | changes


def _llama(**changes):
    return _config("llama", "LlamaForCausalLM", **changes)


def _mixtral(**changes):
    moe = {"intermediate_size": 32, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}
    return _config("mixtral", "MixtralForCausalLM", **({"rope_theta": 1e6} | moe | changes))


def _qwen2_moe(**changes):
    moe = {
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 96,
        "num_experts": 6,
        "num_experts_per_tok": 3,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": False,
        "qkv_bias": True,
        "use_sliding_window": False,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
    }
    return _config("qwen2_moe", "Qwen2MoeForCausalLM", **(moe | changes))


def _qwen3_moe(**changes):
    moe = {
        "head_dim": 32,
        "moe_intermediate_size": 32,
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
        "attention_bias": False,
        "use_sliding_window": False,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
    }
    return _config("qwen3_moe", "Qwen3MoeForCausalLM", **(moe | changes))


def _olmoe(**changes):
    moe = {
        "intermediate_size": 32,
        "num_key_value_heads": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "attention_bias": False,
        "clip_qkv": None,
    }
    return _config("olmoe", "OlmoeForCausalLM", **(moe | changes))


NO_SCALING = {"rope_scaling": None}

MODELS = {
    "llama": {
        "about": "dense Llama, grouped-query attention; a large epsilon so that its place in the norm shows",
        "config": _llama(rms_norm_eps=0.02),
        "switch_off": {"epsilon": {"rms_norm_eps": 1e-5}, "theta": {"rope_theta": 1e6}},
        "gguf": [{"file": "f32.gguf", "type": "f32", "shards": 2}],
    },
    "llama-linear": {
        "about": "RoPE scaling linear, factor 4",
        "config": _llama(rope_scaling={"type": "linear", "factor": 4.0}),
        "switch_off": {"scaling": NO_SCALING},
        "prompt_tokens": 48,
    },
    "llama-yarn": {
        "about": "RoPE scaling YaRN, factor 4 over 64 positions",
        "config": _llama(
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        ),
        "switch_off": {
            "scaling": NO_SCALING,
            "magnitude": {
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 64,
                    "attention_factor": 1.0,
                }
            },
            "ramp": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        },
        "prompt_tokens": 80,
        "gguf": [{"file": "bf16.gguf"}],
    },
    "llama-llama3": {
        "about": "RoPE scaling llama3",
        "config": _llama(
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_scaling={
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        ),
        "switch_off": {"scaling": NO_SCALING, "bands": {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}},
        "prompt_tokens": 80,
        "gguf": [{"file": "bf16.gguf"}],
    },
    "mistral-window": {
        "about": "dense Mistral, sliding window 16, shorter than the prompt",
        "config": _config("mistral", "MistralForCausalLM", sliding_window=16),
        "switch_off": {"window": {"sliding_window": None}, "one token less": {"sliding_window": 15}},
        "prompt_tokens": 48,
    },
    "qwen2": {
        "about": "dense Qwen2: biases on q, k, v; tied embeddings",
        "config": _config(
            "qwen2", "Qwen2ForCausalLM", tie_word_embeddings=True, use_sliding_window=False, rms_norm_eps=1e-6,
            rope_theta=1e6,
        ),
        "switch_off": {"theta": {"rope_theta": 100.0}},
        "gguf": [{"file": "bf16.gguf"}],
    },
    "mixtral": {
        "about": "Mixtral: 8 experts, top 2, one tensor per expert; GGUF merged and split, and Q8_0",
        "config": _mixtral(),
        "layout": "per-expert",
        "switch_off": {"theta": {"rope_theta": 100.0}, "second expert": {"num_experts_per_tok": 1}},
        "gguf": [
            {"file": "merged.gguf"},
            {"file": "split.gguf", "experts": "split"},
            {"file": "q8_0.gguf", "type": "q8_0"},
        ],
    },
    "mixtral-shards": {
        "about": "the weights of mixtral in three shards with an index; experts of one layer lie in two shards",
        "config": _mixtral(),
        "layout": "per-expert",
        "weights_of": "mixtral",
        "prompt_of": "mixtral",
        "shards": 3,
    },
    "mixtral-stacked": {
        "about": "the weights of mixtral in the stacked form and configuration newer transformers write",
        "config": {
            key: value
            for key, value in _mixtral(
                dtype="bfloat16", rope_parameters={"rope_type": "default", "rope_theta": 1e6}
            ).items()
            if key not in ("rope_theta", "torch_dtype")
        },
        "layout": "stacked",
        "stacked": True,
        "weights_of": "mixtral",
        "prompt_of": "mixtral",
    },
    "mixtral-equal-experts": {
        "about": "every expert of a layer is the same: the router cannot matter",
        "config": _mixtral(num_hidden_layers=1, num_local_experts=4),
        "layout": "per-expert",
        "equal_experts": True,
    },
    "mixtral-equal-dense": {
        "about": "the dense model that mixtral-equal-experts amounts to",
        "config": _config(
            "mistral", "MistralForCausalLM", num_hidden_layers=1, intermediate_size=32, rope_theta=1e6,
            sliding_window=None,
        ),
        "dense_of": "mixtral-equal-experts",
        "prompt_of": "mixtral-equal-experts",
    },
    "qwen2_moe": {
        "about": "Qwen2-MoE: 6 experts, top 3 unnormalised, shared expert behind a sigmoid gate, biases",
        "config": _qwen2_moe(),
        "layout": "per-expert",
        "switch_off": {"plain weights": {"norm_topk_prob": True}, "theta": {"rope_theta": 100.0}},
        "gguf": [{"file": "merged.gguf"}],
    },
    "qwen2_moe-sparse-step": {
        "about": "Qwen2-MoE with dense layers: decoder_sparse_step 2 and mlp_only_layers leave only layer 1 a mixture",
        "config": _qwen2_moe(num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3], num_experts=4,
                             num_experts_per_tok=2),
        "layout": "per-expert",
    },
    "qwen3_moe": {
        "about": "Qwen3-MoE: norm per head on q and k, head width 32 (heads x width is twice hidden), weights normalised",
        "config": _qwen3_moe(),
        "layout": "per-expert",
        "switch_off": {"normalised weights": {"norm_topk_prob": False}, "theta": {"rope_theta": 100.0}},
        "gguf": [{"file": "merged.gguf"}],
    },
    "qwen3_moe-unnormalised": {
        "about": "Qwen3-MoE with norm_topk_prob false, 4 experts, stacked form",
        "config": _qwen3_moe(norm_topk_prob=False, num_experts=4, num_experts_per_tok=2),
        "layout": "stacked",
        "stacked": True,
        "switch_off": {"plain weights": {"norm_topk_prob": True}},
    },
    "olmoe": {
        "about": "OLMoE: norm over the whole width of q and k, top 2 unnormalised; a large epsilon",
        "config": _olmoe(rms_norm_eps=0.05),
        "layout": "per-expert",
        "switch_off": {"plain weights": {"norm_topk_prob": True}, "epsilon": {"rms_norm_eps": 1e-5}},
        "gguf": [{"file": "merged.gguf"}],
    },
}


def _is_mixture(config, layer):
    if not (config.get("num_local_experts") or config.get("num_experts")):
        return False
    step = config.get("decoder_sparse_step", 1)
    return layer not in config.get("mlp_only_layers", []) and (layer + 1) % step == 0


def _attention(prefix, config):
    hidden, heads, kv_heads = (config[key] for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    width = config.get("head_dim") or hidden // heads
    family = config["model_type"]
    rows = {"q": heads * width, "k": kv_heads * width, "v": kv_heads * width}
    for part, count in rows.items():
        yield f"{prefix}.{part}_proj.weight", (count, hidden), "linear" if part == "v" else "query_key"
        if family in ("qwen2", "qwen2_moe"):
            yield f"{prefix}.{part}_proj.bias", (count,), "bias"
    yield f"{prefix}.o_proj.weight", (hidden, heads * width), "linear"
    if family in ("qwen3_moe", "olmoe"):
        for part in "qk":
            yield f"{prefix}.{part}_norm.weight", (width if family == "qwen3_moe" else rows[part],), "norm"


def _feed_forward(prefix, hidden, inner, names=("gate_proj", "down_proj", "up_proj")):
    for name, shape in zip(names, ((inner, hidden), (hidden, inner), (inner, hidden))):
        yield f"{prefix}.{name}.weight", shape, "linear"


def _mixture(prefix, config):
    hidden = config["hidden_size"]
    mixtral = config["model_type"] == "mixtral"
    experts = config["num_local_experts" if mixtral else "num_experts"]
    names = ("w1", "w2", "w3") if mixtral else ("gate_proj", "down_proj", "up_proj")
    inner = config.get("moe_intermediate_size") or config["intermediate_size"]
    yield f"{prefix}.gate.weight", (experts, hidden), "router"
    for expert in range(experts):
        yield from _feed_forward(f"{prefix}.experts.{expert}", hidden, inner, names)
    if config["model_type"] == "qwen2_moe":
        yield from _feed_forward(f"{prefix}.shared_expert", hidden, config["shared_expert_intermediate_size"])
        yield f"{prefix}.shared_expert_gate.weight", (1, hidden), "shared_gate"


def _tensors(config):
    hidden = config["hidden_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden), "embed"
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (hidden,), "norm"
        yield from _attention(f"{prefix}.self_attn", config)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,), "norm"
        if _is_mixture(config, layer):
            block = "block_sparse_moe" if config["model_type"] == "mixtral" else "mlp"
            yield from _mixture(f"{prefix}.{block}", config)
        else:
            yield from _feed_forward(f"{prefix}.mlp", hidden, config["intermediate_size"])
    yield "model.norm.weight", (hidden,), "norm"
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden), "head"


def tensor_shapes(config):
    """{Hugging Face name, one tensor per expert: (shape, kind of initialisation)}."""
    return {name: (shape, kind) for name, shape, kind in _tensors(config)}
