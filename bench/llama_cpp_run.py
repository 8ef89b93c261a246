#!/usr/bin/env python3
"""Generates with llama.cpp, through llama-cpp-python, as `moxie run` would: text on stdout, figures on stderr.

    llama_cpp_run.py MODEL.gguf --ids 1,2,3 -n 16 [-t 2] [--load mmap] [--trace-routing FILE]

The last line on stderr is one JSON object with the keys of `moxie run --stats json`. --trace-routing writes the experts
that the routers chose in moxie's form: a header, then `step TAB p|d TAB layer TAB ids` for each batch and layer. With
--trace-tokens the prompt's tokens are written one by one, as if they had been generated.
"""

import argparse
import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path

import llama_cpp
import numpy as np

LOAD_MODES = {"none": 0, "mmap": 1, "mlock": 2, "direct": 4}  # enum llama_load_mode
CHOSEN = b"ffn_moe_topk-"


class TensorHead(ctypes.Structure):
    """The beginning of ggml_tensor."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("elements", ctypes.c_int64 * 4),
        ("strides", ctypes.c_size_t * 4),
    ]


class RoutingTrace:
    """Writes what the routers chose, seen through llama.cpp's evaluation callback."""

    def __init__(self, path, layers, experts, each_token):
        folder = Path(llama_cpp.__file__).parent / "lib"
        self._ggml = ctypes.CDLL(str(folder / "libggml-base.so"))
        self._ggml.ggml_get_name.restype = ctypes.c_char_p
        self._ggml.ggml_get_name.argtypes = [ctypes.c_void_p]
        self._ggml.ggml_nbytes.restype = ctypes.c_size_t
        self._ggml.ggml_nbytes.argtypes = [ctypes.c_void_p]
        self._ggml.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_size_t] * 2
        self._shape = f"layers={layers} experts={experts}"
        self._each_token = each_token
        self._step, self._batch = 0, {}
        self._file = open(path, "w")
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._look)

    def _look(self, tensor, asking, _):
        name = self._ggml.ggml_get_name(tensor)
        if not name.startswith(CHOSEN):
            return not asking  # when asked: do I want it; afterwards: shall computing go on
        if not asking:
            self._batch[int(name[len(CHOSEN) :])] = self._choices(tensor)
        return True

    def _choices(self, tensor):
        """(tokens, used), in router order."""
        head = TensorHead.from_address(tensor)
        raw = np.empty(self._ggml.ggml_nbytes(tensor), "u1")
        self._ggml.ggml_backend_tensor_get(tensor, raw.ctypes.data, 0, len(raw))
        shape, strides = head.elements[1::-1], head.strides[1::-1]
        return np.lib.stride_tricks.as_strided(raw[: len(raw) // 4 * 4].view("<i4"), shape, strides).copy()

    def end_batch(self, phase):
        used = len(self._batch[0][0])
        if self._step == 0:
            print(f"# moxie-trace 1 {self._shape} top_k={used}", file=self._file)
        if self._each_token or phase == "d":
            for token in range(len(self._batch[0])):
                self._write_step("d", {layer: ids[token] for layer, ids in self._batch.items()})
        else:
            self._write_step("p", {layer: np.unique(ids) for layer, ids in self._batch.items()})
        self._batch = {}
        self._file.flush()

    def _write_step(self, phase, choices):
        for layer, ids in sorted(choices.items()):
            print(self._step, phase, layer, ",".join(map(str, ids)), sep="\t", file=self._file)
        self._step += 1


def metadata_integer(model, key):
    text = ctypes.create_string_buffer(64)
    if llama_cpp.llama_model_meta_val_str(model, key.encode(), text, 64) < 0:
        raise SystemExit(f"the model lacks {key}")
    return int(text.value)


class Runner:
    def __init__(self, args):
        self._log = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        model_params = llama_cpp.llama_model_default_params()
        model_params.use_extra_bufts = False  # its AMX repacking crashes where gcc 12 compiled it
        model_params.load_mode = LOAD_MODES[args.load]
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), model_params)
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {args.model}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = args.context, max(args.ubatch, 1), args.ubatch
        params.n_threads = params.n_threads_batch = args.threads
        self.trace = None
        if args.trace_routing:
            layers = metadata_integer(self.model, "llama.block_count")
            experts = metadata_integer(self.model, "llama.expert_count")
            self.trace = RoutingTrace(args.trace_routing, layers, experts, args.trace_tokens)
            params.cb_eval = self.trace.callback
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self._batch, self._all_outputs = args.ubatch, args.trace_tokens
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        self._end = [id for id in range(self._size) if llama_cpp.llama_vocab_is_eog(self._vocabulary, id)]

    def append(self, ids, phase):
        """Computes ids and returns the logits after the last one."""
        for begin in range(0, len(ids), self._batch):
            part = ids[begin : begin + self._batch]
            tokens = (llama_cpp.llama_token * len(part))(*part)  # lives as long as the batch, which only points to it
            batch = llama_cpp.llama_batch_get_one(tokens, len(part))
            if self._all_outputs:  # otherwise the last layer computes the last token alone
                wanted = (ctypes.c_int8 * len(part))(*[1] * len(part))
                batch.logits = ctypes.cast(wanted, ctypes.POINTER(ctypes.c_int8))
            if llama_cpp.llama_decode(self.context, batch) != 0:
                raise SystemExit("llama_decode failed")
            llama_cpp.llama_synchronize(self.context)
            if self.trace:
                self.trace.end_batch(phase)
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, -1), (self._size,)).copy()
        if not np.isfinite(logits).all():
            raise SystemExit("the logits are not finite")
        logits[self._end] = -np.inf  # never ends
        return logits

    def text(self, id):
        buffer = ctypes.create_string_buffer(256)
        count = llama_cpp.llama_token_to_piece(self._vocabulary, id, buffer, 256, 0, False)
        return buffer.raw[: max(count, 0)]


def choose(logits, temperature, rng):
    """The likeliest token, or a draw (by the Gumbel maximum)."""
    if temperature > 0:
        logits = logits / temperature + rng.gumbel(size=len(logits))
    return int(np.argmax(logits))


def peak_resident_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="the prompt: 1,2,3, or @FILE")
    parser.add_argument("-n", "--predict", type=int, default=16)
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-c", "--context", type=int, default=0, help="0: as long as needed")
    parser.add_argument("-ub", "--ubatch", type=int, default=512)
    parser.add_argument("--temp", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", choices=LOAD_MODES, default="mmap")
    parser.add_argument("--trace-routing", metavar="FILE")
    parser.add_argument("--trace-tokens", action="store_true")
    args = parser.parse_args()
    text = Path(args.ids[1:]).read_text() if args.ids.startswith("@") else args.ids
    args.ids = [int(id) for id in text.replace(",", " ").split()]
    args.context = args.context or -(-(len(args.ids) + args.predict) // 256) * 256
    return args


def main():
    args = parse_args()
    started = time.perf_counter()
    runner = Runner(args)
    loaded = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    logits = runner.append(args.ids, "p")
    times, ids = [], []
    for index in range(args.predict):
        ids.append(choose(logits, args.temp, rng))
        times.append(time.perf_counter())
        sys.stdout.buffer.write(runner.text(ids[-1]))
        sys.stdout.buffer.flush()
        if index + 1 < args.predict:
            logits = runner.append(ids[-1:], "d")
    if not times:
        times = [time.perf_counter()]
    decode = times[-1] - times[0]
    figures = {
        "mode": "exact",
        "load_ms": round((loaded - started) * 1e3, 2),
        "ttft_ms": round((times[0] - loaded) * 1e3, 2),
        "prompt_tokens": len(args.ids),
        "prompt_tokens_per_s": round(len(args.ids) / (times[0] - loaded), 4),
        "generated_tokens": len(ids),
        "generated_tokens_per_s": round((len(ids) - 1) / decode, 4) if decode > 0 else 0,
        "gaps_ms": [round((b - a) * 1e3, 1) for a, b in zip(times, times[1:])],
        "rss_peak_bytes": peak_resident_bytes(),
        "ids": ids,
    }
    print(json.dumps(figures), file=sys.stderr)


if __name__ == "__main__":
    main()
