"""The same request gives the same text: alone and among neighbours, streamed and whole, over HTTP and on the command line."""

import subprocess
import threading
import unittest

from support import PATIENCE, PROGRAM, Server

PROMPT = "Once upon a time there was a little girl who"
LENGTH = 40


class Equality(unittest.TestCase):
    def test_text_for_a_seed(self):
        request = {"prompt": PROMPT, "max_tokens": LENGTH, "seed": 42, "temperature": 0.9}
        flags = ["-p", PROMPT, "-n", str(LENGTH), "--seed", "42", "--temp", "0.9", "--stats", "none"]
        done = subprocess.run([PROGRAM, "run", *flags], capture_output=True, text=True, timeout=PATIENCE, check=True)
        with Server("--parallel", 8) as server:
            def text(**fields):
                answer = server.post("/v1/completions", {**request, **fields}).json()
                return answer["choices"][0]["text"]

            alone = text()
            self.assertEqual(alone, done.stdout.rstrip("\n") if not alone.endswith("\n") else done.stdout)
            chunks = server.post("/v1/completions", {**request, "stream": True}).chunks()
            self.assertEqual("".join(chunk["choices"][0]["text"] for chunk in chunks), alone)
            self.assertEqual(text(cache_prompt=False), alone)
            self.assertNotEqual(text(seed=43), alone)

            stop = threading.Event()

            def neighbour(number):
                while not stop.is_set():
                    prompt = PROMPT[: 10 + 3 * number]  # some share a beginning with the request
                    server.post("/v1/completions", {"prompt": prompt, "max_tokens": 30, "seed": number, "temperature": 1.2})

            neighbours = [threading.Thread(target=neighbour, args=(number,)) for number in range(7)]
            for each in neighbours:
                each.start()
            try:
                for _ in range(5):
                    self.assertEqual(text(), alone)
            finally:
                stop.set()
                for each in neighbours:
                    each.join()


if __name__ == "__main__":
    unittest.main()
