"""The official `openai` client against `moxie serve`: what it sends is taken, what it reads is there."""

import json
import sys
import unittest
from pathlib import Path

try:
    import openai
except ImportError:
    openai = None

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))
from support import Server  # noqa: E402

HELLO = [{"role": "user", "content": "Hello"}]


@unittest.skipUnless(openai, "the package openai is not here")
class OpenAi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", 2, "--api-key", "secret").__enter__()
        base = f"http://127.0.0.1:{cls.server.port}/v1"
        cls.client = openai.OpenAI(base_url=base, api_key="secret", max_retries=0)
        cls.stranger = openai.OpenAI(base_url=base, api_key="wrong", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_chat(self):
        answer = self.client.chat.completions.create(model="any", messages=HELLO, max_tokens=8, seed=1, logprobs=True, top_logprobs=2)
        self.assertEqual(answer.model, "demo")
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 8)
        self.assertIsInstance(answer.usage.prompt_tokens_details.cached_tokens, int)
        self.assertEqual(len(answer.choices[0].logprobs.content), 8)
        self.assertTrue(answer._request_id.startswith("req-"))

    def test_streams(self):
        whole = self.client.chat.completions.create(model="any", messages=HELLO, max_tokens=12, seed=2)
        stream = self.client.chat.completions.create(
            model="any", messages=HELLO, max_tokens=12, seed=2, stream=True, stream_options={"include_usage": True}
        )
        text, usage = "", None
        for chunk in stream:
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
            usage = chunk.usage or usage
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(usage.completion_tokens, 12)

    def test_stream_helper(self):
        ends = {"grammar": 'root ::= "yes, " [a-z]{3}'}  # the helper raises for an answer that a limit cut
        with self.client.chat.completions.stream(model="any", messages=HELLO, seed=3, extra_body=ends) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.delta", kinds)
        self.assertEqual(final.choices[0].finish_reason, "stop")
        self.assertTrue(final.choices[0].message.content.startswith("yes, "))

    def test_structured_output(self):
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
        answer = self.client.chat.completions.create(
            model="any",
            messages=HELLO,
            max_tokens=100,
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
        )
        self.assertIsInstance(json.loads(answer.choices[0].message.content)["n"], int)

    def test_tools_are_taken(self):
        tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
        answer = self.client.chat.completions.create(model="any", messages=HELLO, tools=[tool], max_tokens=5)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length", "tool_calls"))

    def test_completions(self):
        answer = self.client.completions.create(model="any", prompt="Once upon a", max_tokens=5, n=2, logprobs=1)
        self.assertEqual(len(answer.choices), 2)
        self.assertEqual(len(answer.choices[0].logprobs.tokens), 5)

    def test_embeddings(self):
        vectors = self.client.embeddings.create(model="any", input=["a cat", "a dog"]).data
        listed = self.client.embeddings.create(model="any", input="a cat", encoding_format="float").data[0].embedding
        self.assertEqual(len(vectors), 2)
        for a, b in zip(vectors[0].embedding, listed):
            self.assertAlmostEqual(a, b, places=5)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["demo"])
        self.assertEqual(self.client.models.retrieve("demo").id, "demo")

    def test_errors(self):
        with self.assertRaises(openai.AuthenticationError):
            self.stranger.chat.completions.create(model="any", messages=HELLO)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.chat.completions.create(model="any", messages=HELLO, temperature=1, top_p=7)
        self.assertEqual(raised.exception.param, "top_p")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.chat.completions.create(model="any", messages=[{"role": "user", "content": "word " * 5000}])
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")


if __name__ == "__main__":
    unittest.main()
