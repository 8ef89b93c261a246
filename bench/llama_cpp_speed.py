#!/usr/bin/env python3
"""Speed of llama.cpp, through llama-cpp-python, on the work that `moxie bench` measures: a prompt at once, then tokens one by one.

    llama_cpp_speed.py MODEL.gguf [-p 512] [-n 64] [-t 2] [-r 5]

Weights stay in file order (use_extra_bufts off): its AMX repacking crashes where gcc 12 compiled it. KV cache f16, as in moxie.
"""

import argparse
import ctypes
import statistics
import time

import llama_cpp


def load(path, context, threads):
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    load.silent = silent
    model_params = llama_cpp.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, 512, 512
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


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("-p", type=int, default=512)
    arguments.add_argument("-n", type=int, default=64)
    arguments.add_argument("-t", type=int, default=2)
    arguments.add_argument("-r", type=int, default=5)
    given = arguments.parse_args()
    context = load(given.model, given.p + given.n + 64, given.t)
    rates = {f"pp{given.p}": [], f"tg{given.n}": []}
    for repetition in range(given.r + 1):  # the first warms up
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        prompt = [(i * 7919 + repetition * 31) % 30000 for i in range(given.p)]
        tokens = [[(i * 104729 + repetition) % 30000] for i in range(given.n)]
        for name, batches, count in ((f"pp{given.p}", [prompt], given.p), (f"tg{given.n}", tokens, given.n)):
            rate = count / seconds(context, batches)
            if repetition > 0:
                rates[name].append(rate)
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.1f} tokens/s ({min(values):.1f} - {max(values):.1f})")


if __name__ == "__main__":
    main()
