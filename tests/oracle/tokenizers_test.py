"""Token ids of random texts equal those of tokenizers, sentencepiece and llama.cpp."""

import random
import re
import unicodedata
import unittest

import peers

DATA = peers.ROOT / "tests/data/tokenizers"
TEXTS = 120
RANGES = (
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F),
    (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF), (0x300, 0x36F), (0x1F300, 0x1F64F),
)  # fmt: skip
FRAGMENTS = (
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "'s", "'LL", "don't", "I'VE", "1", "12", "123", "1234567",
    "3.14", "--", "...", "!?", "(a)", "x=1;", "http://", "e\u0301", "\u00a0", "\u200d", "\u3000", "\u2581", "ſ",
)  # fmt: skip
# Pre-tokenizers that llama.cpp knows by these names; the vocabulary below them does not matter for the comparison.
PRE_TOKENIZERS = (
    "gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "deepseek-coder", "deepseek-v3", "gpt-4o", "tekken", "olmo", "dbrx",
    "starcoder", "refact", "chatglm-bpe",
)  # fmt: skip

# Where llama.cpp departs from the pattern that the model's own tokenizer has: texts that show it are left out.
DEPARTURES = {
    "deepseek-llm": lambda text: re.search(r"\d\d", text),  # keeps runs of digits together
    "deepseek-coder": lambda text: re.search(r"[^\S\x00-\x7f]", text),  # blanks beyond ASCII never match as characters
    "gpt-4o": lambda text: any(unicodedata.category(character)[0] == "M" for character in text),  # marks are no letters
    "tekken": lambda text: any(unicodedata.category(character)[0] == "M" for character in text),
}


def random_texts(seed):
    """Words of stories between random characters of many scripts, blanks, digits and punctuation. No NUL."""
    rng = random.Random(seed)
    words = peers.STORY_TEXT.read_text().replace("<|endoftext|>", "").split()
    texts = ["", " ", "a", "Hello, world!", "  two  spaces", "été 12345", "🙂 emoji", "line\n\n  next\n"]
    while len(texts) < TEXTS:
        parts = []
        for _ in range(rng.randint(1, 25)):
            kind = rng.random()
            if kind < 0.4:
                parts.append(rng.choice(words) + rng.choice(("", " ")))
            elif kind < 0.7:
                parts.append(rng.choice(FRAGMENTS))
            else:
                low, high = rng.choice(RANGES)
                parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4))))
        texts.append("".join(parts))
    return texts


def moxie_ids(model, text):
    out = peers.moxie("tokenize", model, "-p", text, "--ids", "--no-escape").decode()
    return [int(number) for number in re.findall(r"\d+", out)]


class Tokenizers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("tokenizers", "sentencepiece", "llama_cpp", "gguf", "numpy")

    def check(self, model, expected, seed, left_out=lambda text: False):
        for text in random_texts(seed):
            if left_out(text):
                continue
            self.assertEqual(moxie_ids(model, text), expected(text), repr(text))

    def test_folder_against_tokenizers(self):
        import tokenizers

        reference = tokenizers.Tokenizer.from_file(str(peers.demo_model() / "tokenizer.json"))
        self.check(peers.demo_model(), lambda text: reference.encode(text).ids, 1)

    def test_tokenizer_model_against_sentencepiece(self):
        import sentencepiece

        source = peers.demo_model()
        folder = peers.work_folder() / "tokenizer-model-only"
        folder.mkdir()
        for path in source.iterdir():
            if path.name in ("config.json", "tokenizer.model", "model.safetensors"):
                (folder / path.name).symlink_to(path)
        reference = sentencepiece.SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
        # An empty text has no piece here, a lone space in the others: not compared.
        for text in filter(None, random_texts(2)):
            self.assertEqual(moxie_ids(folder, text), [reference.bos_id(), *reference.encode(text)], repr(text))

    def test_gguf_against_llama_cpp(self):
        model = peers.gguf_of(peers.demo_model(), "f16")
        with peers.Llama(model) as reference:
            self.check(model, reference.tokenize, 3)

    def test_mixtral_against_llama_cpp(self):
        model = peers.synthetic_mixtral(DATA / "mixtral-8x7b-v1/tokenizer.model")
        with peers.Llama(model, vocabulary_only=True) as reference:
            self.check(model, reference.tokenize, 4)


def _add_case(pre):
    def case(self):
        model = peers.with_pre_tokenizer(DATA / "gguf-vocab/ggml-vocab-gpt-2.gguf", pre)
        with peers.Llama(model, vocabulary_only=True) as reference:
            self.check(model, reference.tokenize, pre, DEPARTURES.get(pre, lambda text: False))

    setattr(Tokenizers, f"test_pre_tokenizer_{pre.replace('-', '_')}", case)


for _pre in PRE_TOKENIZERS:
    _add_case(_pre)


if __name__ == "__main__":
    unittest.main()
