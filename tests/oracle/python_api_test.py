"""moxie.Llama beside llama-cpp-python's Llama over the same file: signatures, texts, the shapes of results, errors."""

import contextlib
import inspect
import os
import pickle
import sys
import unittest
import warnings
from pathlib import Path

import peers

OPENINGS = ("Once upon a time", "One day", "The little dog", "Lily and Tom went", "In the morning", "A big bear", "Mom said")
CLOSE = 0.02  # log-probabilities nearer than this may be ordered by rounding
CONVERSATION = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "person",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
            "required": ["name", "age"],
        },
    },
}


def import_moxie():
    """The package of this tree with the module of the build tree, or an installed one."""
    sys.path.insert(0, str(peers.ROOT / "python"))
    import moxie

    moxie.__path__.append(str(Path(os.environ.get("MOXIE_PROGRAM", peers.PROGRAM)).resolve().parent))
    try:
        import moxie._native  # noqa: F401
    except ImportError as error:
        raise unittest.SkipTest(f"the Python module is not built: configure with -DMOXIE_PYTHON=ON ({error})") from None
    return moxie


def shape(value):
    """The types of a result, its texts and numbers left out. What may be null in OpenAI's types counts as its type."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items() if key not in ("bytes", "top_logprobs")}
    if isinstance(value, list):
        return [shape(one) for one in value]
    if type(value).__module__ == "numpy":
        return type(value.item())
    return type(value)


def _fields(kind):
    """Names of a TypedDict's fields, its bases' among them."""
    return kind.__required_keys__ | kind.__optional_keys__


class SideBySide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require("llama_cpp", "gguf", "numpy")
        cls.moxie = import_moxie()
        import llama_cpp

        peers.silence_llama()
        # Weights stay in file order, as in peers.Llama.
        plain = llama_cpp.llama.llama_cpp.llama_model_default_params

        def in_file_order():
            params = plain()
            params.use_extra_bufts = False
            return params

        llama_cpp.llama.llama_cpp.llama_model_default_params = in_file_order
        cls.addClassCleanup(setattr, llama_cpp.llama.llama_cpp, "llama_model_default_params", plain)
        cls.llama_cpp = llama_cpp
        cls.path = str(peers.gguf_of(peers.demo_model(), "f16"))
        options = {"n_ctx": 256, "verbose": False, "logits_all": True}
        cls.theirs = llama_cpp.Llama(cls.path, **options)
        cls.ours = cls.moxie.Llama(cls.path, **options)
        cls.addClassCleanup(cls.theirs.close)
        cls.addClassCleanup(cls.ours.close)

    def both(self, call):
        return call(self.theirs), call(self.ours)

    def test_every_parameter_is_taken_in_its_place(self):
        seen = 0
        for name, theirs in inspect.getmembers(self.llama_cpp.Llama, callable):
            if name.startswith("_") and name not in ("__init__", "__call__"):
                continue
            ours = getattr(self.moxie.Llama, name)
            wanted, there = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
            wanted = {key: one for key, one in wanted.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
            for key, one in wanted.items():
                self.assertIn(key, there, name)
                if one.default is not one.empty:
                    self.assertEqual(there[key].default, one.default, f"{name}({key})")
                seen += 1
            placed = [key for key, one in wanted.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
            self.assertEqual([key for key in there if key in wanted and there[key].kind is not there[key].KEYWORD_ONLY], placed)
        print(f"{seen} parameters of llama-cpp-python {self.llama_cpp.__version__}")
        self.assertGreater(seen, 150)
        missing = {name for name in dir(self.llama_cpp.Llama) if not name.startswith("_")} - set(dir(self.moxie.Llama))
        self.assertEqual(missing, set())

    def test_names_of_the_package(self):
        from moxie.compat import llama_cpp as ours

        for name in ("Llama", "LlamaGrammar", "LlamaState", "LlamaRAMCache", "LlamaDiskCache", "LlamaCache", "LlamaTokenizer",
                     "BaseLlamaTokenizer", "LlamaDraftModel", "LogitsProcessorList", "StoppingCriteriaList",
                     "MinTokensLogitsProcessor", "LLAMA_DEFAULT_SEED", "LLAMA_POOLING_TYPE_MEAN", "GGML_TYPE_Q8_0"):
            self.assertTrue(hasattr(self.llama_cpp, name) and hasattr(ours, name), name)
        import llama_cpp.llama_chat_format as theirs

        from moxie import chat_format
        from moxie._chat import chat_formats

        for name in ("register_chat_format", "register_chat_completion_handler", "get_chat_completion_handler",
                     "Jinja2ChatFormatter", "ChatFormatterResponse", "ChatFormatter", "LlamaChatCompletionHandler",
                     "LlamaChatCompletionHandlerNotFoundException", "chat_formatter_to_chat_completion_handler"):
            self.assertTrue(hasattr(theirs, name) and hasattr(chat_format, name), name)
        known = set(theirs.LlamaChatCompletionHandlerRegistry()._chat_handlers)
        self.assertEqual(known - set(chat_formats()), set())

    def test_types_of_requests_and_results(self):
        import llama_cpp.llama_types as theirs

        import moxie.compat.llama_cpp as package
        from moxie import llama_types as ours

        images = {"ChatCompletionRequestMessageContentPartImage", "ChatCompletionRequestMessageContentPartImageImageUrl"}
        names = [name for name in vars(theirs) if name.startswith(("Chat", "Completion", "Create", "Embedding", "Json"))]
        self.assertGreater(len(names), 50)
        for name in names:
            if name in images:
                continue
            with self.subTest(name):
                wanted, there = getattr(theirs, name), getattr(ours, name)
                self.assertIs(getattr(package, name), there)
                if isinstance(wanted, type) and hasattr(wanted, "__required_keys__"):
                    fields = set(_fields(wanted))
                    self.assertEqual(fields - set(_fields(there)), set())
                    self.assertLessEqual(set(_fields(there)) - fields, {"reasoning_content", "json_schema"})

    def assert_same_text(self, theirs, ours):
        """Equal, up to the first token that rounding may decide."""
        told = theirs["choices"][0]["logprobs"]
        for place, (a, b) in enumerate(zip(told["tokens"], ours["choices"][0]["logprobs"]["tokens"])):
            if a != b:
                ranks = sorted(told["top_logprobs"][place].values(), reverse=True)
                self.assertLess(ranks[0] - ranks[1], CLOSE, f"token {place}: {a!r} or {b!r}")
                return False
        self.assertEqual(theirs["choices"][0]["text"], ours["choices"][0]["text"])
        self.assertEqual(theirs["usage"], ours["usage"])
        return True

    def test_greedy_texts(self):
        same = 0
        for opening in OPENINGS:
            theirs, ours = self.both(lambda llm: llm(opening, max_tokens=48, temperature=0, logprobs=2))
            same += self.assert_same_text(theirs, ours)
        print(f"{same} of {len(OPENINGS)} greedy texts of 48 tokens are equal to the end")
        self.assertGreaterEqual(same, len(OPENINGS) - 2)

    def test_completions(self):
        for options in ({}, {"echo": True}, {"stop": [" girl", "."]}, {"stop": " little"}, {"logprobs": 3},
                        {"logprobs": 2, "echo": True}, {"logit_bias": {"13": -100.0}}, {"model": "name"}):
            with self.subTest(options):
                theirs, ours = self.both(lambda llm: llm("Once upon a time", max_tokens=10, temperature=0, **options))
                self.assertEqual(shape(theirs), shape(ours))
                a, b = theirs["choices"][0], ours["choices"][0]
                self.assertEqual((a["text"], a["finish_reason"]), (b["text"], b["finish_reason"]))
                self.assertEqual(theirs["usage"], ours["usage"])
                if "logprobs" in options:
                    self.assertEqual(a["logprobs"]["tokens"], b["logprobs"]["tokens"])
                    self.assertEqual(a["logprobs"]["text_offset"], b["logprobs"]["text_offset"])
                    pairs = zip(a["logprobs"]["token_logprobs"], b["logprobs"]["token_logprobs"])
                    for x, y in [pair for pair in pairs if pair != (None, None)]:
                        self.assertAlmostEqual(float(x), y, delta=0.02)
                    for x, y in zip(a["logprobs"]["top_logprobs"], b["logprobs"]["top_logprobs"]):
                        self.assertEqual(x and set(x), y and set(y))

    def test_streams(self):
        for options in ({}, {"logprobs": 1}, {"stop": ["."]}):
            with self.subTest(options):
                theirs, ours = self.both(
                    lambda llm: list(llm("Once upon a time", max_tokens=12, temperature=0, stream=True, **options))
                )
                # Theirs may end with an empty piece before the one that says why it ends.
                theirs = [one for one in theirs[:-1] if one["choices"][0]["text"]] + theirs[-1:]
                self.assertEqual([shape(one) for one in theirs], [shape(one) for one in ours])
                self.assertEqual([one["choices"][0]["text"] for one in theirs], [one["choices"][0]["text"] for one in ours])

    def test_ids_as_prompt(self):
        theirs, ours = self.both(lambda llm: llm([1, 403, 300], max_tokens=4, temperature=0))
        self.assertEqual(theirs["choices"][0]["text"], ours["choices"][0]["text"])

    def test_chat(self):
        for options in ({}, {"logprobs": True, "top_logprobs": 2}):
            with self.subTest(options):
                call = {"max_tokens": 8, "temperature": 0, **options}
                theirs, ours = self.both(lambda llm: llm.create_chat_completion(CONVERSATION, **call))
                self.assertEqual(shape(theirs), shape(ours))
                self.assertEqual(theirs["choices"][0]["message"], ours["choices"][0]["message"])
                theirs, ours = self.both(lambda llm: list(llm.create_chat_completion(CONVERSATION, stream=True, **call)))
                self.assertEqual(shape(theirs[0]), shape(ours[0]))
                self.assertEqual(shape(theirs[-1]), shape(ours[-1]))
                texts = ["".join(one["choices"][0]["delta"].get("content", "") for one in side) for side in (theirs, ours)]
                self.assertEqual(*texts)

    def test_chat_openai_v1(self):
        peers.require("openai")
        theirs, ours = self.both(lambda llm: llm.create_chat_completion_openai_v1(CONVERSATION, max_tokens=2, temperature=0))
        self.assertIs(type(theirs), type(ours))
        self.assertEqual(theirs.choices[0].message.content, ours.choices[0].message.content)
        theirs, ours = self.both(
            lambda llm: list(llm.create_chat_completion_openai_v1(CONVERSATION, max_tokens=2, temperature=0, stream=True))
        )
        self.assertIs(type(theirs[0]), type(ours[0]))

    def test_a_named_tool(self):
        import json

        call = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "person"}}, "temperature": 0}
        messages = [{"role": "user", "content": "Extract Jason is 25 years old"}]
        answers = []
        for library, opened in ((self.llama_cpp, "theirs"), (self.moxie, "ours")):
            with self.subTest(opened):
                llm = library.Llama(self.path, n_ctx=1024, verbose=False, chat_format="chatml-function-calling")
                self.addCleanup(llm.close)
                answers.append(llm.create_chat_completion(messages, max_tokens=300, **call)["choices"][0])
        for choice in answers:
            self.assertEqual(choice["finish_reason"], answers[0]["finish_reason"])
            self.assertEqual({"role", "content", "tool_calls"} - set(choice["message"]), set())
            self.assertIsNone(choice["message"]["content"])
            (made,) = choice["message"]["tool_calls"]
            self.assertEqual({"id", "type", "function"}, set(made))
            self.assertEqual(made["function"]["name"], "person")
            # Theirs writes line ends into texts as they are.
            said = json.loads(made["function"]["arguments"], strict=choice is answers[1])
            self.assertEqual(set(said), {"name", "age"})

    def test_tokens(self):
        for text in (b"Hello world", b" a\nb", "\u263a \u00e9 \u4f60".encode(), b"", b"x</s><s>y", b"  two  blanks"):
            for add_bos in (True, False):
                for special in (True, False):
                    theirs, ours = self.both(lambda llm: llm.tokenize(text, add_bos, special))
                    self.assertEqual(theirs, ours, text)
            ids = self.theirs.tokenize(text)
            for wanted in (ids, ids[1:]):
                for special in (True, False):
                    theirs, ours = self.both(lambda llm: llm.detokenize(wanted, special=special))
                    self.assertEqual(theirs, ours, (text, special))
        for name in ("n_ctx", "n_embd", "n_vocab", "token_bos", "token_eos", "token_nl", "pooling_type"):
            theirs, ours = self.both(lambda llm: getattr(llm, name)())
            self.assertEqual(theirs, ours, name)

    def test_steps(self):
        import numpy as np

        ids = self.theirs.tokenize(b"Once upon a time")
        for llm in (self.theirs, self.ours):
            llm.reset()
            llm.eval(ids)
        theirs, ours = self.theirs.scores[: len(ids)], self.ours.scores[: len(ids)]
        self.assertEqual(theirs.dtype, ours.dtype)
        np.testing.assert_allclose(ours, theirs, atol=0.05)
        self.assertEqual(*self.both(lambda llm: llm.sample(temp=0)))
        self.assertEqual(*self.both(lambda llm: list(llm.eval_tokens)))
        self.assertEqual(*self.both(lambda llm: type(llm.eval_logits)))
        self.assertEqual(*self.both(lambda llm: next(llm.generate(ids, temp=0))))
        self.assertEqual(*self.both(lambda llm: (llm._input_ids.dtype, llm.n_tokens > 0)))

    def test_embeddings(self):
        import numpy as np

        for pooling in (-1, 1, 2, 3):
            # Unpooled, theirs mixes up the rows of several texts.
            texts = ["a b", "c"] if pooling > 0 else ["a b"]
            with self.subTest(pooling=pooling):
                sides = []
                for library in (self.llama_cpp, self.moxie):
                    llm = library.Llama(self.path, n_ctx=64, embedding=True, verbose=False, pooling_type=pooling)
                    self.addCleanup(llm.close)
                    sides.append((llm.embed("hello there"), llm.embed(texts, normalize=True),
                                  llm.embed("x", return_count=True)[1], llm.create_embedding(texts)))
                theirs, ours = sides
                self.assertEqual(np.shape(theirs[0]), np.shape(ours[0]))
                np.testing.assert_allclose(ours[0], theirs[0], atol=0.05)
                self.assertEqual([np.shape(one) for one in theirs[1]], [np.shape(one) for one in ours[1]])
                for a, b in zip(theirs[1], ours[1]):
                    np.testing.assert_allclose(b, a, atol=0.01)
                self.assertEqual(theirs[2], ours[2])
                self.assertEqual(shape(theirs[3]), shape(ours[3]))
                self.assertEqual(theirs[3]["usage"], ours[3]["usage"])

    def test_errors_have_their_types(self):
        calls = {
            "missing file": lambda llm: type(llm)("/nowhere.gguf"),
            "no model": lambda llm: type(llm)(__file__, verbose=False),
            "too long": lambda llm: llm("word " * 500),
            "prompt": lambda llm: llm(None),
            "number as prompt": lambda llm: llm(5),
            "max_tokens": lambda llm: llm("x", max_tokens="a"),
            "temperature": lambda llm: llm("x", temperature="a"),
            "unknown argument": lambda llm: llm("x", nope=1),
            "n_ctx": lambda llm: type(llm)(self.path, n_ctx="a", verbose=False),
        }
        for name, call in calls.items():
            with self.subTest(name):
                with self.assertRaises(Exception) as theirs:
                    call(self.theirs)
                with self.assertRaises(type(theirs.exception)) as ours:
                    call(self.ours)
                self.assertGreaterEqual(len(str(ours.exception)), len(str(theirs.exception)) - 20)

    def test_a_second_begin_is_warned_of(self):
        for llm in (self.theirs, self.ours):
            with self.assertWarnsRegex(RuntimeWarning, 'Detected duplicate leading "<s>"'):
                llm([1, 1, 403], max_tokens=1)

    def test_pickles_are_opened_again(self):
        for library in (self.llama_cpp, self.moxie):
            with contextlib.closing(library.Llama(self.path, n_ctx=256, verbose=False)) as llm, warnings.catch_warnings():
                warnings.simplefilter("error")
                again = pickle.loads(pickle.dumps(llm))
                self.assertEqual((again.n_ctx(), again.model_path), (256, self.path))
                again.close()


if __name__ == "__main__":
    unittest.main()
