"""Muon for the matrices (Jordan et al., 2024), AdamW for the rest: embeddings, output, router and norms.

Muon replaces the momentum of a matrix by the nearest orthogonal matrix, found with a few Newton-Schulz steps, so that
every direction of the matrix learns at the same speed. Scaled to a root mean square of 0.2 it shares AdamW's learning
rate (Liu et al., 2025).
"""

import torch


def orthogonalize(g, steps=5):
    """Nearly orthogonal matrices for a batch of matrices [n, rows, cols]: singular values end up around 1."""
    x = g.bfloat16()
    wide = x.shape[1] <= x.shape[2]
    if not wide:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):  # the odd polynomial 3.4445 s - 4.7750 s^3 + 2.0315 s^5 applied to each singular value s
        a = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x if wide else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """`parts` of a parameter [..., rows, cols] is how many matrices are stacked in its rows: 2 for gate and up."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, parts=1))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
                matrices = direction.reshape(-1, p.shape[-2] // group["parts"], p.shape[-1])
                scale = 0.2 * max(matrices.shape[1:]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonalize(matrices).reshape(p.shape), alpha=-group["lr"] * scale)


def build(model, lr, weight_decay):
    """The two optimizers of a model."""
    double, single, dense, plain = [], [], [], []
    for name, p in model.named_parameters():
        if name.endswith("gate_up"):
            double.append(p)
        elif name.endswith(("down", "q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight")):
            single.append(p)
        else:
            (dense if p.dim() > 1 else plain).append(p)
    muon = Muon([{"params": double, "parts": 2}, {"params": single}], lr, weight_decay=weight_decay)
    adam = torch.optim.AdamW(
        [{"params": dense}, {"params": plain, "weight_decay": 0.0}],
        lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=weight_decay, fused=True,
    )
    return [muon, adam]
