"""The official `anthropic` client against `moxie serve`: what it sends is taken, what it reads is there."""

import sys
import unittest
from pathlib import Path

try:
    import anthropic
except ImportError:
    anthropic = None

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))
from support import Server  # noqa: E402

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = {"extra_body": {"temperature": 0}}  # not every version of the client knows the field
WEATHER = {
    "name": "weather",
    "description": "How the weather is somewhere.",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"enum": ["Oslo", "Rome"]}, "days": {"enum": [1, 2]}},
        "required": ["place", "days"],
        "additionalProperties": False,
    },
}


@unittest.skipUnless(anthropic, "the package anthropic is not here")
class Anthropic(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", 2, "--api-key", "secret", "--temp", 0.8).__enter__()
        base = f"http://127.0.0.1:{cls.server.port}"
        cls.client = anthropic.Anthropic(base_url=base, api_key="secret", max_retries=0)
        cls.stranger = anthropic.Anthropic(base_url=base, api_key="wrong", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, **fields):
        return self.client.messages.create(**{"model": "any", "messages": HELLO, "max_tokens": 12, **fields})

    def test_messages(self):
        answer = self.ask(system="You tell tales.")
        self.assertEqual((answer.type, answer.role, answer.model), ("message", "assistant", "demo"))
        self.assertTrue(answer.id.startswith("msg_"))
        self.assertEqual(answer.content[0].type, "text")
        self.assertEqual(answer.stop_reason, "max_tokens")
        self.assertEqual(answer.usage.output_tokens, 12)
        self.assertGreater(answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0), 0)
        self.assertTrue(answer._request_id is None or answer._request_id.startswith("req-"))

    def test_blocks_and_histories(self):
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "Once"}, {"type": "text", "text": "upon", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": [{"type": "text", "text": "a time"}]},
            {"role": "user", "content": "Go on"},
        ]
        system = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"}, {"type": "text", "text": "Be kind."}]
        self.assertEqual(self.ask(messages=messages, system=system).type, "message")

    def test_the_end_says_why(self):
        story = self.ask(messages=[{"role": "user", "content": "Once upon a time"}], max_tokens=300, stop_sequences=["."], **GREEDY)
        self.assertEqual((story.stop_reason, story.stop_sequence), ("stop_sequence", "."))
        self.assertNotIn(".", story.content[0].text)

    def test_raw_streams(self):
        kinds, text, usage = [], "", None
        for event in self.ask(stream=True, **GREEDY):
            kinds.append(event.type)
            if event.type == "content_block_delta":
                text += event.delta.text
            if event.type == "message_delta":
                usage = event.usage
        self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
        self.assertEqual(kinds.count("content_block_start"), kinds.count("content_block_stop"))
        self.assertEqual(text, self.ask(**GREEDY).content[0].text)
        self.assertEqual(usage.output_tokens, 12)

    def test_stream_helper(self):
        with self.client.messages.stream(model="any", messages=HELLO, max_tokens=12, **GREEDY) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual(final.content[0].text, text)
        self.assertEqual((final.stop_reason, final.usage.output_tokens), ("max_tokens", 12))
        self.assertEqual(text, self.ask(**GREEDY).content[0].text)

    def check_call(self, message):
        self.assertEqual(message.stop_reason, "tool_use")
        call = next(block for block in message.content if block.type == "tool_use")
        self.assertEqual(call.name, "weather")
        self.assertIn(call.input["place"], ("Oslo", "Rome"))
        self.assertIn(call.input["days"], (1, 2))
        return call

    def test_tools(self):
        choice = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
        wanted = {"tools": [WEATHER], "tool_choice": choice, "max_tokens": 500}
        answer = self.ask(**wanted)
        call = self.check_call(answer)
        with self.client.messages.stream(model="any", messages=HELLO, **wanted) as stream:
            parts = [event.partial_json for event in stream if event.type == "input_json"]
            self.check_call(stream.get_final_message())
        self.assertTrue(parts)
        # The result goes back as the client writes it.
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
        messages = [*HELLO, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
        self.assertEqual(self.ask(messages=messages, tools=[WEATHER]).role, "assistant")
        none = self.ask(tools=[WEATHER], tool_choice={"type": "none"})
        self.assertTrue(all(block.type == "text" for block in none.content))

    def test_count_tokens(self):
        few = self.client.messages.count_tokens(model="any", messages=HELLO).input_tokens
        more = self.client.messages.count_tokens(model="any", messages=HELLO, system="You tell tales.", tools=[WEATHER]).input_tokens
        self.assertGreater(few, 0)
        self.assertGreater(more, few)
        usage = self.ask(max_tokens=1).usage
        self.assertEqual(usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0), few)

    def test_models(self):
        page = self.client.models.list()
        self.assertEqual([model.id for model in page], ["demo"])
        model = self.client.models.retrieve("demo")
        self.assertEqual((model.type, model.display_name), ("model", "demo"))
        self.assertEqual(model.created_at.tzinfo is not None, True)

    def test_errors(self):
        hello = {"model": "any", "messages": HELLO, "max_tokens": 1}

        def kind(error):
            self.assertEqual(error.body["type"], "error")
            return error.body["error"]["type"]

        with self.assertRaises(anthropic.AuthenticationError) as raised:
            self.stranger.messages.create(**hello)
        self.assertEqual(kind(raised.exception), "authentication_error")
        with self.assertRaises(anthropic.AuthenticationError) as raised:
            self.stranger.messages.count_tokens(model="any", messages=HELLO)
        self.assertEqual(kind(raised.exception), "authentication_error")
        with self.assertRaises(anthropic.BadRequestError) as raised:
            self.client.messages.create(**{**hello, "extra_body": {"temperature": -1}})
        self.assertEqual(kind(raised.exception), "invalid_request_error")
        with self.assertRaises(anthropic.BadRequestError) as raised:
            self.client.messages.create(**{**hello, "messages": [{"role": "user", "content": "word " * 5000}]})
        self.assertIn("tokens", raised.exception.body["error"]["message"])
        with self.assertRaises(anthropic.NotFoundError) as raised:
            self.client.messages.batches.list()
        self.assertEqual(kind(raised.exception), "not_found_error")
        with self.assertRaises(anthropic.NotFoundError) as raised:
            self.client.models.retrieve("other")
        self.assertEqual(kind(raised.exception), "not_found_error")
        with self.assertRaises(anthropic.RequestTooLargeError) as raised:
            self.client.messages.create(**{**hello, "system": "x" * (17 << 20)})
        self.assertEqual(kind(raised.exception), "request_too_large")


if __name__ == "__main__":
    unittest.main()
