#!/usr/bin/env python3
"""Speed of llama.cpp, through llama-cpp-python, on the work that `moxie bench` measures: a prompt at once, or tokens one by one.

    llama_cpp_speed.py MODEL.gguf [-p 512] [-n 64] [-d 0] [-t 2] [-r 5] [-o json] [--repack]

Without --repack weights stay in file order (use_extra_bufts off): the AMX repacking crashes where gcc 12 compiled it. KV cache f16, as in
moxie. -d: tokens that are in the cache before. -o json has the keys of llama-bench.
"""

import argparse
import ctypes
import json
import statistics
import time

import llama_cpp


def load(path, context, threads, repack):
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    load.silent = silent
    model_params = llama_cpp.llama_model_default_params()
    model_params.use_extra_bufts = repack
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        raise SystemExit(f"llama.cpp does not load {path}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, 2048, 512
    params.n_threads = params.n_threads_batch = threads
    return llama_cpp.llama_init_from_model(model, params)


def seconds(context, batches):
    start = time.perf_counter()
    for ids in batches:
        tokens = (llama_cpp.llama_token * len(ids))(*ids)  # lives as long as the batch, which only points to it
        batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
        if llama_cpp.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
        llama_cpp.llama_synchronize(context)
    return time.perf_counter() - start


def in_batches(ids, size=2048):
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def measure(context, prompt, generate, depth, repetitions):
    """Tokens a second of each repetition; one more before them warms up."""
    rates = []
    for repetition in range(repetitions + 1):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        seconds(context, in_batches([(i * 6007 + repetition) % 30000 for i in range(depth)]))
        if prompt:
            work = in_batches([(i * 7919 + repetition * 31) % 30000 for i in range(prompt)])
        else:
            work = [[(i * 104729 + repetition) % 30000] for i in range(generate)]
        rates.append((prompt or generate) / seconds(context, work))
    return rates[1:]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("-p", type=int, default=512)
    arguments.add_argument("-n", type=int, default=64)
    arguments.add_argument("-d", type=int, default=0)
    arguments.add_argument("-t", type=int, default=2)
    arguments.add_argument("-r", type=int, default=5)
    arguments.add_argument("-o", choices=("text", "json"), default="text")
    arguments.add_argument("--repack", action="store_true")
    given = arguments.parse_args()
    context = load(given.model, given.d + max(given.p, given.n) + 64, given.t, given.repack)
    entries = []
    for prompt, generate in ((given.p, 0), (0, given.n)):
        if not prompt and not generate:
            continue
        rates = measure(context, prompt, generate, given.d, given.r)
        shape = {"n_prompt": prompt, "n_gen": generate, "n_depth": given.d, "n_threads": given.t}
        entries.append(shape | {"samples_ts": rates, "version": f"llama-cpp-python {llama_cpp.__version__}"})
    if given.o == "json":
        print(json.dumps(entries, indent=2))
        return
    for entry in entries:
        rates = entry["samples_ts"]
        name = f"pp{entry['n_prompt']}" if entry["n_prompt"] else f"tg{entry['n_gen']}"
        print(f"{name}: {statistics.median(rates):.1f} tokens/s ({min(rates):.1f} - {max(rates):.1f})")


if __name__ == "__main__":
    main()
