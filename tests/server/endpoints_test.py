"""Every endpoint once and more: what it answers, and what it says to a request that is wrong."""

import base64
import json
import math
import os
import struct
import tempfile
import unittest

from support import Server


class Endpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", 2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def refused(self, response, status, field=None, words=""):
        self.assertEqual(response.status, status, response.text)
        error = response.error()
        self.assertIn(words, error["message"])
        self.assertEqual(error["param"], field)
        self.assertIsInstance(error["type"], str)

    def test_health(self):
        response = self.server.get("/health")
        self.assertEqual((response.status, response.json()["status"]), (200, "ok"))
        self.assertRegex(response.headers["x-request-id"], "^req-[0-9a-f]+$")
        head = self.server.request("HEAD", "/health")
        self.assertEqual((head.status, head.body), (200, b""))

    def test_unknown_routes_and_methods(self):
        self.assertEqual(self.server.get("/nothing").status, 404)
        self.assertEqual(self.server.get("/v1/chat/completions").status, 405)
        self.assertEqual(self.server.request("DELETE", "/v1/models").status, 405)
        self.assertEqual(self.server.get("/nothing").error()["type"], "not_found_error")

    def test_models(self):
        listed = self.server.get("/v1/models").json()
        self.assertEqual((listed["object"], listed["data"][0]["id"]), ("list", "demo"))
        self.assertEqual(listed["data"][0]["meta"]["n_expert"], 8)
        anthropic = self.server.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
        self.assertEqual((anthropic["first_id"], anthropic["has_more"], anthropic["data"][0]["type"]), ("demo", False, "model"))
        self.assertEqual(self.server.get("/v1/models/demo").json()["object"], "model")
        self.assertEqual(self.server.get("/v1/models/other").status, 404)

    def test_tokens(self):
        content = "Once upon a time"
        ids = self.server.post("/tokenize", {"content": content}).json()["tokens"]
        with_start = self.server.post("/tokenize", {"content": content, "add_special": True}).json()["tokens"]
        self.assertEqual(with_start[1:], ids)
        back = self.server.post("/detokenize", {"tokens": ids}).json()["content"]
        self.assertEqual(back.strip(), content)
        pieces = self.server.post("/tokenize", {"content": "é€", "with_pieces": True}).json()["tokens"]
        joined = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
        self.assertEqual(joined.decode().strip(), "é€")
        self.refused(self.server.post("/tokenize", {"content": 3}), 400, "content")
        self.refused(self.server.post("/detokenize", {"tokens": [-1]}), 400, "tokens")
        self.refused(self.server.post("/detokenize", {"tokens": ["a"]}), 400, "tokens")
        self.refused(self.server.post("/detokenize", {}), 400, "tokens")

    def test_template(self):
        prompt = self.server.post("/apply-template", {"messages": [{"role": "user", "content": "Hello there"}]}).json()["prompt"]
        self.assertIn("Hello there", prompt)

    def test_props(self):
        props = self.server.get("/props").json()
        self.assertEqual(props["total_slots"], 2)
        self.assertEqual(props["default_generation_settings"]["params"]["top_k"], 40)
        self.assertTrue(props["chat_template"])
        self.assertEqual(self.server.post("/props", {}).status, 501)

    def test_slots(self):
        slots = self.server.get("/slots").json()
        self.assertEqual([slot["id"] for slot in slots], [0, 1])

    def test_slot_actions(self):
        self.refused(self.server.post("/slots/7?action=erase", {}), 400)
        self.assertEqual(self.server.post("/slots/0?action=erase", {}).status, 200)
        self.refused(self.server.post("/slots/0?action=burn", {}), 400, "action")
        self.assertEqual(self.server.post("/slots/0?action=save", {"filename": "a"}).status, 501)
        with tempfile.TemporaryDirectory() as folder, Server("--slot-save-path", folder) as server:
            prompt = {"prompt": "Once upon a time there was a cat. " * 20, "max_tokens": 4, "temperature": 0}
            first = server.post("/v1/completions", prompt).json()
            saved = server.post("/slots/0?action=save", {"filename": "cat.bin"}).json()
            self.assertGreaterEqual(saved["n_saved"], 16)
            self.assertGreater(server.post("/slots/0?action=erase", {}).json()["n_erased"], 0)
            restored = server.post("/slots/0?action=restore", {"filename": "cat.bin"}).json()
            self.assertEqual(restored["n_restored"], saved["n_saved"])
            again = server.post("/v1/completions", prompt).json()
            self.assertEqual(again["choices"][0]["text"], first["choices"][0]["text"])
            self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
            for name in ("", "../cat.bin", "/etc/passwd", "a/b", ".hidden", "a\0b", "x" * 300, 3):
                for action in ("save", "restore"):
                    self.refused(server.post(f"/slots/0?action={action}", {"filename": name}), 400, "filename")
            self.assertEqual(server.post("/slots/0?action=restore", {"filename": "none.bin"}).status, 404)
            self.assertEqual(os.listdir(folder), ["cat.bin"])

    def test_metrics(self):
        self.server.chat(max_tokens=3)
        text = self.server.get("/metrics").text
        for name in ("llamacpp:tokens_predicted_total", "llamacpp:requests_processing", "moxie:expert_hits_total"):
            self.assertRegex(text, rf"(?m)^# TYPE {name} (counter|gauge)\n{name} [0-9.e+]+$")
        self.assertGreaterEqual(self.server.metric("llamacpp:tokens_predicted_total"), 3)

    def test_lossy_modes_are_named_and_counted(self):
        with Server("-c", 128, "--expert-slots", 3, "--skip-missing", "--no-warm") as server:
            answer = server.post("/completion", {"prompt": "Once upon a time", "n_predict": 12, "ignore_eos": True}).json()
            experts = answer["timings"]["experts"]
            self.assertEqual(experts["mode"], "skip-missing")
            self.assertGreater(experts["lossy_changed"], 0)
            self.assertGreater(experts["lossy_accesses"], experts["lossy_changed"])
            self.assertGreater(experts["lossy_weight_share"], 0)
            # Told with the end of the answer, and nothing has run since.
            self.assertEqual(server.metric("moxie:lossy_accesses_total"), experts["lossy_accesses"])
            self.assertEqual(server.metric("moxie:lossy_changed_total"), experts["lossy_changed"])
            self.assertIn("skip-missing is lossy", server.said())
        self.assertNotIn("lossy", self.server.get("/metrics").text)

    def test_chat(self):
        answer = self.server.chat(max_tokens=4, seed=1).json()
        self.assertEqual(answer["object"], "chat.completion")
        self.assertRegex(answer["id"], "^chatcmpl-")
        self.assertEqual(answer["model"], "demo")
        choice = answer["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["message"]["role"]), (0, "length", "assistant"))
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 4)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 4)
        self.assertEqual(answer["timings"]["predicted_n"], 4)
        self.assertIn("hit_rate", answer["timings"]["experts"])

    def test_chat_takes_messages_of_many_shapes(self):
        for messages in (
            [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
            [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}],
            [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Once"}],
            [{"role": "user", "content": "Hello", "name": None}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
        ):
            response = self.server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1, "unknown": [1]})
            self.assertEqual(response.status, 200, response.text)

    def test_chat_refuses_by_name(self):
        for fields, field in (
            ({"messages": []}, "messages"),
            ({"messages": "Hello"}, "messages"),
            ({"messages": [3]}, "messages[0]"),
            ({"messages": [{"content": "x"}]}, "messages[0].role"),
            ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content"),
            ({"temperature": "hot"}, "temperature"),
            ({"temperature": 1e300}, "temperature"),
            ({"top_p": 2}, "top_p"),
            ({"max_tokens": -7}, "max_tokens"),
            ({"max_tokens": 1.5}, "max_tokens"),
            ({"max_completion_tokens": "many"}, "max_completion_tokens"),
            ({"n": 0}, "n"),
            ({"n": 1000}, "n"),
            ({"stream": "yes"}, "stream"),
            ({"stream_options": 1}, "stream_options"),
            ({"stop": [1]}, "stop"),
            ({"seed": "x"}, "seed"),
            ({"logprobs": 3}, "logprobs"),
            ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
            ({"top_logprobs": 2}, "top_logprobs"),
            ({"logit_bias": {"x": 1}}, "logit_bias"),
            ({"logit_bias": 3}, "logit_bias"),
            ({"response_format": {"type": "yaml"}}, "response_format.type"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
            ({"tools": {}}, "tools"),
            ({"model": 3}, "model"),
            ({"samplers": "?"}, "samplers"),
        ):
            with self.subTest(fields=fields):
                self.refused(self.server.chat(**{"max_tokens": 1, **fields}), 400, field)

    def test_chat_refuses_what_the_sampler_refuses(self):
        self.refused(self.server.chat(grammar="root ::= (", max_tokens=1), 400)
        self.refused(self.server.chat(logit_bias={"999999": 1}, max_tokens=1), 400)
        self.refused(self.server.chat(json_schema={"type": "nothing"}, max_tokens=1), 400)
        self.refused(self.server.chat(samplers=["unheard"], max_tokens=1), 400)

    def test_bodies_that_are_no_request(self):
        for body in (b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"messages":', b"[" * 100000, b'{"a":' * 1000, b"null"):
            for path in ("/v1/chat/completions", "/v1/completions", "/tokenize"):
                response = self.server.post(path, body)
                self.assertEqual(response.status, 400, (path, body[:20], response.text))
                self.assertIsInstance(response.error()["message"], str)

    def test_prompts_that_do_not_fit(self):
        response = self.server.chat(messages=[{"role": "user", "content": "word " * 5000}])
        self.assertEqual(response.status, 400)
        self.assertEqual(response.error()["code"], "context_length_exceeded")
        self.assertRegex(response.error()["message"], r"\d+ tokens, and the context holds 2048")

    def test_several_choices(self):
        answer = self.server.chat(n=3, max_tokens=8, seed=5, temperature=1.5).json()
        self.assertEqual([choice["index"] for choice in answer["choices"]], [0, 1, 2])
        self.assertEqual(answer["usage"]["completion_tokens"], 24)
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        self.assertGreater(len(set(texts)), 1)
        alone = self.server.chat(max_tokens=8, seed=6, temperature=1.5).json()["choices"][0]["message"]["content"]
        self.assertEqual(alone, texts[1])

    def test_logprobs(self):
        answer = self.server.chat(max_tokens=5, seed=2, logprobs=True, top_logprobs=3).json()
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 5)
        for token in content:
            self.assertLessEqual(token["logprob"], 0)
            self.assertEqual(len(token["top_logprobs"]), 3)
            likeliest = [top["logprob"] for top in token["top_logprobs"]]
            self.assertEqual(likeliest, sorted(likeliest, reverse=True))
            self.assertLessEqual(sum(math.exp(p) for p in likeliest), 1.0001)
        joined = b"".join(bytes(token["bytes"]) for token in content).decode()
        self.assertEqual(joined.strip(), answer["choices"][0]["message"]["content"].strip())
        self.assertIsNone(self.server.chat(max_tokens=1).json()["choices"][0]["logprobs"])

    def test_stop_texts(self):
        whole = self.server.chat(max_tokens=40, seed=3, temperature=0).json()["choices"][0]["message"]["content"]
        word = whole.split()[4]
        answer = self.server.chat(max_tokens=40, seed=3, temperature=0, stop=["~~~", word]).json()["choices"][0]
        self.assertEqual(answer["finish_reason"], "stop")
        self.assertEqual(answer["message"]["content"], whole[: whole.index(word)])
        single = self.server.chat(max_tokens=40, seed=3, temperature=0, stop=word).json()["choices"][0]
        self.assertEqual(single["message"]["content"], answer["message"]["content"])

    def test_lengths(self):
        self.assertEqual(self.server.chat(max_completion_tokens=2).json()["usage"]["completion_tokens"], 2)
        self.assertEqual(self.server.chat(max_tokens=9, max_completion_tokens=3).json()["usage"]["completion_tokens"], 3)

    def test_structured_output(self):
        schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 999}}, "required": ["a"], "additionalProperties": False}
        for fields in (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}},
            {"response_format": {"type": "json_object", "schema": schema}},
            {"json_schema": schema},
        ):
            text = self.server.chat(max_tokens=100, temperature=0, **fields).json()["choices"][0]["message"]["content"]
            self.assertIsInstance(json.loads(text)["a"], int, text)
        answer = self.server.chat(max_tokens=60, grammar='root ::= "yes" | "no"').json()["choices"][0]
        self.assertIn(answer["message"]["content"], ("yes", "no"))
        self.assertEqual(answer["finish_reason"], "stop")

    def test_completions(self):
        answer = self.server.post("/v1/completions", {"prompt": "Once upon a", "max_tokens": 5, "temperature": 0}).json()
        self.assertEqual(answer["object"], "text_completion")
        self.assertRegex(answer["id"], "^cmpl-")
        self.assertEqual((answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]), ("length", 5))
        echoed = self.server.post(
            "/v1/completions", {"prompt": "Once upon a", "max_tokens": 5, "temperature": 0, "echo": True}
        ).json()
        self.assertEqual(echoed["choices"][0]["text"], "Once upon a" + answer["choices"][0]["text"])
        ids = self.server.post("/tokenize", {"content": "Once upon a", "add_special": True}).json()["tokens"]
        by_ids = self.server.post("/v1/completions", {"prompt": ids, "max_tokens": 5, "temperature": 0}).json()
        self.assertEqual(by_ids["choices"][0]["text"], answer["choices"][0]["text"])
        many = self.server.post("/v1/completions", {"prompt": ["Once upon a", ids], "max_tokens": 5, "n": 2, "temperature": 0}).json()
        self.assertEqual([choice["index"] for choice in many["choices"]], [0, 1, 2, 3])
        self.assertEqual({choice["text"] for choice in many["choices"]}, {answer["choices"][0]["text"]})
        self.assertEqual(many["usage"]["prompt_tokens"], 2 * len(ids))
        probs = self.server.post("/v1/completions", {"prompt": ids, "max_tokens": 3, "logprobs": 2}).json()["choices"][0]["logprobs"]
        self.assertEqual([len(probs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")], [3] * 4)
        self.refused(self.server.post("/v1/completions", {"max_tokens": 1}), 400, "prompt")
        self.refused(self.server.post("/v1/completions", {"prompt": [], "max_tokens": 1}), 400, "prompt")
        self.refused(self.server.post("/v1/completions", {"prompt": {}, "max_tokens": 1}), 400, "prompt")
        self.refused(self.server.post("/v1/completions", {"prompt": [99999], "max_tokens": 1}), 400, "prompt")
        self.refused(self.server.post("/v1/completions", {"prompt": "a", "suffix": "b"}), 400, "suffix")

    def test_native_completion(self):
        body = {"prompt": "Once upon a", "n_predict": 5, "temperature": 0}
        answer = self.server.post("/completion", {**body, "n_probs": 2, "return_tokens": True}).json()
        openai = self.server.post("/v1/completions", {"prompt": "Once upon a", "max_tokens": 5, "temperature": 0}).json()
        self.assertEqual(answer["content"], openai["choices"][0]["text"])
        self.assertEqual((answer["stop"], answer["stop_type"], answer["tokens_predicted"]), (True, "limit", 5))
        self.assertEqual(answer["tokens_evaluated"], openai["usage"]["prompt_tokens"])
        self.assertEqual(answer["generation_settings"]["temperature"], 0)
        self.assertEqual(len(answer["tokens"]), 5)
        self.assertEqual([len(one["top_logprobs"]) for one in answer["completion_probabilities"]], [2] * 5)
        self.assertEqual(answer["timings"]["predicted_n"], 5)
        many = self.server.post("/completion", {**body, "prompt": ["Once upon a", "Once upon a"]}).json()
        self.assertEqual([one["content"] for one in many], [answer["content"]] * 2)
        picked = self.server.post("/completion", {**body, "response_fields": ["content", "timings/predicted_n"]}).json()
        self.assertEqual(picked, {"content": answer["content"], "predicted_n": 5})
        banned = answer["tokens"][0]
        other = self.server.post("/completion", {**body, "logit_bias": [[banned, False]], "return_tokens": True}).json()
        self.assertNotIn(banned, other["tokens"])
        mixed = self.server.post("/completion", {**body, "prompt": [answer["tokens"][0], " and", answer["tokens"][1]]})
        self.assertEqual(mixed.status, 200)
        stopped = self.server.post("/completion", {**body, "n_predict": 50, "stop": ["zzz", " a"]}).json()
        self.assertEqual((stopped["stop_type"], stopped["stopping_word"]), ("word", " a"))
        for fields, field in (
            ({"n_probs": -1}, "n_probs"),
            ({"post_sampling_probs": True}, "post_sampling_probs"),
            ({"id_slot": "x"}, "id_slot"),
            ({"prompt": [[]]}, "prompt"),
        ):
            self.refused(self.server.post("/completion", {**body, **fields}), 400, field)

    def test_infill_needs_its_tokens(self):
        self.assertEqual(self.server.post("/infill", {"input_prefix": "a", "input_suffix": "b"}).status, 501)

    def test_embeddings(self):
        texts = ["A cat sat on the mat.", "A cat sat on a mat.", "Numbers are odd or even."]
        answer = self.server.post("/v1/embeddings", {"input": texts, "pooling": "mean"}).json()
        self.assertEqual([one["index"] for one in answer["data"]], [0, 1, 2])
        vectors = [one["embedding"] for one in answer["data"]]
        for vector in vectors:
            self.assertAlmostEqual(sum(x * x for x in vector), 1, places=4)

        def likeness(a, b):
            return sum(x * y for x, y in zip(vectors[a], vectors[b]))

        self.assertGreater(likeness(0, 1), likeness(0, 2))
        packed = self.server.post("/v1/embeddings", {"input": texts[0], "pooling": "mean", "encoding_format": "base64"}).json()
        raw = base64.b64decode(packed["data"][0]["embedding"])
        self.assertEqual(list(struct.unpack(f"<{len(raw) // 4}f", raw)), [struct.unpack("f", struct.pack("f", x))[0] for x in vectors[0]])
        self.assertEqual(packed["usage"]["prompt_tokens"], packed["usage"]["total_tokens"])
        self.refused(self.server.post("/v1/embeddings", {}), 400, "input")
        self.refused(self.server.post("/v1/embeddings", {"input": "a", "encoding_format": "hex"}), 400, "encoding_format")
        self.refused(self.server.post("/v1/embeddings", {"input": "a", "dimensions": 3}), 400, "dimensions")

    def test_tools_in_a_request(self):
        tool = {"type": "function", "function": {"name": "add", "description": None, "parameters": {"type": "object"}}}
        answer = self.server.chat(max_tokens=5, tools=[tool], tool_choice="auto", parallel_tool_calls=False)
        self.assertEqual(answer.status, 200, answer.text)
        history = [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "type": "function", "function": {"name": "add", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "x", "content": "2"},
        ]
        self.assertEqual(self.server.chat(messages=history, max_tokens=2, tools=[tool]).status, 200)
        self.refused(self.server.chat(max_tokens=1, tools=[tool], tool_choice="maybe"), 400, "tool_choice")
        self.refused(self.server.chat(max_tokens=1, tool_choice="required"), 400, "tool_choice")


if __name__ == "__main__":
    unittest.main()
