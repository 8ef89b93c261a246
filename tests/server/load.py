#!/usr/bin/env python3
"""load.py PROGRAM [SECONDS [CLIENTS]]: many clients at once that finish, leave, read slowly, or send garbage.

Says how many requests there were, the longest wait for /health, and how the memory of the server went; exits with 1 when
the server died, gave a 5xx, or its memory kept growing. Takes a minute by default. Needs the standard library alone.
"""

import os
import random
import socket
import sys
import threading
import time
from collections import Counter

os.environ["MOXIE_PROGRAM"] = sys.argv[1]
from robustness_test import mutated  # noqa: E402
from support import Server, head, read_response  # noqa: E402

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 60
CLIENTS = int(sys.argv[3]) if len(sys.argv) > 3 else 64
GROWTH_MAX = 1.10  # of the memory over the second half


def request_of(random_, server):
    words = "Once upon a time there was a little cat who liked to play in the garden with a ball".split()
    prompt = " ".join(random_.choice(words) for _ in range(random_.randrange(1, 60)))
    fields = {"max_tokens": random_.randrange(1, 40), "stream": random_.random() < 0.6, "seed": random_.randrange(1000)}
    if random_.random() < 0.2:
        fields["json_schema"] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    if random_.random() < 0.2:
        fields["n"] = 2
    body = {"messages": [{"role": "user", "content": prompt}], **fields}
    return head("POST", "/v1/chat/completions", server.port, body, {"Connection": "close"})


def client(seed, server, counts, ends):
    random_ = random.Random(seed)
    while time.monotonic() < ends:
        kind = random_.choice(["whole"] * 5 + ["leave"] * 3 + ["slow", "garbage", "silent"])
        try:
            with server.connect(timeout=120) as connection:
                request = request_of(random_, server)
                if kind == "garbage":
                    request = mutated(random_, request)
                if kind == "silent":
                    connection.sendall(request[: random_.randrange(len(request))])
                    time.sleep(random_.random() * 3)
                    counts[kind] += 1
                    continue
                connection.sendall(request)
                if kind == "leave":
                    time.sleep(random_.random())
                    counts[kind] += 1
                    continue
                if kind == "slow":
                    for _ in range(20):
                        if not connection.recv(16):
                            break
                        time.sleep(0.05)
                if kind == "garbage":
                    connection.settimeout(2)
                response = read_response(connection.makefile("rb")) if kind != "slow" else None
                counts[f"{kind} {response.status if response else '-'}"] += 1
        except (OSError, ValueError) as error:
            counts[f"{kind} {type(error).__name__}"] += 1


def main():
    counts, memory, slowest = Counter(), [], 0.0
    with Server("--parallel", 4, "--queue-limit", 64, "-c", 512, "--log-format", "none") as server:
        ends = time.monotonic() + SECONDS
        clients = [threading.Thread(target=client, args=(seed, server, counts, ends)) for seed in range(CLIENTS)]
        for each in clients:
            each.start()
        while time.monotonic() < ends:
            start = time.monotonic()
            assert server.get("/health").status == 200
            slowest = max(slowest, time.monotonic() - start)
            memory.append(server.memory())
            time.sleep(0.2)
        for each in clients:
            each.join()
        alive = server.alive()
    half = memory[len(memory) // 2 :]
    growth = max(half[-10:]) / max(half[:10])
    for name, count in sorted(counts.items()):
        print(f"{count:7} {name}")
    print(f"{sum(counts.values())} requests in {SECONDS:.0f} s by {CLIENTS} clients; /health at most {slowest * 1000:.0f} ms;")
    print(f"memory {min(memory) >> 20} to {max(memory) >> 20} MiB, over the second half times {growth:.3f}")
    failed = [name for name in counts if name.split()[1:] and name.split()[1].startswith("5") and not name.startswith("garbage")]
    if not alive or failed or growth > GROWTH_MAX:
        raise SystemExit(f"FAILED: alive {alive}, {failed}, growth {growth:.3f}")


if __name__ == "__main__":
    socket.setdefaulttimeout(120)
    main()
