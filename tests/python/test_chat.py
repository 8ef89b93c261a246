"""Conversations: shapes, what answers are held to, tools, forms by name and forms that programs bring."""

import json
import unittest

import moxie
from moxie import LlamaGrammar, chat_format
from support import demo, open_demo

WEATHER = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"],
                           "additionalProperties": False},
        },
    }
]


class Chat(unittest.TestCase):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]

    def test_shapes(self):
        out = demo().create_chat_completion(self.messages, max_tokens=8, temperature=0)
        self.assertEqual(set(out), {"id", "object", "created", "model", "choices", "usage"})
        self.assertTrue(out["id"].startswith("chatcmpl-"))
        self.assertEqual(out["choices"][0]["message"]["role"], "assistant")
        chunks = list(demo().create_chat_completion(self.messages, max_tokens=8, temperature=0, stream=True))
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant"})
        self.assertEqual(chunks[-1]["choices"][0]["delta"], {})
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        self.assertEqual(text, out["choices"][0]["message"]["content"])

    def test_json_schema(self):
        schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
        for wanted in (
            {"type": "json_object", "schema": schema},
            {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        ):
            out = demo().create_chat_completion(self.messages, response_format=wanted, seed=3)
            self.assertIn(json.loads(out["choices"][0]["message"]["content"]), ({"a": 1}, {"a": 2}))

    def test_tool_call(self):
        call = '{"tool_call": {"name": "get_weather", "arguments": {"city": "Rome"}}}'
        llm = demo()
        grammar = LlamaGrammar.from_string("root ::= " + json.dumps(call))
        out = llm.create_chat_completion(self.messages, tools=WEATHER, grammar=grammar, max_tokens=80)
        choice = out["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        (made,) = choice["message"]["tool_calls"]
        self.assertEqual(made["function"]["name"], "get_weather")
        self.assertEqual(json.loads(made["function"]["arguments"]), {"city": "Rome"})
        out = llm.create_chat_completion(
            self.messages, functions=[WEATHER[0]["function"]], grammar=grammar, max_tokens=80
        )
        self.assertEqual(out["choices"][0]["message"]["function_call"]["name"], "get_weather")

    def test_a_call_is_made_where_it_must_be(self):
        llm = demo()
        named = {"type": "function", "function": {"name": "get_weather"}}
        tools = WEATHER + [{"type": "function", "function": {"name": "nothing", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}]
        for seed in range(3):
            for choice, names in ((named, {"get_weather"}), ("required", {"get_weather", "nothing"})):
                out = llm.create_chat_completion(
                    self.messages, tools=tools, tool_choice=choice, seed=seed, temperature=1.0, parallel_tool_calls=False,
                    max_tokens=200,
                )  # fmt: skip
                with self.subTest(seed=seed, choice=choice):
                    self.assertEqual(out["choices"][0]["finish_reason"], "tool_calls")
                    (made,) = out["choices"][0]["message"]["tool_calls"]
                    self.assertIn(made["function"]["name"], names)
                    arguments = json.loads(made["function"]["arguments"])
                    if made["function"]["name"] == "get_weather":
                        self.assertIn(arguments["city"], ("Rome", "Oslo"))
        out = llm.create_chat_completion(self.messages, tools=tools, tool_choice="none", max_tokens=5)
        self.assertNotIn("tool_calls", out["choices"][0]["message"])
        with self.assertRaisesRegex(ValueError, "no_such"):
            llm.create_chat_completion(
                self.messages, tools=tools, tool_choice={"type": "function", "function": {"name": "no_such"}}
            )

    def test_a_call_as_it_streams(self):
        chunks = list(
            demo().create_chat_completion(
                self.messages, max_tokens=200, tools=WEATHER, tool_choice="required", parallel_tool_calls=False, stream=True, seed=1
            )
        )
        parts = [part for one in chunks for part in one["choices"][0]["delta"].get("tool_calls", [])]
        self.assertEqual((parts[0]["type"], parts[0]["function"]["name"]), ("function", "get_weather"))
        json.loads("".join(part["function"]["arguments"] for part in parts))
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "tool_calls")

    def test_a_schema_beside_tools(self):
        schema = {"type": "integer", "minimum": 0, "maximum": 9}
        for seed in range(4):
            out = demo().create_chat_completion(
                self.messages, tools=WEATHER, response_format={"type": "json_object", "schema": schema}, seed=seed,
                temperature=1.5, max_tokens=300,
            )  # fmt: skip
            message = out["choices"][0]["message"]
            if out["choices"][0]["finish_reason"] == "length":  # a text before the end of the JSON around it
                continue
            if message.get("tool_calls"):
                self.assertIn("city", json.loads(message["tool_calls"][0]["function"]["arguments"]))
            else:
                self.assertIn(json.loads(message["content"]), range(10))

    def test_bad_response_formats(self):
        for wanted in ({"type": "yaml"}, {"type": "json_schema"}, {"type": "json_object", "schema": {"type": "nonsense"}}):
            with self.subTest(wanted), self.assertRaises(ValueError):
                demo().create_chat_completion(self.messages, response_format=wanted)

    def test_every_format_writes_the_conversation(self):
        from moxie._chat import chat_formats

        self.assertEqual(len(chat_formats()), 27)
        llm = open_demo()
        for name in chat_formats():
            with self.subTest(name):
                llm.chat_format = name
                llm.create_chat_completion(self.messages, max_tokens=1, seed=1)
                written = llm.detokenize(list(llm.input_ids)).decode()
                self.assertIn("Be kind.", written)
                self.assertIn("Hello", written)
        llm.chat_format = "no-such-form"
        with self.assertRaisesRegex(ValueError, "chatml"):
            llm.create_chat_completion(self.messages)
        llm.close()


class Brought(unittest.TestCase):
    """Forms that programs bring."""

    messages = Chat.messages

    def test_a_registered_form(self):
        @chat_format.register_chat_format("upside-down")
        def write(messages, **_):
            lines = [f"{one['role']}: {one['content']}" for one in reversed(messages)]
            return chat_format.ChatFormatterResponse(prompt="\n".join(lines) + "\n", stop=["."])

        self.addCleanup(chat_format.HANDLERS.pop, "upside-down")
        with open_demo(chat_format="upside-down") as llm:
            out = llm.create_chat_completion(self.messages, max_tokens=30, temperature=0)
            self.assertTrue(llm.detokenize(list(llm.input_ids)).startswith(b"user: Hello\nsystem: Be kind.\n"))
            self.assertNotIn(".", out["choices"][0]["message"]["content"])
            plain = llm("user: Hello\nsystem: Be kind.\n", max_tokens=30, temperature=0, stop=["."])
            self.assertEqual(out["choices"][0]["message"]["content"], plain["choices"][0]["text"])
            self.assertEqual(out["usage"], plain["usage"])
            choice = {"type": "function", "function": {"name": "get_weather"}}
            called = llm.create_chat_completion(self.messages, tools=WEATHER, tool_choice=choice, seed=2)
            (made,) = called["choices"][0]["message"]["tool_calls"]
            self.assertIn("city", json.loads(made["function"]["arguments"]))

    def test_a_template_as_handler(self):
        text = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
        formatter = chat_format.Jinja2ChatFormatter(text, eos_token="</s>", bos_token="<s>")
        self.assertEqual(
            formatter(messages=self.messages).prompt, "<s>[system] Be kind.\n[user] Hello\n[assistant]"
        )
        with open_demo(chat_handler=formatter.to_chat_handler()) as llm:
            out = llm.create_chat_completion(self.messages, max_tokens=4, temperature=0)
            self.assertEqual(out["object"], "chat.completion")
            self.assertEqual(list(llm.input_ids[:2]).count(llm.token_bos()), 1)
            self.assertIn(b"[user] Hello", llm.detokenize(list(llm.input_ids)))
        with self.assertRaises(ValueError):
            chat_format.Jinja2ChatFormatter("{% for %}", "", "")(messages=self.messages)

    def test_a_whole_handler(self):
        seen = {}

        def handler(*, llama, messages, **given):
            seen.update(given)
            return llama.create_completion(messages[-1]["content"], max_tokens=given["max_tokens"])

        with open_demo(chat_handler=handler) as llm:
            self.assertEqual(llm.create_chat_completion(self.messages, max_tokens=2)["object"], "text_completion")
        self.assertEqual((seen["temperature"], seen["top_k"], seen["max_tokens"]), (0.2, 40, 2))

    def test_handlers_by_name(self):
        out = chat_format.get_chat_completion_handler("chatml")(llama=demo(), messages=self.messages, max_tokens=2)
        self.assertEqual(out["object"], "chat.completion")
        self.assertIn(b"<|im_start|>user\nHello", demo().detokenize(list(demo().input_ids)))
        with self.assertRaisesRegex(chat_format.LlamaChatCompletionHandlerNotFoundException, "no-such"):
            chat_format.get_chat_completion_handler("no-such")
        with self.assertRaisesRegex(moxie.errors.Unsupported, "images"):
            chat_format.Llava15ChatHandler(clip_model_path="x")


if __name__ == "__main__":
    unittest.main()
