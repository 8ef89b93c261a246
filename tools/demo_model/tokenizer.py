"""The demo model's tokenizer: a SentencePiece BPE like Mixtral's, with 4096 pieces.

    python tokenizer.py train CORPORA --out T   # writes tokenizer.model and tokenizer.json, then checks them
    python tokenizer.py check CORPORA --out T   # both forms must give the same ids on many texts
"""

import argparse
import random
from pathlib import Path

import sentencepiece as spm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

VOCAB_SIZE = 4096
UNK, BOS, EOS = 0, 1, 2
END_OF_DOCUMENT = "<|endoftext|>"
SPACE = "\u2581"


def train(files, out_dir):
    spm.SentencePieceTrainer.train(
        input=",".join(map(str, files)),
        model_prefix=str(out_dir / "tokenizer"),
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        max_sentence_length=1 << 16,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        num_threads=2,
        minloglevel=1,
    )
    (out_dir / "tokenizer.vocab").unlink()
    write_json(out_dir)


def merges_of(sp):
    """Every way to make a piece of two pieces, in the order SentencePiece would try them: by score of the result."""
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    normal = {p: i for i, p in enumerate(pieces) if not (sp.is_control(i) or sp.is_unknown(i) or sp.is_byte(i))}
    merges = []
    for piece, i in normal.items():
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        splits = [(normal[a], normal[b], a, b) for a, b in splits if a in normal and b in normal]
        merges += [(-sp.get_score(i), i, *split) for split in splits]
    return {p: i for i, p in enumerate(pieces)}, [(a, b) for *_, a, b in sorted(merges)]


def write_json(out_dir):
    sp = spm.SentencePieceProcessor(model_file=str(out_dir / "tokenizer.model"))
    vocab, merges = merges_of(sp)
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tok.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", BOS)]
    )
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tok.save(str(out_dir / "tokenizer.json"))


def check(files, out_dir, count=1000, seed=1):
    """Stops unless tokenizer.model and tokenizer.json agree, and decode to the text, on `count` random excerpts and
    some awkward strings."""
    sp = spm.SentencePieceProcessor(model_file=str(out_dir / "tokenizer.model"))
    tok = Tokenizer.from_file(str(out_dir / "tokenizer.json"))
    rng = random.Random(seed)
    texts = ["a", " a", "  two  spaces ", "\n", "tab\tand\nnewline\n\n", "1234567 89", "don't!!! ...", "a" * 15,
             "caf\u00e9 \u4f60\u597d \U0001f642", SPACE, "x" * 600, "Once upon a time"]
    corpus = [Path(f).read_text(encoding="utf-8").replace(END_OF_DOCUMENT, "") for f in files]
    for i in range(count):
        text = corpus[i % len(corpus)]
        start = rng.randrange(len(text))
        texts.append(text[start : start + rng.randrange(1, 3000)])
    for text in texts:
        ids = sp.encode(text)
        if tok.encode(text).ids != [BOS] + ids:
            raise SystemExit(f"tokenizer.json disagrees with tokenizer.model on {text[:200]!r}")
        if SPACE not in text and not (sp.decode(ids) == tok.decode(ids) == text):
            raise SystemExit(f"decoding does not give back {text[:200]!r}")
    print(f"{len(texts)} texts: equal ids, decode to themselves; {sp.get_piece_size()} pieces")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "check"])
    parser.add_argument("corpora", type=Path, help="folder with the *-train*.txt texts (fetch.py writes one)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tokenizer")
    args = parser.parse_args()
    files = sorted(args.corpora.glob("*-train*.txt"))
    if not files:
        raise SystemExit(f"{args.corpora} has no *-train*.txt files; run: python fetch.py {args.corpora}")
    if args.action == "train":
        args.out.mkdir(parents=True, exist_ok=True)
        train(files, args.out)
    check(files, args.out)


if __name__ == "__main__":
    main()
