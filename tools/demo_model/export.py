"""Writes a checkpoint as a Hugging Face folder, and checks such a folder against transformers.

    python export.py RUN/checkpoint.pt --tokenizer T --out MODEL_DIR
    python export.py MODEL_DIR --verify
"""

import argparse
import json
import shutil
from dataclasses import fields
from pathlib import Path

import torch
from model import Config, Mixtral
from safetensors.torch import load_file, save_file
from tokenizer import BOS, EOS, UNK

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ raise_exception('roles are system, user and assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def to_hugging_face(state, cfg):
    """Tensors under the names of Mixtral's first checkpoints: three matrices per expert."""
    out = {}
    for name, tensor in state.items():
        if name == "lm_head.weight":
            if not cfg.tie_word_embeddings:
                out[name] = tensor
        elif name.endswith("block_sparse_moe.gate_up"):
            for e, matrix in enumerate(tensor):
                gate, up = matrix.chunk(2)
                prefix = f"model.{name.removesuffix('gate_up')}experts.{e}"
                out[f"{prefix}.w1.weight"], out[f"{prefix}.w3.weight"] = gate, up
        elif name.endswith("block_sparse_moe.down"):
            for e, matrix in enumerate(tensor):
                out[f"model.{name.removesuffix('down')}experts.{e}.w2.weight"] = matrix
        else:
            out[f"model.{name}"] = tensor
    return {k: v.to(torch.bfloat16).contiguous().clone() for k, v in out.items()}


def from_hugging_face(tensors, cfg):
    state = {k.removeprefix("model."): v.float() for k, v in tensors.items() if ".experts." not in k}
    for i in range(cfg.num_hidden_layers):
        prefix = f"layers.{i}.block_sparse_moe"
        expert = [
            [tensors[f"model.{prefix}.experts.{e}.w{n}.weight"].float() for n in (1, 2, 3)]
            for e in range(cfg.num_local_experts)
        ]
        state[f"{prefix}.gate_up"] = torch.stack([torch.cat((w1, w3)) for w1, _, w3 in expert])
        state[f"{prefix}.down"] = torch.stack([w2 for _, w2, _ in expert])
    if cfg.tie_word_embeddings:
        state["lm_head.weight"] = state["embed_tokens.weight"]
    return state


def load(path):
    """The model of a checkpoint of train.py, or of a folder written by write()."""
    if path.is_dir():
        saved = json.loads((path / "config.json").read_text())
        cfg = Config(**{f.name: saved[f.name] for f in fields(Config)})
        state = from_hugging_face(load_file(path / "model.safetensors"), cfg)
    else:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        cfg, state = Config(**saved["config"]), saved["model"]
    model = Mixtral(cfg)
    model.load_state_dict(state)
    return model


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write(checkpoint, tokenizer, out):
    out.mkdir(parents=True, exist_ok=True)
    model = load(checkpoint)
    save_file(to_hugging_face(model.state_dict(), model.cfg), out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "torch_dtype": "bfloat16",
        **model.cfg.as_dict(), "hidden_act": "silu", "attention_dropout": 0.0, "initializer_range": 0.02,
        "output_router_logits": False, "router_aux_loss_coef": 0.05, "router_jitter_noise": 0.0,
        "sliding_window": None, "use_cache": True, "bos_token_id": BOS, "eos_token_id": EOS,
    })
    write_json(out / "generation_config.json", {
        "bos_token_id": BOS, "eos_token_id": EOS, "do_sample": True, "temperature": 0.8,
    })
    specials = {UNK: "<unk>", BOS: "<s>", EOS: "</s>"}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    write_json(out / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False,
        "added_tokens_decoder": {str(i): {"content": t, **flags} for i, t in specials.items()},
        "bos_token": "<s>", "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": "</s>", "legacy": True, "model_max_length": model.cfg.max_position_embeddings,
        "pad_token": None, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>",
        "use_default_system_prompt": False,
    })
    write_json(out / "special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    (out / "model.safetensors").chmod(0o644)  # save_file leaves it to its owner alone
    for name in ("tokenizer.model", "tokenizer.json"):
        shutil.copyfile(tokenizer / name, out / name)
    print(f"{out}: {sum(p.numel() for p in model.parameters())} weights, "
          f"{(out / 'model.safetensors').stat().st_size} bytes")


@torch.no_grad()
def verify(folder, length=700, limit=1e-3):
    """Stops unless our model and transformers' give the same logits in float, and the chat template renders."""
    from transformers import AutoTokenizer, MixtralForCausalLM

    theirs = MixtralForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = load(folder).eval()
    ids = torch.randint(3, ours.cfg.vocab_size, (2, length), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = BOS
    expected, got = theirs(ids).logits, ours(ids)[0]
    past, steps = None, []
    for i in range(32):
        logits, past = ours(ids[:, i : i + 1], past)
        steps.append(logits)
    spread = (expected.max() - expected.min()).item()
    batch = (got - expected).abs().max().item()
    single = (torch.cat(steps, dim=1) - expected[:, :32]).abs().max().item()
    print(f"largest logit difference to transformers: {batch:.2e} ({length} tokens at once), "
          f"{single:.2e} (32 one by one); logits span {spread:.1f}")
    if max(batch, single) > limit * spread:
        raise SystemExit(f"the difference exceeds {limit:g} of the span")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "system", "content": "A tale."}, {"role": "user", "content": "Who?"},
             {"role": "assistant", "content": "A fox."}, {"role": "user", "content": "Where?"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    if text != "<s>A tale.\n\nUser: Who?\nAssistant: A fox.</s>\nUser: Where?\nAssistant:":
        raise SystemExit(f"the chat template renders {text!r}")
    print("chat template renders")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint of train.py, or with --verify a model folder")
    parser.add_argument("--tokenizer", type=Path, help="folder with tokenizer.model and tokenizer.json")
    parser.add_argument("--out", type=Path, help="model folder to write")
    parser.add_argument("--verify", action="store_true", help="check the folder against transformers")
    args = parser.parse_args()
    folder = args.source
    if not folder.is_dir():
        if not (args.tokenizer and args.out):
            parser.error("a checkpoint needs --tokenizer and --out")
        write(args.source, args.tokenizer, args.out)
        folder = args.out
    if args.verify:
        verify(folder)


if __name__ == "__main__":
    main()
