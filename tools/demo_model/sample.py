"""Writes stories with a trained model, in float, one token at a time.

    python sample.py MODEL_DIR --seeds 1-5 --temperature 0.8 --tokens 200 --prompt "Once upon a time"
"""

import argparse
from pathlib import Path

import sentencepiece as spm
import torch
from export import load
from tokenizer import BOS, EOS


@torch.no_grad()
def generate(model, ids, count, temperature, generator):
    """Up to `count` ids after `ids`; ends before the end-of-sequence id. Temperature 0 takes the likeliest."""
    logits, past = model(torch.tensor([ids]))
    out = []
    while len(out) < count:
        last = logits[0, -1]
        if temperature > 0:
            token = torch.multinomial((last / temperature).softmax(-1), 1, generator=generator).item()
        else:
            token = last.argmax().item()
        if token == EOS:
            break
        out.append(token)
        logits, past = model(torch.tensor([[token]]), past)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder written by export.py")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--seeds", default="1-5", help="N or FIRST-LAST")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=200)
    args = parser.parse_args()
    model = load(args.model).eval()
    sp = spm.SentencePieceProcessor(model_file=str(args.model / "tokenizer.model"))
    first, _, last = args.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        prompt = [BOS] + sp.encode(args.prompt)
        ids = generate(model, prompt, args.tokens, args.temperature, torch.Generator().manual_seed(seed))
        print(f"### seed {seed}\n\n{sp.decode(prompt + ids)}\n")


if __name__ == "__main__":
    main()
