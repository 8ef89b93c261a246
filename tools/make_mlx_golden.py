#!/usr/bin/env python3
"""Makes the MLX folders of tests/data/golden: the tiny Mixtral there, quantized by mlx-lm, with logits from MLX.

    make_mlx_golden.py [--out tests/data/golden] [NAME ...]      needs mlx, mlx-lm, numpy
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mlx_models

ROOT = Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 16
MIN_ROUTER_GAP = 0.06
VOCAB = 128


def mixed(path, module):
    """Another width for nearly every role."""
    if not hasattr(module, "to_quantized"):
        return False
    for part, bits in {
        "embed_tokens": 6, "q_proj": 8, "k_proj": 5, "v_proj": 4, "o_proj": 3, ".gate_proj": 6, "up_proj": 5,
        "down_proj": 2, "block_sparse_moe.gate": 8, "lm_head": 8,
    }.items():  # fmt: skip
        if path.endswith(part):
            return {"bits": bits, "group_size": 32, "mode": "affine"}
    return True


def without_router(path, module):
    return hasattr(module, "to_quantized") and not path.endswith("block_sparse_moe.gate")


MODELS = {
    "mixtral-mlx4": {"about": "MLX 4 bits, experts stacked, router quantized", "group": 32, "experts": "stacked"},
    "mixtral-mlx-mixed": {
        "about": "MLX with a width of its own for every module: 2, 3, 4, 5, 6 and 8 bits",
        "group": 32,
        "predicate": mixed,
        "experts": "stacked",
    },
    "mixtral-mlx-legacy": {
        "about": "MLX as before May 2024: experts one by one, router as it is; 8 bits",
        "bits": 8,
        "group": 32,
        "predicate": without_router,
        "experts": "per-expert",
    },
    "mixtral-mlx-mxfp4": {"about": "MLX mxfp4", "mode": "mxfp4", "group": 32, "experts": "stacked"},
}


def router_gaps(model, ids):
    """Per layer and position, how far the last chosen expert is from the first that is not."""
    import mlx.core as mx
    from mlx_lm.models import mixtral

    gaps = []
    original = mixtral.MixtralSparseMoeBlock.__call__

    def spy(self, x):
        scores = np.sort(np.array(self.gate(x).astype(mx.float32)).reshape(-1, self.num_experts), axis=-1)
        k = self.num_experts_per_tok
        gaps.append(scores[:, -k] - scores[:, -k - 1])
        return original(self, x)

    mixtral.MixtralSparseMoeBlock.__call__ = spy
    try:
        found = mlx_models.logits(model, ids)
    finally:
        mixtral.MixtralSparseMoeBlock.__call__ = original
    return found, np.min(gaps, axis=0)


def choose_prompt(model):
    """Grows a prompt, token by token, of which no position has a close choice of experts."""
    rng = np.random.RandomState(7)
    ids = []
    while len(ids) < PROMPT_TOKENS:
        for candidate in rng.permutation(np.arange(3, VOCAB)):
            _, gaps = router_gaps(model, [*ids, int(candidate)])
            if gaps[-1] >= MIN_ROUTER_GAP:
                ids.append(int(candidate))
                break
        else:
            raise SystemExit("no token has a clear choice of experts")
    return ids


def make(name, facts, out):
    with tempfile.TemporaryDirectory() as temporary:
        made = mlx_models.quantize(
            ROOT / "tests/data/golden/mixtral", Path(temporary) / name, facts.get("bits", 4), facts["group"],
            facts.get("mode", "affine"), facts.get("predicate"),
        )  # fmt: skip
        model = mlx_models.load(made)
        ids = choose_prompt(model)
        logits, gaps = router_gaps(model, ids)
        if facts["experts"] == "per-expert":
            mlx_models.split_experts(made)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(Path(made) / file, folder / file)
    np.save(folder / "logits.npy", logits.astype("<f4"))
    greedy = list(ids)
    for _ in range(16):
        greedy.append(int(np.argmax(mlx_models.logits(model, greedy)[-1])))
    golden = {
        "family": "mixtral",
        "about": facts["about"],
        "prompt_ids": ids,
        "greedy_ids": greedy[len(ids) :],
        "min_router_gap": round(float(np.min(gaps)), 5),
        "logit_range": round(float(logits.max() - logits.min()), 4),
        "variants": [{"path": ".", "type": "mlx", "experts": facts["experts"], "logits": "logits.npy"}],
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(name, golden["logit_range"], golden["min_router_gap"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/golden")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name, facts in MODELS.items():
        if not options.names or name in options.names:
            make(name, facts, options.out)


if __name__ == "__main__":
    main()
