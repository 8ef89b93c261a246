"""A small Mixtral in plain PyTorch: what `transformers.MixtralForCausalLM` computes, written for training.

The experts of a layer are two stacked tensors; the tokens are sorted by expert so that each expert runs one
matrix product over the rows it was given. export.py splits the stacks into the Hugging Face names.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    num_local_experts: int = 8
    num_experts_per_tok: int = 2
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False

    def as_dict(self):
        return asdict(self)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rope_table(cfg, length, device):
    """cos and sin of every position, [length, head_dim], halves repeated (the "NEOX" pairing of Hugging Face)."""
    steps = torch.arange(0, cfg.head_dim, 2, device=device, dtype=torch.float32) / cfg.head_dim
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), cfg.rope_theta**-steps)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def attend(q, k, v):
    """Causal attention written out: on a CPU in bf16 it trains faster than scaled_dot_product_attention.
    The query heads that share a key head are stacked along the positions, so keys and values are not repeated."""
    batch, heads, length, size = q.shape
    kv_heads, past = k.shape[1], k.shape[2] - length
    scores = q.reshape(batch, kv_heads, -1, size) @ k.transpose(2, 3)
    scores = scores.view(batch, heads, length, -1).float() * size**-0.5
    hidden = torch.ones(length, past + length, dtype=torch.bool, device=q.device).triu(past + 1)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1).to(v.dtype)
    return (weights.view(batch, kv_heads, -1, past + length) @ v).view(batch, heads, length, size)


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = cfg.num_attention_heads, cfg.num_key_value_heads, cfg.head_dim
        self.q_proj = nn.Linear(cfg.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(cfg.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(cfg.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, cfg.hidden_size, bias=False)

    def forward(self, x, cos, sin, past=None):
        """past: (keys, values) of the positions before x, or None. Returns the output and the longer pair."""
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if past is not None:
            assert length == 1, "with a past, one position at a time"
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        return self.o_proj(attend(q, k, v).transpose(1, 2).reshape(batch, length, -1)), (k, v)


class Dispatch(torch.autograd.Function):
    """Copies row t of x to each slot that token t was routed to. The gradient is a gather too, which is
    faster on a CPU than the scattered additions that indexing would do."""

    @staticmethod
    def forward(ctx, x, token_of_slot, slot_of_token):
        ctx.save_for_backward(slot_of_token)
        return x.index_select(0, token_of_slot)

    @staticmethod
    def backward(ctx, grad):
        (slot_of_token,) = ctx.saved_tensors
        return grad.index_select(0, slot_of_token.flatten()).view(*slot_of_token.shape, -1).sum(1), None, None


class Collect(torch.autograd.Function):
    """The rows of y that tokens were routed to, in (token, choice) order. Slots that only pad get no gradient."""

    @staticmethod
    def forward(ctx, y, slot_of_token):
        ctx.save_for_backward(slot_of_token)
        ctx.slots = y.shape[0]
        return y.index_select(0, slot_of_token.flatten())

    @staticmethod
    def backward(ctx, grad):
        (slot_of_token,) = ctx.saved_tensors
        return grad.new_zeros(ctx.slots, grad.shape[-1]).index_copy_(0, slot_of_token.flatten(), grad), None


def slots_of(chosen, counts, granule):
    """Sorts the choices [tokens, k] by expert. Each expert gets a run of slots, rounded up to a multiple of granule.
    Returns the slots of each expert, the slot of each choice, and the token of each slot (0 where it only pads)."""
    order = chosen.flatten().argsort(stable=True)
    rounded = (counts + granule - 1) // granule * granule
    shift = (rounded.cumsum(0) - rounded) - (counts.cumsum(0) - counts)
    slot = torch.arange(order.numel(), device=chosen.device) + shift.repeat_interleave(counts)
    sizes = rounded.tolist()
    token_of_slot = torch.zeros(sum(sizes), dtype=torch.long, device=chosen.device)
    token_of_slot[slot] = order // chosen.shape[1]
    slot_of_token = torch.empty_like(order)
    slot_of_token[order] = slot
    return sizes, slot_of_token.view_as(chosen), token_of_slot


def swiglu(gate_up):
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class Mixture(nn.Module):
    """Top-k mixture of SwiGLU experts. After a forward, `counts` holds the slots per expert and `balance` the
    load-balancing loss of this layer (1 when the load is even)."""

    def __init__(self, cfg):
        super().__init__()
        self.experts, self.top_k = cfg.num_local_experts, cfg.num_experts_per_tok
        self.gate = nn.Linear(cfg.hidden_size, self.experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(self.experts, 2 * cfg.intermediate_size, cfg.hidden_size))
        self.down = nn.Parameter(torch.empty(self.experts, cfg.hidden_size, cfg.intermediate_size))
        self.activation = swiglu

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        with torch.autocast(x.device.type, enabled=False):  # a router in bf16 flips choices
            logits = F.linear(x.float(), self.gate.weight.float())
        weights, chosen = logits.topk(self.top_k, dim=-1)
        weights = weights.softmax(dim=-1)

        self.counts = torch.bincount(chosen.flatten(), minlength=self.experts)
        share = self.counts / chosen.numel()
        self.balance = self.experts * (share * logits.softmax(dim=-1).mean(0)).sum()

        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        gate_up, down = self.gate_up.to(dtype), self.down.to(dtype)
        granule = 128 if len(x) > 1024 else 1  # few different shapes: oneDNN generates code for each
        sizes, slot_of_token, token_of_slot = slots_of(chosen, self.counts, granule)
        rows = Dispatch.apply(x.to(dtype), token_of_slot, slot_of_token).split(sizes)
        out = [F.linear(self.activation(F.linear(r, w)), v) for r, w, v in zip(rows, gate_up, down)]
        out = Collect.apply(torch.cat(out), slot_of_token).view(*chosen.shape, -1)
        return (out * weights.unsqueeze(-1).to(dtype)).sum(1).view(shape)


class Layer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.block_sparse_moe = Mixture(cfg)

    def forward(self, x, cos, sin, past=None):
        y, past = self.self_attn(self.input_layernorm(x), cos, sin, past)
        x = x + y
        return x + self.block_sparse_moe(self.post_attention_layernorm(x)), past


class Mixtral(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.num_hidden_layers))
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.lm_head = nn.Linear(cfg.hidden_size, cfg.vocab_size, bias=False)
        if cfg.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        for name, p in self.named_parameters():
            if p.dim() > 1:
                last = name.endswith(("o_proj.weight", "down"))  # what adds to the residual stream starts smaller
                nn.init.normal_(p, std=0.02 / (2 * cfg.num_hidden_layers) ** 0.5 if last else 0.02)

    def hidden(self, ids, past=None):
        """Final normed states of ids [batch, length], and the keys and values of every layer."""
        start = 0 if past is None else past[0][0].shape[2]
        cos, sin = rope_table(self.cfg, start + ids.shape[1], ids.device)
        x, kept = self.embed_tokens(ids), []
        for i, layer in enumerate(self.layers):
            x, kv = layer(x, cos[start:], sin[start:], past and past[i])
            kept.append(kv)
        return self.norm(x), kept

    def forward(self, ids, past=None):
        x, kept = self.hidden(ids, past)
        return self.lm_head(x), kept

    def loss(self, ids, targets):
        """Mean cross entropy in nats over all targets, and the mean load-balancing loss over the layers."""
        logits = self.lm_head(self.hidden(ids)[0]).flatten(0, 1)
        balance = sum(layer.block_sparse_moe.balance for layer in self.layers) / len(self.layers)
        return F.cross_entropy(logits.float(), targets.flatten()), balance

    def expert_counts(self):
        """Slots per expert of the last forward, [layers, experts]."""
        return torch.stack([layer.block_sparse_moe.counts for layer in self.layers])
