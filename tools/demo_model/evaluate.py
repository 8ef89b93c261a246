"""Held-out loss and expert use of a trained model.

    python evaluate.py MODEL_DIR --data DATA

MODEL_DIR is a folder written by export.py (its bf16 weights are computed in float) or a checkpoint of train.py. The
loss is the mean over all tokens of the file, in windows of 512 tokens that do not see each other.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from batches import windows


@torch.no_grad()
def held_out(model, batches, device="cpu"):
    """Mean loss in nats per token, and slots per expert [layers, experts]."""
    total, tokens, counts = 0.0, 0, 0
    for ids, targets in batches:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=model.training):
            loss, _ = model.loss(ids.to(device), targets.to(device))
        total += loss.item() * targets.numel()
        tokens += targets.numel()
        counts = counts + model.expert_counts()
    return total / tokens, counts


def main():
    from export import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder written by data.py")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model = load(args.model).to(args.device).eval()
    counts = 0
    for kind in ("stories", "books"):
        tokens = np.load(args.data / f"{kind}-valid.npy")
        loss, used = held_out(model, windows(tokens, args.window, 16), args.device)
        counts = counts + used
        seen = (len(tokens) - 1) // args.window * args.window
        print(f"{kind}-valid: {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}, {seen} tokens")
    share = counts / counts.sum(-1, keepdim=True)
    for i, row in enumerate(share):
        print(f"layer {i}: least {row.min():.1%}, most {row.max():.1%} of the routed slots;",
              " ".join(f"{x:.3f}" for x in row))


if __name__ == "__main__":
    main()
