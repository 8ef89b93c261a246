"""What the checks against other implementations share: the moxie program, llama.cpp through llama-cpp-python, models.

A check is skipped, by name, when a Python package or the program is absent.
"""

import ctypes
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
PROGRAM = Path(os.environ.get("MOXIE_PROGRAM", ROOT / "build/moxie"))
STORIES = ROOT / "tests/data/models/stories260k-moe8"
STORY_TEXT = ROOT / "tests/data/models/tinystories-valid-24.txt"
GREEDY_TOKENS = 64


def require(*packages):
    """Skips the calling test class unless all these packages import."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError:
            raise unittest.SkipTest(f"the Python package {package} is absent") from None
    if not PROGRAM.exists():
        raise unittest.SkipTest(f"{PROGRAM} is not built")


def demo_model():
    """The folder under test: $MOXIE_ORACLE_MODEL, the demo model, or the small story model in its place."""
    if "MOXIE_ORACLE_MODEL" in os.environ:
        return Path(os.environ["MOXIE_ORACLE_MODEL"])
    demo = ROOT / "models/demo"
    return demo if (demo / "config.json").exists() else STORIES


@functools.cache
def work_folder():
    """Converted models live here, shared by the checks of one run."""
    folder = tempfile.TemporaryDirectory(prefix="moxie-oracle-")
    work_folder.keep = folder
    return Path(folder.name)


@functools.cache
def text_file():
    """24 stories one after another, without the marks between them, which no model here knows."""
    path = work_folder() / "stories.txt"
    path.write_text(STORY_TEXT.read_text().replace("<|endoftext|>\n", "\n"))
    return path


@functools.cache
def gguf_of(folder, type_name):
    """The folder as a GGUF written by the independent converter."""
    import gguf_convert

    out = work_folder() / f"{Path(folder).name}-{type_name}.gguf"
    gguf_convert.convert(folder, out, type_name)
    return out


# llama.cpp's numbers for its quantization mixtures.
QUANTIZATIONS = {
    "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_m": 12, "q4_k_m": 15, "q5_k_m": 17,
    "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30,
}  # fmt: skip


@functools.cache
def quantized(folder, name):
    """The folder quantized by llama.cpp."""
    import llama_cpp

    source = gguf_of(folder, "f32")
    out = work_folder() / f"{Path(folder).name}-{name}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = QUANTIZATIONS[name]
    params.nthread = 1
    silence_llama()
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) != 0:
        raise AssertionError(f"llama.cpp did not quantize {source} to {name}")
    return out


@functools.cache
def dequantized(path):
    """The same GGUF with every weight decoded to float32 by the gguf package."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(path)
    out = path.with_name(path.stem + "-decoded.gguf")
    tensors = []
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        tensors.append((tensor.name, values.reshape([int(n) for n in reversed(tensor.shape)])))
    copy_gguf(reader, out, {}, tensors)
    return out


@functools.cache
def synthetic_mixtral(tokenizer):
    """A file of Mixtral's shape with this tokenizer and no data."""
    out = work_folder() / "synthetic.gguf"
    script = ROOT / "tools/synthetic/make_synthetic.py"
    subprocess.run([sys.executable, script, "--sparse", "--tokenizer", tokenizer, "-o", out], check=True, capture_output=True)
    return out


@functools.cache
def with_pre_tokenizer(vocabulary, name):
    """A vocabulary-only GGUF that names another pre-tokenizer."""
    import gguf

    out = work_folder() / f"vocabulary-{name}.gguf"
    copy_gguf(gguf.GGUFReader(vocabulary), out, {"tokenizer.ggml.pre": name})
    return out


def copy_gguf(reader, out, changes, tensors=()):
    """Writes the metadata of `reader`, strings replaced by `changes`, and (name, array) tensors."""
    import gguf

    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        sub_type = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, changes.get(key, field.contents()), field.types[0], sub_type)
    for key in changes.keys() - reader.fields.keys():
        writer.add_string(key, changes[key])
    for name, values in tensors:
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def moxie(*arguments, check=True):
    """stdout of the program as bytes. One thread: the bits are the same, and tests may run side by side."""
    if arguments[0] != "tokenize":
        arguments += ("-t", 1)
    done = subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    if check and done.returncode != 0:
        shown = " ".join(map(str, arguments))[:300]
        raise AssertionError(f"moxie {shown}: exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


FLOAT_CACHE = ("-ctk", "f32", "-ctv", "f32")


def moxie_logits(model, ids, *flags):
    """float64 (tokens, vocabulary)."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npy"
        moxie("logits", model, "--ids", ",".join(map(str, ids)), "-o", out, *flags)
        return np.load(out).astype(np.float64)


def moxie_perplexity(model, text, context):
    report = json.loads(moxie("perplexity", model, "-f", text, "-c", context, "--json").splitlines()[-1])
    return report["perplexity"]


def silence_llama():
    import llama_cpp

    if not hasattr(silence_llama, "callback"):
        silence_llama.callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(silence_llama.callback, ctypes.c_void_p(0))


class Llama:
    """A model in llama.cpp, float32 KV cache unless another is asked for.

    Weights stay in file order: its AMX path crashes when compiled by gcc 12, and repacked weights are summed in
    another order.
    """

    def __init__(self, path, context=512, vocabulary_only=False, half_cache=False):
        import llama_cpp
        import numpy as np

        silence_llama()
        self._api, self._np = llama_cpp, np
        model_params = llama_cpp.llama_model_default_params()
        model_params.use_extra_bufts = False
        model_params.vocab_only = vocabulary_only
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise AssertionError(f"llama.cpp does not load {path}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._context = None if vocabulary_only else self._new_context(context, half_cache)
        self._used = 0

    def _new_context(self, context, half_cache):
        params = self._api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = self._api.GGML_TYPE_F16 if half_cache else self._api.GGML_TYPE_F32
        params.flash_attn_type = self._api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return self._api.llama_init_from_model(self._model, params)

    def close(self):
        if self._context:
            self._api.llama_free(self._context)
        self._api.llama_model_free(self._model)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def logits(self, ids, keep=False):
        """float64 (tokens, vocabulary) of these ids; with keep they continue what came before."""
        api, np = self._api, self._np
        if not keep:
            api.llama_memory_clear(api.llama_get_memory(self._context), True)
            self._used = 0
        batch = api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self._used + i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        status = api.llama_decode(self._context, batch)
        api.llama_batch_free(batch)
        if status != 0:
            raise AssertionError(f"llama_decode returned {status}")
        self._used += len(ids)
        rows = (api.llama_get_logits_ith(self._context, i) for i in range(len(ids)))
        return np.array([np.ctypeslib.as_array(row, (self.vocab_size,)) for row in rows], dtype=np.float64)

    def greedy(self, ids, count):
        """(greedy ids, logits each was chosen from)."""
        chosen, seen = [], []
        last = self.logits(ids)[-1]
        for _ in range(count):
            seen.append(last)
            chosen.append(int(last.argmax()))
            last = self.logits(chosen[-1:], keep=True)[-1]
        return chosen, self._np.array(seen)

    def tokenize(self, text, add_special=True, parse_special=False):
        raw = text.encode()
        room = (self._api.llama_token * (len(raw) + 16))()
        count = self._api.llama_tokenize(self._vocab, raw, len(raw), room, len(room), add_special, parse_special)
        if count < 0:
            raise AssertionError(f"llama_tokenize returned {count}")
        return list(room[:count])

    def piece(self, token):
        room = ctypes.create_string_buffer(256)
        size = self._api.llama_token_to_piece(self._vocab, token, room, len(room), 0, False)
        return room.raw[:size]

    def perplexity(self, ids, context, bos):
        """llama.cpp's method: chunks of `context`, each opened by BOS, the second half scored."""
        np = self._np
        first, total, count = context // 2, 0.0, 0
        for start in range(0, len(ids) - context + 1, context):
            chunk = list(ids[start : start + context])
            if bos is not None:
                chunk[0] = bos
            rows = log_softmax(self.logits(chunk)[first:-1])
            total -= rows[np.arange(len(rows)), chunk[first + 1 :]].sum()
            count += len(rows)
        return float(np.exp(total / count)), count


def log_softmax(logits):
    import numpy as np

    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def kl_divergence(reference, other):
    """Per position, KL(reference || other)."""
    import numpy as np

    p, q = log_softmax(reference), log_softmax(other)
    return (np.exp(p) * (p - q)).sum(-1)
