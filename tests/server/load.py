#!/usr/bin/env python3
"""load.py PROGRAM [SECONDS [CLIENTS]]: many clients at once that finish, leave, read slowly, or send garbage.

Says how many requests there were, how long /health took, and how the memory of the server went; exits with 1 when the
server died, gave a 5xx, kept /health waiting, its memory kept growing, or after SIGTERM a request under way did not finish.
Takes a minute by default. Needs the standard library alone.

/health is asked by a process of its own: a thread beside 64 others in Python would wait for them. How long that process
itself waits for a core is measured as well, by sleeps of a millisecond: on a machine that the load fills, no answer can
come sooner than that.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

if __name__ == "__main__" and sys.argv[1] != "--health":
    os.environ["MOXIE_PROGRAM"] = sys.argv[1]
from robustness_test import mutated  # noqa: E402
from support import Server, head, read_chunks, read_head, read_response  # noqa: E402

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 60  # with --health the port stands there
CLIENTS = int(sys.argv[3]) if len(sys.argv) > 3 else 64
GROWTH_MAX = 1.10  # of the memory over the second half
HEALTH_MAX = 50  # milliseconds beyond what a sleep came late


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


def watch_health(port):
    """Until its input ends: asks again and again. Prints milliseconds: of answers, and of sleeps beyond what was asked."""
    request = head("GET", "/health", port, None, {"Connection": "close"})
    answers, sleeps = [], []
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    while not done.is_set():
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
            assert read_response(connection.makefile("rb")).status == 200
        between = time.monotonic()
        time.sleep(0.001)
        answers.append((between - start) * 1000)
        sleeps.append((time.monotonic() - between) * 1000 - 1)
        time.sleep(0.02)
    print(json.dumps({"answers": sorted(answers), "sleeps": sorted(sleeps)}))


def percentiles(values):
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]  # noqa: E731
    return f"median {at(0.5):.1f}, 99 of 100 below {at(0.99):.1f}, at most {values[-1]:.1f} ms"


def drains(server):
    """After SIGTERM what is under way finishes, and the program ends."""
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 200, "ignore_eos": True, "stream": True}
    with server.connect() as connection:
        connection.sendall(head("POST", "/v1/chat/completions", server.port, body))
        stream = connection.makefile("rb")
        assert read_head(stream)[0] == 200
        pieces = read_chunks(stream)
        next(pieces), next(pieces)
        server.process.send_signal(signal.SIGTERM)
        finished = b"".join(pieces).endswith(b"data: [DONE]\n\n")
    return finished and server.process.wait(60) == 0


def main():
    counts, memory = Counter(), []
    with Server("--parallel", 4, "--queue-limit", 64, "-c", 512, "--log-format", "none") as server:
        ends = time.monotonic() + SECONDS
        clients = [threading.Thread(target=client, args=(seed, server, counts, ends)) for seed in range(CLIENTS)]
        health = subprocess.Popen([sys.executable, __file__, "--health", str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for each in clients:
            each.start()
        while time.monotonic() < ends:
            memory.append(server.memory())
            time.sleep(0.2)
        for each in clients:
            each.join()
        waits = json.loads(health.communicate()[0])
        alive = server.alive()
        drained = alive and drains(server)
    half = memory[len(memory) // 2 :]
    growth = max(half[-10:]) / max(half[:10])
    for name, count in sorted(counts.items()):
        print(f"{count:7} {name}")
    print(f"{sum(counts.values())} requests in {SECONDS:.0f} s by {CLIENTS} clients")
    print(f"/health, asked {len(waits['answers'])} times: {percentiles(waits['answers'])}")
    print(f"a sleep beside it came late: {percentiles(waits['sleeps'])}")
    print(f"memory {min(memory) >> 20} to {max(memory) >> 20} MiB, over the second half times {growth:.3f}")
    failed = [name for name in counts if name.split()[1:] and name.split()[1].startswith("5") and not name.startswith("garbage")]
    slow = waits["answers"][-1] > HEALTH_MAX + waits["sleeps"][-1]
    if not drained or failed or slow or growth > GROWTH_MAX:
        raise SystemExit(f"FAILED: alive {alive}, drained {drained}, slow {slow}, {failed}, growth {growth:.3f}")


if __name__ == "__main__":
    socket.setdefaulttimeout(120)
    if sys.argv[1] == "--health":
        watch_health(int(sys.argv[2]))
    else:
        main()
