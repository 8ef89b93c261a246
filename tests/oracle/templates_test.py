"""Conversations made at random render with moxie's templates as with Jinja2, set up as transformers does."""

import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import peers

sys.path.insert(0, str(peers.ROOT / "tools"))

CASES = 1500
WORDS = (
    "Hello", "", "  padded  ", "a\nb\n", "<|im_start|>", "{{x}}", "\"q\" 's'", "日本語", "😀 ok", "</think>yes",
    "<think>\nhm\n</think>\n\nfine", "\t tab", "<b>&amp;</b>", "\\n", "[INST] x [/INST]", "1.5", "null", "\u2028sep", "\x7f\x01",
)  # fmt: skip
OPTIONS = {
    "enable_thinking": (True, False), "documents": (None, [{"title": "t", "text": "x"}], []), "reasoning_effort": ("low", "high"),
    "builtin_tools": (["python", "browser"],), "date_string": ("1 Jan 2024",), "thinking": (True, False), "model_identity": ("me",),
    "tools_in_user_message": (True, False), "custom_tools": (None,),
}  # fmt: skip


class Maker:
    """Conversations of every shape that clients send, some of them odd."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def often(self, share):
        return self.rng.random() < share

    def some(self, low, high, make):
        return [make() for _ in range(self.rng.randint(low, high))]

    def text(self):
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(0, 4)))

    def value(self, depth=0):
        rng = self.rng
        kind = rng.randint(0, 9 if depth < 3 else 6)
        if kind < 2:
            return rng.choice((None, True, False))
        if kind == 2:
            return rng.randint(-(10**18), 10**18) // 10 ** rng.randint(0, 17)
        if kind == 3:
            return rng.choice((0.5, 1e20, 1e-7, -0.0, 3.14159, 1 / 3, 100.0, rng.random() * 10 ** rng.randint(-8, 18)))
        if kind <= 6:
            return self.text()
        if kind == 7:
            return self.some(0, 3, lambda: self.value(depth + 1))
        return {rng.choice(("a", "b", "items", "name", "x y", "é", "keys")): self.value(depth + 1) for _ in range(rng.randint(0, 4))}

    def schema(self, depth=0):
        rng = self.rng
        kind = rng.choice(("string", "integer", "number", "boolean", "array", "object"))
        made = {"type": kind if self.often(0.9) else ["string", "null"]}
        for name, share, make in (
            ("description", 0.6, self.text), ("enum", 0.2, lambda: [self.value(3), self.value(3)]),
            ("default", 0.2, lambda: self.value(2)), ("nullable", 0.1, lambda: True),
        ):  # fmt: skip
            if self.often(share):
                made[name] = make()
        if kind == "array":
            made["items"] = self.schema(depth + 1) if depth < 3 else {"type": "string"}
        if kind == "object" and depth < 3:
            made["properties"] = {f"p{i}": self.schema(depth + 1) for i in range(rng.randint(0, 3))}
            made["required"] = list(made["properties"])[: rng.randint(0, 3)]
        return made

    def tool(self):
        parameters = {**self.schema(), "type": "object"}
        parameters.setdefault("properties", {"q": self.schema()})
        function = {"name": self.rng.choice(("get_weather", "f", "a.b")), "description": self.text(), "parameters": parameters}
        if self.often(0.2):
            function["strict"] = True
        return {"type": "function", "function": function}

    def content(self):
        if self.often(0.85):
            return self.text()
        if self.often(0.3):
            return None
        return self.some(0, 3, lambda: {"type": "text", "text": self.text()} if self.often(0.8) else {"type": "image"})

    def call(self):
        arguments = self.rng.choice(({"city": self.text(), "n": self.value()}, {}, json.dumps({"a": 1}), {"in": self.value()}))
        return {"id": "abcdef123", "type": "function", "function": {"name": "f", "arguments": arguments}}

    def turn(self):
        made = [{"role": "user", "content": self.content()}]
        answer = {"role": "assistant", "content": self.content()}
        if self.often(0.2):
            answer[self.rng.choice(("reasoning_content", "thinking"))] = self.text()
        if self.often(0.7):
            return [*made, answer]
        answer["tool_calls"] = self.some(1, 2, self.call)
        made.append(answer)
        for call in answer["tool_calls"]:
            made.append({"role": "tool", "tool_call_id": call["id"], "name": "f", "content": self.text()})
        return [*made, {"role": "assistant", "content": self.text()}]

    def variables(self):
        messages = [{"role": "system", "content": self.text()}] if self.often(0.4) else []
        for turn in self.some(0, 3, self.turn):
            messages += turn
        messages.append({"role": "user", "content": self.text()})
        if self.often(0.05):
            self.rng.shuffle(messages)
        made = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": self.often(0.7)}
        if self.often(0.8):
            made["tools"] = self.some(0, 3, self.tool) if self.often(0.5) else None
        for name, values in OPTIONS.items():
            if self.often(0.15):
                made[name] = self.rng.choice(values)
        return made


class Templates(unittest.TestCase):
    def test_random_conversations(self):
        if "MOXIE_TEST_DATA" not in os.environ:
            self.skipTest("MOXIE_TEST_DATA is not set")
        try:
            from jinja_oracle import render
        except ImportError as error:
            self.skipTest(str(error))
        folder = Path(os.environ["MOXIE_TEST_DATA"]) / "chat-templates/templates"
        texts = [path.read_text() for path in sorted(folder.glob("*.jinja"))]
        self.assertGreater(len(texts), 50)
        maker = Maker(int(os.environ.get("MOXIE_TEST_SEED", "1")))
        rendered = 0
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for index in range(CASES):
                text, variables = texts[index % len(texts)], maker.variables()
                result = render(text, variables)
                rendered += "output" in result
                file.write(json.dumps({"template": text, "variables": variables, **result}, ensure_ascii=False) + "\n")
            file.flush()
            self.assertGreater(rendered, CASES // 2)  # the rest are refusals, which must be the same ones
            program = Path(os.environ["MOXIE_PROGRAM"]).parent / "moxie_tests"
            run = subprocess.run(
                [program, "--gtest_filter=JinjaTemplate.EqualsJinja2OnGivenCases"], capture_output=True, text=True,
                env={**os.environ, "MOXIE_TEMPLATE_CASES": file.name}, check=False,
            )  # fmt: skip
        self.assertEqual(run.returncode, 0, run.stdout[-3000:])
        self.assertIn("[  PASSED  ] 1 test.", run.stdout)
        self.assertNotIn("SKIPPED", run.stdout)


if __name__ == "__main__":
    unittest.main()
