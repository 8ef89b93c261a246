"""Turns the demo model's texts into the token files that train.py and evaluate.py read.

    python data.py CORPORA DATA --tokenizer T

CORPORA holds tinystories-{train,valid}*.txt and children-books-{train,valid}*.txt, in which every document ends with a
line <|endoftext|>. T is a folder with tokenizer.model (see tokenizer.py).
"""

import argparse
from pathlib import Path

import numpy as np
import sentencepiece as spm
from tokenizer import BOS, END_OF_DOCUMENT, EOS

KINDS = {"stories": "tinystories", "books": "children-books"}


def documents(files):
    for file in files:
        for text in file.read_text(encoding="utf-8").split(END_OF_DOCUMENT):
            if text.strip():
                yield text.strip("\n")


def prepare(corpora, out, tokenizer):
    sp = spm.SentencePieceProcessor(model_file=str(tokenizer / "tokenizer.model"))
    out.mkdir(parents=True, exist_ok=True)
    for kind, stem in KINDS.items():
        for split in ("train", "valid"):
            texts = list(documents(sorted(corpora.glob(f"{stem}-{split}*.txt"))))
            if not texts:
                raise SystemExit(f"{corpora} has no {stem}-{split}*.txt; run: python fetch.py {corpora}")
            ids = [[BOS, *x, EOS] for x in sp.encode(texts, num_threads=2)]
            tokens = np.concatenate([np.array(x, dtype=np.uint16) for x in ids])
            np.save(out / f"{kind}-{split}.npy", tokens)
            print(f"{kind}-{split}: {len(ids)} documents, {len(tokens)} tokens")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, help="folder with the texts (fetch.py writes one)")
    parser.add_argument("out", type=Path, help="folder for the token files")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.model")
    args = parser.parse_args()
    prepare(args.corpora, args.out, args.tokenizer)


if __name__ == "__main__":
    main()
