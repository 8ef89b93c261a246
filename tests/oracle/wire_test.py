"""What the server writes, read by the official clients: tests/data/wire/ comes from the tests of src/server."""

import http.server
import json
import threading
import unittest
from pathlib import Path

WIRE = Path(__file__).resolve().parents[1] / "data" / "wire"


class Replay(http.server.BaseHTTPRequestHandler):
    """Answers a request with the file that the first part of its path names."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        name = self.path.split("/")[1]
        body = (WIRE / name).read_bytes()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if name.endswith(".txt") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replay)
threading.Thread(target=SERVER.serve_forever, daemon=True).start()


def client(sdk, name):
    return sdk(api_key="none", base_url=f"http://127.0.0.1:{SERVER.server_port}/{name}")


class Anthropic(unittest.TestCase):
    def setUp(self):
        try:
            from anthropic import Anthropic
        except ImportError:
            self.skipTest("the package anthropic is not installed")
        self.sdk = Anthropic

    def check(self, message):
        self.assertEqual(message.id, "msg_k0")
        self.assertEqual([block.type for block in message.content], ["thinking", "text", "tool_use"])
        self.assertEqual(message.content[0].thinking, "Weather is wanted.")
        self.assertEqual(message.content[1].text, "I look.")
        self.assertEqual(message.content[2].input, {"city": "Bonn"})
        self.assertEqual(message.content[2].id, "call_1")
        self.assertEqual(message.stop_reason, "tool_use")
        self.assertEqual((message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens), (8, 4, 9))
        type(message).model_validate(message.to_dict())  # nothing is missing and nothing has a wrong type

    def test_answer(self):
        self.check(client(self.sdk, "anthropic_answer.json").messages.create(model="m", max_tokens=9, messages=[]))

    def test_stream(self):
        with client(self.sdk, "anthropic_stream.txt").messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            kinds = [event.type for event in stream]
            self.check(stream.get_final_message())
        self.assertEqual(kinds[0], "message_start")
        self.assertEqual(kinds[-1], "message_stop")
        self.assertIn("input_json", kinds)


class Responses(unittest.TestCase):
    def setUp(self):
        try:
            from openai import OpenAI
        except ImportError:
            self.skipTest("the package openai is not installed")
        self.sdk = OpenAI

    def check(self, response, status="completed"):
        self.assertEqual(response.id, "resp_k0")
        self.assertEqual(response.status, status)
        self.assertEqual([item.type for item in response.output], ["reasoning", "message", "function_call"])
        self.assertEqual(response.output[0].content[0].text, "Weather is wanted.")
        self.assertEqual(response.output_text, "I look.")
        self.assertEqual(json.loads(response.output[2].arguments), {"city": "Bonn"})
        self.assertEqual(response.output[2].call_id, "call_1")
        self.assertEqual(response.usage.input_tokens_details.cached_tokens, 4)
        self.assertEqual(response.usage.output_tokens_details.reasoning_tokens, 3)
        self.assertEqual(response.instructions, "Be brief.")

    def test_answer(self):
        from openai.types.responses import Response

        response = client(self.sdk, "responses_answer.json").responses.create(model="m", input="x")
        self.check(response)
        Response.model_validate(json.loads((WIRE / "responses_answer.json").read_text()))

    def test_stream(self):
        for name, status in (("responses_stream.txt", "completed"), ("responses_cut_stream.txt", "incomplete")):
            events = list(client(self.sdk, name).responses.create(model="m", input="x", stream=True))
            self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
            self.check(events[-1].response, status)
            for event in events:
                type(event).model_validate(event.to_dict())

    def test_helper(self):
        with client(self.sdk, "responses_stream.txt").responses.stream(model="m", input="x") as stream:
            kinds = [event.type for event in stream]
            self.check(stream.get_final_response())
        self.assertIn("response.function_call_arguments.done", kinds)


if __name__ == "__main__":
    unittest.main()
