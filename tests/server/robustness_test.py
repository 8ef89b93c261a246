"""Clients that misbehave: they go away, read nothing, send nothing, send garbage. The server answers the others meanwhile."""

import json
import os
import random
import signal
import socket
import threading
import time
import unittest

from support import PATIENCE, Server, head, read_chunks, read_head, read_response

LONG = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1900, "ignore_eos": True}


def wait_until(condition, seconds=None):
    end = time.monotonic() + (seconds or PATIENCE)
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


class Robustness(unittest.TestCase):
    def running(self, server):
        return server.get("/health").json()["slots_processing"]

    def cancelled_soon(self, server, leave):
        """After `leave` the slot is free and the next request is answered."""
        before = server.metric("moxie:requests_cancelled_total")
        leave()
        self.assertTrue(wait_until(lambda: self.running(server) == 0), server.said())
        self.assertGreater(server.metric("moxie:requests_cancelled_total"), before)
        self.assertEqual(server.chat(max_tokens=1).status, 200)

    def test_clients_that_leave(self):
        with Server("--parallel", 1) as server:
            for stream in (True, False):
                with self.subTest(stream=stream):
                    connection = server.connect()
                    connection.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "stream": stream}))
                    if stream:
                        reading = connection.makefile("rb")
                        self.assertEqual(read_head(reading)[0], 200)
                        next(read_chunks(reading))
                        reading.close()
                    self.assertTrue(wait_until(lambda: self.running(server) == 1))
                    self.cancelled_soon(server, connection.close)
            self.assertGreaterEqual(server.metric("moxie:requests_cancelled_total"), 2)
            self.assertIn("cancelled", server.said())

    def test_clients_that_leave_the_queue(self):
        with Server("--parallel", 1) as server:
            first, second = server.connect(), server.connect()
            first.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "stream": True}))
            self.assertEqual(read_head(first.makefile("rb"))[0], 200)
            second.sendall(head("POST", "/v1/chat/completions", server.port, LONG))
            self.assertTrue(wait_until(lambda: server.get("/health").json()["requests_waiting"] == 1))
            second.close()
            self.assertTrue(wait_until(lambda: server.get("/health").json()["requests_waiting"] == 0, 5))
            self.assertEqual(self.running(server), 1)
            first.close()

    def test_a_full_queue(self):
        with Server("--parallel", 1, "--queue-limit", 1) as server:
            busy = [server.connect() for _ in range(2)]
            for number, connection in enumerate(busy):
                connection.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "stream": True}))
                key = ("slots_processing", "requests_waiting")[number]
                self.assertTrue(wait_until(lambda: server.get("/health").json()[key] == 1))
            refused = server.chat(max_tokens=1)
            self.assertEqual(refused.status, 429)
            self.assertEqual(refused.error()["type"], "rate_limit_exceeded")
            self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
            self.assertEqual(server.get("/health").status, 200)
            for connection in busy:
                connection.close()

    def test_readers_that_do_not_read(self):
        # Answers in chunks of logprobs are large: many megabytes that nobody takes.
        fields = {**LONG, "stream": True, "logprobs": True, "top_logprobs": 20, "n": 4}
        with Server("--parallel", 4) as server:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head("POST", "/v1/chat/completions", server.port, fields))
            self.assertTrue(wait_until(lambda: self.running(server) > 0))
            self.assertTrue(wait_until(lambda: self.running(server) == 0), server.said())
            self.assertEqual(server.chat(max_tokens=1).status, 200)
            connection.close()

    def test_connections_that_say_nothing(self):
        with Server() as server:
            silent = [server.connect() for _ in range(100)]
            for number, connection in enumerate(silent):
                if number % 3 == 1:
                    connection.sendall(b"POST /v1/chat/completions HTT")
                elif number % 3 == 2:
                    connection.sendall(head("POST", "/v1/chat/completions", server.port, LONG)[:-30])
            self.assertEqual(server.get("/health").status, 200)
            self.assertEqual(server.chat(max_tokens=1).status, 200)
            for connection in silent:
                connection.close()

    def test_more_connections_than_the_limit(self):
        # The oldest silent ones go; who has a request is served.
        with Server("--parallel", 1) as server:
            working = server.connect()
            working.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "max_tokens": 300, "stream": True}))
            stream = working.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            silent = []
            for _ in range(700):
                try:
                    silent.append(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
                except OSError:
                    break
            self.assertEqual(server.get("/health").status, 200)
            self.assertTrue(b"".join(read_chunks(stream)).endswith(b"data: [DONE]\n\n"))
            for connection in silent:
                connection.close()

    def test_bodies_and_heads_that_are_too_large(self):
        with Server() as server:
            large = server.post("/v1/chat/completions", b'{"messages":"' + b"x" * (17 << 20) + b'"}')
            self.assertEqual(large.status, 413)
            self.assertIn("limit", large.error()["message"])
            with server.connect() as connection:
                connection.sendall(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n")
                self.assertIn(read_response(connection.makefile("rb")).status, (400, 413))
            with server.connect() as connection:
                connection.sendall(head("POST", "/tokenize", server.port, None, {"Content-Length": str(17 << 20), "Expect": "100-continue"}))
                self.assertEqual(read_response(connection.makefile("rb")).status, 413)
            with server.connect() as connection:
                try:
                    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n")
                    response = read_response(connection.makefile("rb"))
                    self.assertIn(response.status, (400, 413, 431, 500))
                except OSError:
                    pass  # the server closed before it had read all
            self.assertEqual(server.get("/health").status, 200)

    def test_chunked_bodies(self):
        body = json.dumps({"content": "Once upon a time"}).encode()
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
        with Server() as server, server.connect() as connection:
            connection.sendall(head("POST", "/tokenize", server.port, None, {"Transfer-Encoding": "chunked"}) + chunks)
            self.assertEqual(read_response(connection.makefile("rb")).status, 200)

    def test_requests_that_are_none(self):
        """Mutated requests (MOXIE_TEST_MUTATIONS of them): each gets a response or a closed connection, and never a 5xx."""
        random_ = random.Random(7)
        valid = [
            head("POST", "/v1/chat/completions", 1, {**LONG, "max_tokens": 1}, {"Host": "localhost"}),
            head("POST", "/v1/completions", 1, {"prompt": "a", "max_tokens": 1, "stop": ["x"]}, {"Host": "localhost"}),
            head("POST", "/tokenize", 1, {"content": "abc", "with_pieces": True}, {"Host": "localhost"}),
            head("POST", "/slots/0?action=erase", 1, {}, {"Host": "localhost"}),
            head("GET", "/props", 1, None, {"Host": "localhost"}),
        ]
        count = int(os.environ.get("MOXIE_TEST_MUTATIONS", "400"))
        statuses = {}
        with Server("--parallel", 2, "-c", 64, "--log-format", "none") as server:
            for number in range(count):
                request = mutated(random_, random_.choice(valid))
                with server.connect() as connection:
                    try:
                        connection.sendall(request)
                        # A request that lacks its end waits for it; who ends its side is gone for the server.
                        if number % 8 == 0:
                            connection.settimeout(0.2)
                        else:
                            connection.shutdown(socket.SHUT_WR)
                        response = read_response(connection.makefile("rb"))
                    except (OSError, ValueError):
                        response = None
                status = response.status if response else None
                statuses[status] = statuses.get(status, 0) + 1
                self.assertFalse(response and response.status >= 500 and response.status not in (501, 505), (request, response and response.body))
                self.assertTrue(server.alive(), (request, server.said()))
            self.assertEqual(server.chat(max_tokens=1).status, 200)
        self.assertGreater(statuses.get(400, 0), count // 20, statuses)

    def test_bodies_of_odd_values(self):
        """Valid requests with one field replaced by another value: an answer or a 400 that names a reason."""
        random_ = random.Random(11)
        values = [None, True, False, 0, -1, 1, 1.5, 1e30, -1e30, 2**63, -(2**63), "", "x", "\ud800", [], [[]], [None], {}, {"a": {}}, "é" * 1000]
        base = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        names = (
            "messages model max_tokens max_completion_tokens temperature top_p n stream stream_options stop presence_penalty"
            " frequency_penalty logit_bias logprobs top_logprobs seed response_format tools tool_choice parallel_tool_calls"
            " reasoning_effort top_k min_p typical_p repeat_penalty repeat_last_n dry_multiplier mirostat grammar json_schema"
            " samplers chat_template_kwargs cache_prompt ignore_eos functions function_call timings_per_token"
        ).split()
        with Server("--parallel", 2, "-c", 64, "--log-format", "none") as server:  # short, since lengths vary too
            for name in names:
                for value in random_.sample(values, 10):
                    response = server.post("/v1/chat/completions", {**base, name: value})
                    self.assertIn(response.status, (200, 400), (name, value, response.text))
                    if response.status == 400:
                        self.assertTrue(response.error()["message"])

    def test_many_clients_that_leave(self):
        with Server("--parallel", 4) as server:
            failures = []

            def client(seed):
                random_ = random.Random(seed)
                for _ in range(6):
                    try:
                        with server.connect() as connection:
                            body = {**LONG, "max_tokens": random_.randrange(1, 60), "stream": random_.random() < 0.7}
                            connection.sendall(head("POST", "/v1/chat/completions", server.port, body))
                            if random_.random() < 0.5:
                                time.sleep(random_.random() * 0.3)
                                continue
                            response = read_response(connection.makefile("rb"))
                            if response.status not in (200, 429):
                                failures.append(response.text)
                    except OSError as error:
                        failures.append(repr(error))

            clients = [threading.Thread(target=client, args=(seed,)) for seed in range(16)]
            for each in clients:
                each.start()
            while any(each.is_alive() for each in clients):
                self.assertEqual(server.get("/health").status, 200)
                time.sleep(0.02)
            self.assertEqual(failures, [])
            self.assertTrue(wait_until(lambda: self.running(server) == 0), server.said())

    def test_termination_lets_requests_finish(self):
        with Server("--parallel", 1) as server:
            connection = server.connect()
            body = {**LONG, "max_tokens": 200, "stream": True}
            connection.sendall(head("POST", "/v1/chat/completions", server.port, body))
            stream = connection.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            pieces = read_chunks(stream)
            next(pieces), next(pieces)  # the role, then a token: it runs
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(b"".join(pieces).endswith(b"data: [DONE]\n\n"))
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_a_second_signal_ends_requests(self):
        with Server("--parallel", 1) as server:
            connection = server.connect()
            connection.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "stream": True}))
            stream = connection.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            server.process.send_signal(signal.SIGINT)
            self.assertTrue(wait_until(lambda: "stopping" in server.said()))
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(PATIENCE), 0)


def mutated(random_, request):
    data = bytearray(request)
    for _ in range(random_.randrange(1, 6)):
        kind = random_.randrange(6)
        at = random_.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] = random_.randrange(256)
        elif kind == 1:
            data[at:at] = bytes(random_.randrange(256) for _ in range(random_.randrange(1, 9)))
        elif kind == 2:
            del data[at : at + random_.randrange(1, 20)]
        elif kind == 3:
            end = at + random_.randrange(1, 40)
            data[at:at] = data[at:end] * random_.randrange(1, 4)
        elif kind == 4:
            data[at:at] = random_.choice([b"\r\n", b"\0", b"{", b'"', b"\xff", b"%00", b"../", b"1e999", b"\\u0000"])
        elif data:
            data = data[: random_.randrange(1, len(data) + 1)]
    return bytes(data)


if __name__ == "__main__":
    unittest.main()
