#!/usr/bin/env python3
"""Writes tests/data/tokenizers/{splits,byte-level,variants}: small tokenizers and what Hugging Face's `tokenizers` makes of texts,
and the files that fuzzing starts from.

Needs the package tokenizers (0.23.3 made the committed files): the tokenizers are trained here on the texts themselves. With the
package sentencepiece (0.2.3) it also writes `sentencepiece`, with mistral-common (1.13.1) `tekken`: the first tokens of Mistral's
own file and the ids its library gives.
Run it from the root of the repository; the output depends on the packages' versions only.
"""
import base64
import copy
import json
import random
import struct
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

DATA = Path("tests/data/tokenizers")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
HAN_UPPER, HAN_LOWER = (s[:-1] + r"&&[^\p{Han}]]" for s in (UPPER, LOWER))
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbe"
    "ῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
PATTERNS = {
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "dbrx": [LLAMA3],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "qwen35": [
        ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "gpt-4o": [
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDINGS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDINGS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "tekken": [
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[一-龥\u3040-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    "deepseek-llm": [
        r"[\r\n]",
        rf"\s?[{CASED}]+",
        r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
        r"\s+$",
        "[一-龥ࠀ-一가-\ud7ff]+",
        r"\p{N}",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
    "starcoder": [r"\p{N}", GPT2],
    "kimi-k2": [
        rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{HAN_UPPER}*{HAN_LOWER}+{ENDINGS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{HAN_UPPER}+{HAN_LOWER}*{ENDINGS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
}

WRITTEN = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n\n", " \n", "\n ", "  \n  ", "a", " a", "a ", "  a  b   c    ",
    "Hello, world!", " Hello World", "I'm sure they're here; we've DON'T I'LL He'D 'S 's 'ſ 'tis", "it''s 'sam 'll 'LLama",
    "1", "12", "123", "1234", "12345678 3.14159 1,000,000 v1.2.3", " 42 4 2", "x2y3", "½ Ⅻ ① ²³ ٣٤٥ १२३ 一二三",
    "été naïve Straße ﬁne Åland İstanbul ǅ ʔ ʰ ª º", "Привет, мир! ЁЖИК ёжик", "Ελληνικά ΓΡΑΜΜΑΤΑ ὈΔΥΣΣΕΎΣ ᾳ", "ქართული Ა Ⴀ",
    "你好，世界！我有3个苹果。", "日本語のテキスト、カタカナとひらがな。", "한국어 텍스트입니다.", "混合 mixed 텍스트 テスト 123 测试abc",
    "שלום עולם العربية مرحبا", "हिन्दी नमस्ते দুনিয়া தமிழ் ไทยภาษา", "e\u0301 a\u0308\u0323 \u0301x", "🙂 emoji 👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~", "...!!!???", " ...", "foo.bar(baz)[qux]->{x}", "def f(x):\n    return x*2\n",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i];\r\n\t}\n\n\n// end\n", "https://example.com/a/b?c=d&e=f#g", "path/to//file\\n",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "HTTPServer iPhone McDONALD's O'Neill's",
    "tab\tseparated\tvalues\n", "  leading and trailing  ", "line one \n  line two\n\n   line four   \n", "\u00a0nbsp\u00a0\u00a0x",
    "\u3000ideographic\u3000space", "\u2028line\u2029para\u0085nel\u000bvt\u000cff", "\u180emongolian \u200bzero\u200dwidth\ufeff",
    "\u001cfs\u001dgs\u001ers\u001fus", "nul\x00byte \x7f", "a" * 70, "ab " * 30, " " * 33 + "x", "\n" * 17 + "y", "9" * 40,
    "[INST] Hello [/INST]", "<|im_start|>user\nhi<|im_end|>\n", "</s><s>", "\"quoted\" 'single' “curly” ‘quotes’ «guillemets»",
    "price: $5.99, 50% off; €3 £2 ¥100 ₹7", "a+b=c-d*e/f", "∑∏√∞≠≤≥ ←→ ∀x∈ℝ", "ﾊﾝｶｸ ＦＵＬＬ １２３ ！？", "𝒜𝓁𝓅𝒽𝒶 𐐀𐐨 𠀀𪜶",
    "don't/won't/\n\ncan't\n/\n", "x\r\ry\r\n\r\nz", "  \t \n\t  a", "_under __dunder__", "1st 2nd 3rd 4TH", "A1B2C3", "ǆ Ǆ ǅ ß ẞ",
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX.", "ｱ゙ が か\u3099 ー〜・「」", "々〆〇 〡〢〣",
]


def stable_characters():
    """Characters that Unicode 3.2 has and no later version reclassified, by general category."""
    old, by_category = unicodedata.ucd_3_2_0, {}
    for code in range(0x110000):
        c = chr(code)
        category = unicodedata.category(c)
        if category in ("Cs", "Co", "Cn") or old.category(c) != category or old.normalize("NFC", c) != unicodedata.normalize("NFC", c):
            continue
        by_category.setdefault(category, []).append(c)
    return by_category


def random_texts(count):
    rng = random.Random(20)
    by_category = stable_characters()
    categories = sorted(by_category)
    frequent = list(" \n\t'.,aeiouSTLM0123 ")
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(4, 30)):
            pool = frequent if rng.random() < 0.5 else by_category[rng.choice(categories)]
            parts.append(rng.choice(pool) * rng.choice([1, 1, 1, 2, 5]))
        texts.append("".join(parts))
    return texts


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n" for row in rows))


def splits(texts):
    """Bytes of each piece that the patterns leave of a text."""
    rows = []
    for name, patterns in PATTERNS.items():
        steps = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])
        for i, text in enumerate(texts):
            rows.append([name, i, [len(piece.encode()) for piece, _ in steps.pre_tokenize_str(text)]])
    write_lines(DATA / "splits" / "splits.jsonl", rows)


def byte_level_tokenizer(name, patterns, corpus):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name in ("llama-bpe", "tekken")))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|endoftext|>"],
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def compact(tokenizer):
    """A tokenizer.json with merges in the older form, to be small."""
    parsed = json.loads(tokenizer.to_str())
    parsed["model"]["merges"] = [" ".join(m) if isinstance(m, list) else m for m in parsed["model"]["merges"]]
    return parsed


def byte_level(texts, corpus):
    for name, patterns in PATTERNS.items():
        tokenizer = byte_level_tokenizer(name, patterns, corpus)
        parsed = compact(tokenizer)
        folder = DATA / "byte-level"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(parsed, ensure_ascii=False, separators=(",", ":")))
        write_lines(folder / f"{name}.ids.jsonl", [tokenizer.encode(t, add_special_tokens=False).ids for t in texts])


def encode_rows(variant, definition, texts):
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        rows.append({"variant": variant, "text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    return rows


def metaspace_variants(texts):
    """The real Mixtral vocabulary with the ways there are to mark spaces."""
    base = json.loads((DATA / "mixtral-8x7b-v1" / "tokenizer.json").read_text())
    special = ["<s>a</s> b", "x<s> <s>y", "a  </s>\n<unk>z", " <s>"]
    rows = []
    for scheme in ("first", "always", "never"):
        for split in (False, True):
            definition = copy.deepcopy(base)
            definition["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
            rows += encode_rows(f"{scheme}-{'split' if split else 'whole'}", definition, texts + special)
    definition = copy.deepcopy(base)
    definition["pre_tokenizer"] = None
    definition["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    rows += encode_rows("legacy", definition, texts + special)
    write_lines(DATA / "variants" / "mixtral-prefix.jsonl", rows)


def small_variants():
    """Added tokens with every flag, steps that split and normalize, unknown characters."""
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyz ABCXYZ.,!<>|-_'0123456789é"))
    corpus = ["the cat sat on the mat. the dog ate the cat, and the mat!", "abc xyz 0123 the the then there"] * 20

    def trained(unknown):
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>" if unknown else None))
        trainer = trainers.BpeTrainer(
            vocab_size=120, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False,
            special_tokens=["<unk>"] if unknown else [],
        )
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.train_from_iterator(corpus, trainer)
        tokenizer.pre_tokenizer = None
        return tokenizer

    def numbered(tokenizer):
        return compact(tokenizer)

    rows, definitions = [], {}
    flags = trained(True)
    flags.add_tokens([AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True), AddedToken("word", single_word=True)])
    flags.add_special_tokens([AddedToken("<sp>", normalized=False), AddedToken("<spx>", normalized=False)])
    flags.add_tokens([AddedToken("NORM", normalized=True)])
    definitions["added"] = numbered(flags)
    lowered = copy.deepcopy(definitions["added"])
    lowered["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}
    definitions["added-lowercase"] = lowered
    for fuse in (False, True):
        unknown = copy.deepcopy(definitions["added"])
        unknown["model"]["fuse_unk"] = fuse
        definitions[f"unknown-{'fused' if fuse else 'each'}"] = unknown
    definitions["no-unknown"] = numbered(trained(False))
    steps = {
        "digits-each": {"type": "Digits", "individual_digits": True},
        "digits-runs": {"type": "Digits", "individual_digits": False},
        "punctuation": {"type": "Punctuation", "behavior": "Isolated"},
        "punctuation-contiguous": {"type": "Punctuation", "behavior": "Contiguous"},
        "whitespace": {"type": "Whitespace"},
        "whitespace-split": {"type": "WhitespaceSplit"},
    }
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            steps[f"split-{behavior}{'-inverted' if invert else ''}"] = {
                "type": "Split", "pattern": {"Regex": "[aeiou ]|th"}, "behavior": behavior, "invert": invert,
            }
    steps["split-string"] = {"type": "Split", "pattern": {"String": "."}, "behavior": "Removed", "invert": False}
    for name, step in steps.items():
        definition = copy.deepcopy(definitions["added"])
        definition["pre_tokenizer"] = step
        definitions[name] = definition
    for name, step in {
        "nfd-strip-accents": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
        "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
        "strip-left": {"type": "Strip", "strip_left": True, "strip_right": False},
        "replace-regex": {"type": "Replace", "pattern": {"Regex": "\\s+|[0-9]{2}"}, "content": " "},
        "prepend": {"type": "Prepend", "prepend": "the "},
        "nfkd": {"type": "NFKD"},
    }.items():
        definition = copy.deepcopy(definitions["added"])
        definition["normalizer"] = step
        definitions[name] = definition
    texts = [
        "the cat", "the   <left> mat <right>   dog", "<left><right>", "  <right>  <left>  ", "word words sword word. _word word",
        "a<sp>b <spx> c<sp><spx>", "NORM norm Norm the NORM", "日本 the 日 x\u0301é", "cat 1234 567", "the.cat,and!the..mat",
        "  the  cat  ", "\tthe\n cat ", "é ﬁ Ａ the", "aaee  th thth eth", "", " ", "x", "<unk>", "the\u00a0cat", "12 34 5 the", "ABC\u0130 İ",
        "\u00e9\u0301 e\u0301", "the-cat_the'cat|<>", "日日 日 x 日本日 yé",
    ]
    for name, definition in definitions.items():
        rows += encode_rows(name, definition, texts)
    write_lines(DATA / "variants" / "small.jsonl", rows)
    base = definitions["added"]
    for name, definition in definitions.items():
        # Only what differs from "added"; the vocabulary is large beside the rest.
        definitions[name] = {k: v for k, v in definition.items() if name == "added" or v != base.get(k)}
        if name != "added" and "model" in definitions[name] and definition["model"]["vocab"] == base["model"]["vocab"]:
            definitions[name]["model"] = {k: v for k, v in definition["model"].items() if k not in ("vocab", "merges")}
    (DATA / "variants" / "small.json").write_text(json.dumps(definitions, ensure_ascii=False, separators=(",", ":")) + "\n")


def tekken(texts):
    """The most frequent tokens of Mistral's tekken.json, and some more that config.default_vocab_size leaves out."""
    try:
        from mistral_common.tokens.tokenizers import tekken as library
    except ImportError:
        print("mistral-common is not installed: tekken is left as it is")
        return
    source = Path(library.__file__).parents[2] / "data" / "tekken_240911.json"
    parsed = json.loads(source.read_text())
    words = 2500
    parsed = {"config": parsed["config"], "vocab": parsed["vocab"][: words + 50]}
    parsed["config"] |= {"num_vocab_tokens": words + 50, "default_vocab_size": 1000 + words}
    folder = DATA / "tekken"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(parsed, separators=(",", ":")) + "\n")
    tokenizer = library.Tekkenizer.from_file(folder / "tekken.json")
    write_lines(folder / "tekken.ids.jsonl", [tokenizer.encode(t, bos=True, eos=False) for t in texts])


def sentencepiece_variants(texts):
    """Small SentencePiece models with what Mixtral's has not: user-defined, unused and unknown pieces, collapsed spaces."""
    try:
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        print("sentencepiece is not installed: sentencepiece is left as it is")
        return
    folder = DATA / "sentencepiece"
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [json.loads(line)["text"] for line in (DATA / "vectors" / "mixtral-v1.jsonl").read_text().splitlines()]
    lines = [line for text in corpus for line in text.split("\n") if line.strip() and "\0" not in line]
    for name, options in {
        "unknown-collapsed": {"byte_fallback": False, "remove_extra_whitespaces": True, "add_dummy_prefix": False},
        "user-defined": {
            "byte_fallback": True, "remove_extra_whitespaces": False, "user_defined_symbols": ["the", "▁of", "12", "<0", "z z"],
        },
    }.items():
        path = folder / f"{name}.model"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=str(folder / name), vocab_size=1300, model_type="bpe",
            normalization_rule_name="identity", character_coverage=0.98, minloglevel=2, num_threads=1, **options,
        )
        (folder / f"{name}.vocab").unlink()
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(path.read_bytes())
        rng = random.Random(1)
        for piece in model.pieces:
            if piece.type == 1 and len(piece.piece) > 1 and rng.random() < 0.2:
                piece.type = 5  # unused
        path.write_bytes(model.SerializeToString())
        processor = sentencepiece.SentencePieceProcessor(str(path))
        rows = [{"text": t, "ids": processor.encode(t)} for t in texts]
        write_lines(folder / f"{name}.jsonl", rows)


def gguf_text(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def gguf_vocabulary(model, pre, tokens, types, scores=None, merges=None):
    """A GGUF file of keys only."""
    def key(name, kind, value):
        return gguf_text(name) + struct.pack("<I", kind) + value

    def array(kind, count, values):
        return struct.pack("<IQ", kind, count) + values

    keys = [
        key("general.architecture", 8, gguf_text("llama")),
        key("tokenizer.ggml.model", 8, gguf_text(model)),
        key("tokenizer.ggml.pre", 8, gguf_text(pre)),
        key("tokenizer.ggml.tokens", 9, array(8, len(tokens), b"".join(map(gguf_text, tokens)))),
        key("tokenizer.ggml.token_type", 9, array(5, len(types), struct.pack(f"<{len(types)}i", *types))),
    ]
    if scores:
        keys.append(key("tokenizer.ggml.scores", 9, array(6, len(scores), struct.pack(f"<{len(scores)}f", *scores))))
    if merges:
        keys.append(key("tokenizer.ggml.merges", 9, array(8, len(merges), b"".join(map(gguf_text, merges)))))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(keys)


def fuzz_seeds():
    """Sound sources of every kind, each below 8 KiB."""
    folder = DATA / "seeds"
    folder.mkdir(parents=True, exist_ok=True)
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    words = ["▁", "t", "h", "e", "a", "n", "▁t", "he", "▁the", "an"]
    pieces = ["<unk>", "<s>", "</s>", *byte_tokens, *words]
    types = [2, 3, 3] + [6] * 256 + [1] * len(words)
    scores = [0.0] * 259 + [-float(i) for i in range(len(words))]
    (folder / "llama.gguf").write_bytes(gguf_vocabulary("llama", "default", pieces, types, scores))
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()))
    tokens = letters + ["Ġt", "he", "Ġthe", "<|im_start|>", "<|im_end|>"]
    merges = ["Ġ t", "h e", "Ġt he"]
    (folder / "gpt2.gguf").write_bytes(gguf_vocabulary("gpt2", "qwen2", tokens, [1] * (len(tokens) - 2) + [3, 4], None, merges))

    def save(name, definition):
        (folder / name).write_text(json.dumps(definition, ensure_ascii=False, separators=(",", ":")))

    special = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    save("metaspace.json", {
        "added_tokens": [{"id": i, "content": t, **special} for i, t in enumerate(("<unk>", "<s>", "</s>"))],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "post_processor": {
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {
            "type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
            "vocab": {t: i for i, t in enumerate(pieces)}, "merges": [["▁", "t"], ["h", "e"], ["▁t", "he"], ["a", "n"]],
        },
    })
    save("byte-level.json", {
        "added_tokens": [{"id": len(tokens) - 1, "content": "<|im_end|>", **special}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "ignore_merges": True, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges},
    })
    save("added.json", json.loads((DATA / "variants" / "small.json").read_text())["added"])
    few = [bytes([b]) for b in b" abcdehtx\n"] + [b"th", b"the", b" the"]
    save("tekken.json", {
        "config": {"pattern": GPT2, "default_vocab_size": 3 + len(few), "default_num_special_tokens": 3},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode()} for i, t in enumerate(few)],
    })

    def field(number, data):
        return bytes([number << 3 | 2, *([len(data)] if len(data) < 128 else [len(data) & 127 | 128, len(data) >> 7])]) + data

    message = b"".join(
        field(1, field(1, p.encode()) + b"\x15" + struct.pack("<f", s) + bytes([0x18, t])) for p, t, s in zip(pieces, types, scores)
    )
    message += field(2, bytes([3 << 3, 2, 0x98, 0x02, 1])) + field(3, bytes([3 << 3, 1, 4 << 3, 0]))
    (folder / "tokenizer.model").write_bytes(message)


def main():
    texts = WRITTEN + random_texts(60)
    write_lines(DATA / "splits" / "texts.jsonl", texts)
    corpus = WRITTEN + [json.loads(line)["text"] for line in (DATA / "vectors" / "mixtral-v1.jsonl").read_text().splitlines()]
    splits(texts)
    byte_level(texts, corpus)
    metaspace_variants(WRITTEN)
    small_variants()
    tekken(texts)
    sentencepiece_variants(texts + ["the of the 12 <0x41> z z", "z  z of the12", "the", " the of"])
    fuzz_seeds()


if __name__ == "__main__":
    main()
