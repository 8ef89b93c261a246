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
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 999}}, "required": ["n"], "additionalProperties": False}
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

    def test_json_object(self):
        answer = self.client.chat.completions.create(model="any", messages=HELLO, max_tokens=300, seed=4, response_format={"type": "json_object"})
        if answer.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)
        else:
            self.assertTrue(answer.choices[0].message.content.lstrip().startswith("{"))

    def test_required_tools_come_as_calls(self):
        parameters = {"type": "object", "properties": {"place": {"enum": ["Oslo", "Rome"]}}, "required": ["place"], "additionalProperties": False}
        tool = {"type": "function", "function": {"name": "weather", "parameters": parameters, "strict": True}}
        wanted = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 500, "seed": 5}
        answer = self.client.chat.completions.create(model="any", messages=HELLO, **wanted)
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        call = answer.choices[0].message.tool_calls[0]
        self.assertIn(json.loads(call.function.arguments)["place"], ("Oslo", "Rome"))
        with self.client.chat.completions.stream(model="any", messages=HELLO, **wanted) as stream:
            kinds = {event.type for event in stream}
            streamed = stream.get_final_completion().choices[0].message.tool_calls[0]
        self.assertIn("tool_calls.function.arguments.done", kinds)
        self.assertEqual((streamed.function.name, streamed.function.arguments), ("weather", call.function.arguments))

    def test_responses(self):
        answer = self.client.responses.create(model="any", input="Hello", instructions="Tell a tale.", max_output_tokens=16, temperature=0)
        self.assertEqual((answer.status, answer.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual(answer.usage.output_tokens, 16)
        self.assertTrue(answer.id.startswith("resp_"))
        with self.client.responses.stream(model="any", input="Hello", instructions="Tell a tale.", max_output_tokens=16, temperature=0) as stream:
            events = list(stream)
            final = stream.get_final_response() if events[-1].type == "response.completed" else events[-1].response
        self.assertEqual([event.sequence_number for event in events], sorted(event.sequence_number for event in events))
        self.assertEqual(events[0].type, "response.created")
        self.assertEqual(final.output_text, answer.output_text)

    def test_responses_hold_a_schema_and_call_tools(self):
        schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
        form = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
        answer = self.client.responses.create(model="any", input="Hello", text=form, max_output_tokens=200, temperature=0)
        self.assertIn(json.loads(answer.output_text)["n"], (1, 2))
        tool = {"type": "function", "name": "count", "parameters": schema, "strict": True}
        answer = self.client.responses.create(model="any", input="Hello", tools=[tool], tool_choice="required", parallel_tool_calls=False, max_output_tokens=500)
        call = next(item for item in answer.output if item.type == "function_call")
        self.assertEqual((call.name, json.loads(call.arguments)["n"] in (1, 2)), ("count", True))

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
