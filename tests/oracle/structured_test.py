"""A thousand answers of the demo model, held to JSON schemas, are valid to Python's jsonschema."""

import json
import subprocess
import unittest

import peers

SAMPLES = 1000
TOKENS = 600
# Bounded, so that a small model's answer ends.
SCHEMAS = (
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 12},
            "age": {"type": "integer", "minimum": 3, "maximum": 120},
            "role": {"enum": ["admin", "user", None]},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "dog"}, "barks": {"type": "boolean"}},
                 "required": ["kind", "barks"], "additionalProperties": False},
                {"type": "object", "properties": {"kind": {"const": "fish"}, "weight": {"type": "number", "multipleOf": 0.5, "minimum": -2, "exclusiveMaximum": 9}},
                 "required": ["kind"], "additionalProperties": False},
            ]
        },
    },
    {
        "$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9},
                                                             "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/tree"}]}},
                           "required": ["v", "next"], "additionalProperties": False}},
        "$ref": "#/$defs/tree",
    },
    {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}, "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
                       "odd": {"not": {"type": ["string", "object", "array", "number"]}}},
        "required": ["day", "code", "odd"],
        "patternProperties": {"^x_[a-c]{1,2}$": {"type": "boolean"}},
        "additionalProperties": False,
        "maxProperties": 4,
    },
)  # fmt: skip


class StructuredOutput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("jsonschema")

    def test_samples_are_valid(self):
        import jsonschema

        complete = 0
        for number in range(SAMPLES):
            schema = SCHEMAS[number % len(SCHEMAS)]
            checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
            command = [
                peers.PROGRAM, "run", peers.demo_model(), "-p", "Once upon a time", "-j", json.dumps(schema), "-n", str(TOKENS),
                "-c", "1024", "--seed", str(number), "--temp", "1.2", "--stats", "json", "--no-warm", "-t", "1",
            ]  # fmt: skip
            run = subprocess.run([str(part) for part in command], capture_output=True, check=True)
            stats = json.loads(run.stderr.decode().strip().splitlines()[-1])
            if stats["generated_tokens"] >= TOKENS:
                continue  # cut off
            complete += 1
            checker.validate(json.loads(run.stdout))
        print(f"{complete} of {SAMPLES} answers complete, all valid")
        self.assertGreaterEqual(complete, SAMPLES * 0.9)


if __name__ == "__main__":
    unittest.main()
