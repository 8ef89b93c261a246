"""Several models behind one address: what is offered, what opens when, who waits, and what goes wrong."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from support import DEMO, PATIENCE, PROGRAM, ROOT, Server, head, read_chunks, read_head

SMALL = ROOT / "tests/data/models/stories260k-moe8"
LONG = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400, "ignore_eos": True}
ENDLESS = {**LONG, "max_tokens": 10**6, "stream": True}  # with --context-shift: until its client goes


def put_model(folder, source):
    """The model's files under links, so that one can be exchanged."""
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)


class Models(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "models"
        put_model(self.folder / "tales", DEMO)
        put_model(self.folder / "tiny" / "stories", SMALL)
        (self.folder / "cut.gguf").write_bytes(b"GGUF\x03\0\0\0")

    def tearDown(self):
        self.place.cleanup()

    def server(self, *flags):
        return Server("--models-dir", self.folder, "-c", 512, *flags, model=None)

    def open_model(self, server):
        return [model["id"] for model in server.get("/v1/models").json()["data"] if model["status"]["value"] == "loaded"]

    def test_lists_what_will_load(self):
        listed = json.loads(subprocess.run([PROGRAM, "list", "--json", str(self.folder)], check=True, capture_output=True).stdout)
        loading = sorted(os.path.relpath(model["model"], self.folder) for model in listed if model["loads"])
        with self.server() as server:
            models = server.get("/v1/models").json()["data"]
            self.assertEqual(sorted(model["id"] for model in models), loading)
            self.assertEqual(loading, ["tales", "tiny/stories"])
            self.assertEqual({model["status"]["value"] for model in models}, {"unloaded"})
            self.assertEqual(server.get("/v1/models/tiny/stories").json()["id"], "tiny/stories")
            self.assertEqual(server.get("/v1/models/tiny%2Fstories").json()["id"], "tiny/stories")
            self.assertEqual(server.get("/v1/models/cut.gguf").status, 404)
            anthropic = server.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
            self.assertEqual(sorted(model["id"] for model in anthropic["data"]), loading)
            self.assertEqual(server.get("/health").json()["status"], "ok")
            self.assertEqual(server.get("/slots").json(), [])
            self.assertIsNone(server.get("/props").json()["model_path"])
            self.assertIn("1 more will not load", server.said())

    def test_opens_on_request_and_swaps(self):
        with self.server() as server:
            for model, answers in (("tales", "tales"), ("stories", "tiny/stories"), ("TALES", "tales"), ("tiny/stories", "tiny/stories")):
                for path, body in (
                    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}),
                    ("/v1/completions", {"prompt": "Once", "max_tokens": 2}),
                    ("/v1/embeddings", {"input": "Once"}),
                    ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}),
                    ("/v1/responses", {"input": "Hi", "max_output_tokens": 2}),
                ):
                    response = server.post(path, {**body, "model": model})
                    self.assertEqual(response.status, 200, response.text)
                    self.assertEqual(response.json()["model"], answers)
                self.assertEqual(self.open_model(server), [answers])
            # Without a name the one that is open answers.
            self.assertEqual(server.chat(max_tokens=1).json()["model"], "tiny/stories")
            self.assertEqual(server.post("/tokenize", {"content": "a"}).status, 200)
            self.assertTrue(server.get("/props").json()["model_path"].endswith("tiny/stories"))
            self.assertEqual(server.metric("moxie:models_opened_total"), 4)

    def test_answers_are_those_of_the_model_alone(self):
        asked = {"max_tokens": 12, "seed": 5, "temperature": 0.8}
        with Server("-c", 512) as alone:
            expected = alone.chat(**asked).json()["choices"][0]["message"]["content"]
        with self.server() as server:
            for _ in range(2):
                self.assertEqual(server.chat(model="stories", **asked).status, 200)
                answer = server.chat(model="tales", **asked).json()
                self.assertEqual(answer["choices"][0]["message"]["content"], expected)

    def test_names_that_are_none(self):
        with self.server() as server:
            near = server.chat(max_tokens=1, model="tlaes")
            self.assertEqual((near.status, near.error()["param"]), (404, "model"))
            self.assertIn("did you mean 'tales'", near.error()["message"])
            far = server.chat(max_tokens=1, model="gpt-4o")
            self.assertEqual(far.status, 404)
            self.assertIn("/v1/models", far.error()["message"])
            broken = server.chat(max_tokens=1, model="cut")
            self.assertEqual(broken.status, 404)
            self.assertIn("will not load", broken.error()["message"])
            missing = server.chat(max_tokens=1)
            self.assertEqual((missing.status, missing.error()["param"]), (400, "model"))
            path = server.chat(max_tokens=1, model=str(self.folder / "tales"))
            self.assertEqual(path.status, 404)  # a path opens nothing
            odd = server.chat(max_tokens=1, model=7)
            self.assertEqual((odd.status, odd.error()["param"]), (400, "model"))
            anthropic = server.post("/v1/messages", {"model": "tlaes", "max_tokens": 1, "messages": []}).json()
            self.assertEqual((anthropic["type"], anthropic["error"]["type"]), ("error", "not_found_error"))
            self.assertEqual(server.metric("moxie:models_opened_total"), 0)

    def test_strict_names(self):
        with self.server("--strict-model") as server:
            self.assertEqual(server.chat(max_tokens=1, model="tiny/stories").status, 200)
            refused = server.chat(max_tokens=1, model="stories")
            self.assertEqual(refused.status, 404)
            self.assertIn("must be 'tiny/stories'", refused.error()["message"])

    def test_one_model_takes_any_name(self):
        shutil.rmtree(self.folder / "tiny")
        with self.server() as server:
            self.assertEqual(server.chat(max_tokens=1, model="gpt-4o").json()["model"], "tales")

    def test_a_model_that_cannot_be_opened(self):
        put_model(self.folder / "late", SMALL)
        with self.server() as server:
            weights = self.folder / "late/model.safetensors"
            data = weights.read_bytes()
            weights.unlink()
            weights.write_bytes(data[: len(data) // 2])
            response = server.chat(max_tokens=1, model="late")
            self.assertEqual(response.status, 400, response.text)
            self.assertIn("model.safetensors", response.error()["message"])
            self.assertNotEqual(response.error()["code"], 400)  # the code of the diagnosis
            self.assertEqual(server.chat(max_tokens=1, model="tales").status, 200)
            # It is mended: the next request opens it.
            weights.write_bytes(data)
            self.assertEqual(server.chat(max_tokens=1, model="late").status, 200)

    def test_models_that_come_later(self):
        with self.server() as server:
            self.assertEqual(server.chat(max_tokens=1, model="new-one").status, 404)
            put_model(self.folder / "new-one", SMALL)
            time.sleep(2.1)  # a list is not made anew for every wrong name
            self.assertEqual(server.chat(max_tokens=1, model="new-one").status, 200)

    def test_requests_under_way_finish_before_a_swap(self):
        with self.server("--parallel", 2) as server:
            connection = server.connect()
            body = {**LONG, "model": "tales", "stream": True}
            connection.sendall(head("POST", "/v1/chat/completions", server.port, body))
            stream = connection.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            pieces = read_chunks(stream)
            first = next(pieces)
            other = []
            asking = threading.Thread(target=lambda: other.append(server.chat(model="stories", max_tokens=1)))
            asking.start()
            text = first + b"".join(pieces)
            self.assertTrue(text.endswith(b"data: [DONE]\n\n"))
            self.assertEqual(text.count(b'"model":"tales"'), text.count(b'"model":'))
            asking.join(PATIENCE)
            self.assertEqual(other[0].json()["model"], "tiny/stories")

    def test_everybody_is_answered(self):
        """Clients that want two models in turns: each answer comes from the model asked for, and health stays responsive."""
        with self.server("--parallel", 4) as server:
            wrong = []

            def client(number):
                for turn in range(6):
                    model = ("tales", "tiny/stories")[(number + turn) % 2]
                    response = server.chat(model=model, max_tokens=5)
                    if response.status != 200 or response.json()["model"] != model:
                        wrong.append(response.text)

            clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
            for each in clients:
                each.start()
            while any(each.is_alive() for each in clients):
                self.assertIn(server.get("/health").status, (200, 503))  # 503: a model is being opened
                time.sleep(0.01)
            self.assertEqual(wrong, [])
            # All that wait for a model begin together: far fewer swaps than the 48 requests.
            self.assertLess(server.metric("moxie:models_opened_total"), 40)

    def test_who_leaves_changes_no_model(self):
        with self.server("--context-shift") as server:
            connection = server.connect()
            connection.sendall(head("POST", "/v1/chat/completions", server.port, {**ENDLESS, "model": "tales"}))
            stream = connection.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            leaving = server.connect()
            leaving.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "model": "stories"}))
            end = time.monotonic() + PATIENCE
            while server.metric("moxie:requests_waiting_for_model") != 1:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            leaving.close()
            while server.metric("moxie:requests_waiting_for_model") != 0:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            self.assertEqual(server.get("/health").json()["slots_processing"], 1)
            stream.close()
            connection.close()
            self.assertEqual(server.chat(max_tokens=1).json()["model"], "tales")
            self.assertEqual(server.metric("moxie:models_opened_total"), 1)

    def test_too_many_wait(self):
        # Without a queue as many wait as run once the model is open.
        with self.server("--context-shift", "--queue-limit", 0) as server:
            connection = server.connect()
            connection.sendall(head("POST", "/v1/chat/completions", server.port, {**ENDLESS, "model": "tales"}))
            stream = connection.makefile("rb")
            self.assertEqual(read_head(stream)[0], 200)
            waiting = server.connect()
            waiting.sendall(head("POST", "/v1/chat/completions", server.port, {**LONG, "max_tokens": 1, "model": "stories"}))
            end = time.monotonic() + PATIENCE
            while server.metric("moxie:requests_waiting_for_model") != 1:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            refused = server.chat(model="stories", max_tokens=1)
            self.assertEqual(refused.status, 429)
            self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
            stream.close()
            connection.close()
            self.assertEqual(read_head(waiting.makefile("rb"))[0], 200)

    def test_memory_stays_within_one_budget(self):
        with self.server() as server:
            sizes = []
            for _ in range(6):
                for model in ("tales", "stories"):
                    self.assertEqual(server.chat(model=model, max_tokens=4).status, 200)
                sizes.append(server.memory())
            self.assertLess(max(sizes[2:]), 1.1 * max(sizes[:2]), sizes)

    def test_stores(self):
        """Without MODEL: what the stores hold; where that is nothing, the demo model."""
        cache = self.folder.parent / "llama"
        (cache / "one").mkdir(parents=True)
        empty = str(self.folder.parent / "nothing")
        stores = {"HOME": empty, "HF_HUB_CACHE": empty, "OLLAMA_MODELS": empty, "LLAMA_CACHE": str(cache)}
        with Server(model=None, environment=stores) as server:
            self.assertEqual(server.chat(max_tokens=1, model="whatever").json()["model"], "demo")
        for number in (1, 2):
            command = [PROGRAM, "convert", str(SMALL), str(cache / f"m{number}.gguf")]
            subprocess.run(command, check=True, capture_output=True)
        listed = json.loads(subprocess.run([PROGRAM, "list", "--json"], check=True, capture_output=True, env={**os.environ, **stores}).stdout)
        with Server(model=None, environment=stores) as server:
            models = [model["id"] for model in server.get("/v1/models").json()["data"]]
            self.assertEqual(models, [model["model"] for model in listed])
            self.assertEqual(len(models), 2)
            self.assertEqual(server.chat(max_tokens=1, model="m2").json()["model"], models[1])

    def test_what_opening_said_is_shown(self):
        """A model without a tokenizer loads: the log says so once, and /props what doctor says."""
        bare = self.folder / "bare"
        put_model(bare, SMALL)
        for file in bare.glob("tokenizer*"):
            file.unlink()
        doctor = json.loads(subprocess.run([PROGRAM, "doctor", "--json", str(bare)], check=True, capture_output=True).stdout)
        expected = [(finding["code"], finding["severity"]) for finding in doctor["findings"]]
        self.assertIn(("no-tokenizer", "warning"), expected)
        with Server(model=bare) as server:
            props = server.get("/props").json()
            self.assertEqual([(finding["code"], finding["severity"]) for finding in props["findings"]], expected)
            self.assertEqual(server.said().count("moxie: no tokenizer; "), 1, server.said())
            self.assertTrue(all(notice in server.said() for notice in props["notices"]))
        with self.server() as server:
            server.chat(model="bare", max_tokens=1)  # a 400, but it is open
            props = server.get("/props").json()
            self.assertEqual([(finding["code"], finding["severity"]) for finding in props["findings"]], expected)

    def test_a_start_that_fails_says_why(self):
        done = subprocess.run([PROGRAM, "serve", "--port", "0", str(self.folder / "cut.gguf")], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 4)  # corrupt
        self.assertIn("cut.gguf", done.stderr)
        self.assertNotIn("listening", done.stderr)

    def test_flags_that_contradict_each_other(self):
        for flags, words in (
            (["--models-dir", str(self.folder), str(DEMO)], "leave one out"),
            (["--models-dir", str(self.folder / "none")], "is no folder"),
            (["--models-dir", str(self.folder), "--alias", "mine"], "--alias mine"),
            (["--models-dir", str(self.folder), "--watch"], "--watch"),
        ):
            done = subprocess.run([PROGRAM, "serve", "--port", "0", *flags], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
