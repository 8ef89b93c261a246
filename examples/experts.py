"""From a model's files to a picture of its experts: where a router lies, what it holds, what it chooses.

    python examples/experts.py [MODEL] [FOLDER]      # the demo model; pictures go to FOLDER (needs matplotlib)
"""

import pathlib
import sys

import numpy as np

import moxie

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = "Once upon a time there was a little girl who loved to play in the garden. One day she found a big red ball."


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "models" / "demo")
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")

    # Where is the first layer's router, and how large is it? Headers only, wherever the model is.
    experts = moxie.hub.open(model)
    router = experts.get_router_metadata(layer=0)
    print(router)
    print(f"{router.size()} bytes, shape {router.shape()}")

    # How alike are its experts' rows?
    rows = router.load(remote=True)
    rows = rows / (rows**2).sum(axis=1, keepdims=True) ** 0.5
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -1)
    print("cosine of the two most alike:", likeness.max().round(3))

    # What does it choose in a text?
    with moxie.Llama(model, n_ctx=512, verbose=False) as llm:
        trace = llm.trace(TEXT)
    print(trace.counts())
    print("used again by the next token:", trace.reuse().round(2))

    moxie.plot.expert_map(trace).figure.savefig(folder / "expert_map.png", dpi=60)
    moxie.plot.hit_rate_curve(trace).figure.savefig(folder / "hit_rates.png", dpi=60)


if __name__ == "__main__":
    main()
