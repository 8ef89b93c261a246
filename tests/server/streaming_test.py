"""Streams as the SDKs read them, and that they say the same as whole answers."""

import contextlib
import json
import unittest

from support import Server, head, read_chunks, read_head


class Streaming(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", 2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_framing_of_chat(self):
        response = self.server.chat(max_tokens=6, seed=1, stream=True)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "text/event-stream")
        self.assertEqual(response.headers["transfer-encoding"], "chunked")
        chunks = response.chunks()
        self.assertEqual({chunk["object"] for chunk in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}), 1)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        self.assertEqual(deltas[0], {"role": "assistant", "content": ""})
        self.assertEqual(deltas[-1], {})
        self.assertTrue(all(set(delta) == {"content"} for delta in deltas[1:-1]))
        self.assertEqual([chunk["choices"][0]["finish_reason"] for chunk in chunks], [None] * (len(chunks) - 1) + ["length"])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 6)

    def test_usage_comes_in_a_chunk_of_its_own(self):
        chunks = self.server.chat(max_tokens=3, stream=True, stream_options={"include_usage": True}).chunks()
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 3)
        self.assertTrue(all(chunk["usage"] is None for chunk in chunks[:-1]))

    def test_streams_say_what_whole_answers_say(self):
        for fields in ({"seed": 4}, {"seed": 5, "temperature": 1.3, "n": 2}, {"seed": 6, "stop": [" the", "zz"]}, {"seed": 7, "logprobs": True}):
            with self.subTest(fields=fields):
                whole = self.server.chat(max_tokens=30, **fields).json()
                chunks = self.server.chat(max_tokens=30, stream=True, **fields).chunks()
                for choice in whole["choices"]:
                    mine = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["index"] == choice["index"]]
                    text = "".join(one["delta"].get("content") or "" for one in mine)
                    self.assertEqual(text, choice["message"]["content"])
                    self.assertEqual([one["finish_reason"] for one in mine if one["finish_reason"]], [choice["finish_reason"]])
                    if choice["logprobs"]:
                        streamed = [token for one in mine if one["logprobs"] for token in one["logprobs"]["content"]]
                        self.assertEqual(streamed, choice["logprobs"]["content"])

    def test_errors_come_before_the_stream(self):
        for fields in ({"temperature": "x"}, {"grammar": "root ::= ("}, {"messages": [{"role": "user", "content": "word " * 5000}]}):
            response = self.server.chat(stream=True, **fields)
            self.assertEqual(response.status, 400)
            self.assertIn("application/json", response.headers["content-type"])

    def test_completions(self):
        body = {"prompt": "Once upon a", "max_tokens": 5, "temperature": 0}
        whole = self.server.post("/v1/completions", body).json()["choices"][0]
        chunks = self.server.post("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}).chunks()
        self.assertEqual("".join(c["choices"][0]["text"] for c in chunks if c["choices"]), whole["text"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], "length")
        echoed = self.server.post("/v1/completions", {**body, "stream": True, "echo": True}).chunks()
        self.assertEqual("".join(c["choices"][0]["text"] for c in echoed), body["prompt"] + whole["text"])
        self.assertEqual((chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]), ([], 5))

    def test_native_completion(self):
        body = {"prompt": "Once upon a", "n_predict": 6, "temperature": 0}
        whole = self.server.post("/completion", body).json()
        events = self.server.post("/completion", {**body, "stream": True, "return_progress": True}).events()
        pieces = [json.loads(data) for _, data in events]
        self.assertEqual([piece["stop"] for piece in pieces], [False] * (len(pieces) - 1) + [True])
        self.assertEqual("".join(piece["content"] for piece in pieces), whole["content"])
        self.assertEqual(pieces[-1]["stop_type"], "limit")
        progress = [piece["prompt_progress"] for piece in pieces if "prompt_progress" in piece]
        self.assertTrue(all(one["processed"] <= one["total"] for one in progress), progress)

    def test_one_connection_serves_many_requests(self):
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "stream": True}
        with self.server.connect() as connection:
            stream = connection.makefile("rb")
            for _ in range(3):
                connection.sendall(head("POST", "/v1/chat/completions", self.server.port, body))
                status, headers = read_head(stream)
                self.assertEqual((status, headers["transfer-encoding"]), (200, "chunked"))
                self.assertTrue(b"".join(read_chunks(stream)).endswith(b"data: [DONE]\n\n"))
                connection.sendall(head("GET", "/health", self.server.port))
                status, headers = read_head(stream)
                self.assertEqual(json.loads(stream.read(int(headers["content-length"])))["status"], "ok")

    def test_requests_behind_each_other_are_answered_in_order(self):
        with self.server.connect() as connection:
            body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
            connection.sendall(
                head("POST", "/v1/chat/completions", self.server.port, body) + head("GET", "/v1/models", self.server.port)
            )
            stream = connection.makefile("rb")
            for kind in ("chat.completion", "list"):
                status, headers = read_head(stream)
                self.assertEqual(status, 200)
                self.assertEqual(json.loads(stream.read(int(headers["content-length"])))["object"], kind)

    def test_silent_streams_get_comments(self):
        # One slot, and so much before the last stream that it waits for seconds on any machine; none of it is awaited.
        with Server("--parallel", 1, "--sse-ping-interval", 1) as server, contextlib.ExitStack() as connections:
            request = {"messages": [{"role": "user", "content": "Hello"}], "ignore_eos": True, "stream": True}

            def ask(max_tokens):
                connection = connections.enter_context(server.connect())
                connection.sendall(head("POST", "/v1/chat/completions", server.port, {**request, "max_tokens": max_tokens}))
                return connection.makefile("rb")

            for _ in range(40):  # their heads are not read: a server that is busy sends them late
                ask(1900)
            stream = ask(1)
            self.assertEqual(read_head(stream)[0], 200)
            pieces = read_chunks(stream)
            self.assertIn(b'"role":"assistant"', next(pieces))
            self.assertIn(b":\n\n", next(pieces) + next(pieces))


if __name__ == "__main__":
    unittest.main()
