"""`moxie bench --url`: against a server whose delays are known, and against `moxie serve`."""

import json
import subprocess
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support import PROGRAM, Server

NEW, KNOWN, TOKEN, CALL = 0.3, 0.06, 0.02, 0.1  # seconds
WORDS = 20  # tokens of the prompt, as the server counts


class Known(BaseHTTPRequestHandler):
    """OpenAI's routes with known delays. One prompt counts as repeated when it was there before."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path != "/v1/models":
            return self.reply(404, {"error": {"message": "no such route"}})
        return self.reply(200, {"object": "list", "data": [{"id": "known"}, {"id": "other"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return self.reply(401, {"error": {"message": "this key is wrong"}})
        if "ignore_eos" in body and server.strict:
            return self.reply(400, {"error": {"message": "ignore_eos is not known"}})
        with server.lock:
            server.models.add(body["model"])
        if "tools" in body:
            time.sleep(CALL)
            call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": server.arguments}}
            return self.reply(200, {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]})
        prompt = body["messages"][0]["content"]
        with server.lock:
            known = prompt in server.prompts
            server.prompts.add(prompt)
            server.inside += 1
            server.most = max(server.most, server.inside)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})  # is no token yet
        time.sleep(KNOWN if known else NEW)
        for number in range(body["max_tokens"]):
            if number > 0:
                time.sleep(TOKEN)
            self.event({"choices": [{"index": 0, "delta": {"content": "x"}}]})
        usage = {"prompt_tokens": WORDS, "completion_tokens": body["max_tokens"], "prompt_tokens_details": {"cached_tokens": WORDS - 1 if known else 0}}
        self.event({"choices": [], "usage": usage})
        self.piece(b"data: [DONE]\n\n")
        with server.lock:
            server.inside -= 1
        self.wfile.write(b"0\r\n\r\n")
        return None

    def event(self, body):
        self.piece(b": a comment\n\ndata: " + json.dumps(body).encode() + b"\n\n")

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class KnownServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, key=None, strict=False, arguments='{"city": "Lisbon"}'):
        super().__init__(("127.0.0.1", 0), Known)
        self.key, self.strict, self.arguments = key, strict, arguments
        self.lock, self.prompts, self.models = threading.Lock(), set(), set()
        self.inside = self.most = 0

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def bench(port, *flags):
    command = [PROGRAM, "bench", "--url", f"http://127.0.0.1:{port}", *[str(flag) for flag in flags]]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "has no HTTP client" in run.stderr:
        raise unittest.SkipTest("built without libcurl")
    return run


def measured(port, *flags):
    run = bench(port, *flags, "-o", "json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


class KnownDelays(unittest.TestCase):
    def between(self, value, least, most):
        self.assertGreaterEqual(value, least * 0.98)
        self.assertLessEqual(value, most)

    def test_figures_are_the_delays(self):
        with KnownServer() as server:
            report = measured(server.server_port, "-p", 64, "-n", 16, "-r", 3, "--clients", "1,4")
            self.assertEqual((report["model"], server.models), ("known", {"known"}))
            # Least values are bound by the server's sleeps; the most leaves room for a machine that is busy.
            self.between(min(report["cold"]["first_token_s_all"]), NEW, NEW * 4)
            self.between(min(report["repeated"]["first_token_s_all"]), KNOWN, KNOWN * 4)
            self.between(1 / max(report["cold"]["tokens_per_s_all"]), TOKEN, TOKEN * 4)
            self.between(min(report["tool_calls"]["seconds_all"]), CALL, CALL * 4)
            for figures in (report["cold"], report["repeated"]):
                values = sorted(figures["first_token_s_all"])
                self.assertEqual((len(values), figures["first_token_s"]), (3, values[1]))
                self.assertEqual((figures["prompt_tokens"], figures["completion_tokens"]), (WORDS, 16))
            self.assertEqual((report["cold"]["cached_tokens"], report["repeated"]["cached_tokens"]), (0, WORDS - 1))
            self.assertEqual((report["tool_calls"]["well_formed"], report["tool_calls"]["asked"]), (3, 3))
            one, four = report["clients"]
            self.assertEqual((one["clients"], four["clients"], server.most), (1, 4, 4))
            self.assertEqual((len(one["first_token_s_all"]), len(four["first_token_s_all"])), (3, 12))
            answer = NEW + 15 * TOKEN
            self.between(1 / max(one["tokens_per_s_all"]), answer / 16, answer / 16 * 4)
            self.between(1 / max(four["tokens_per_s_all"]), answer / 64, answer / 64 * 3.9)
            self.assertEqual(report["notices"], [])

    def test_a_call_that_is_wrong_is_said_so(self):
        for arguments, problem in (('{"city": 3}', "no text 'city'"), ("{", "no JSON object"), ('["Lisbon"]', "no JSON object")):
            with KnownServer(arguments=arguments) as server:
                report = measured(server.server_port, "-n", 2, "-r", 1, "--clients", 1)
                self.assertEqual(report["tool_calls"]["well_formed"], 0)
                self.assertIn(problem, report["tool_calls"]["problem"])

    def test_keys_models_and_refusals(self):
        with KnownServer(key="secret", strict=True) as server:
            refused = bench(server.server_port, "-n", 2, "-r", 1)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("this key is wrong", refused.stderr)
            self.assertIn("--api-key", refused.stderr)
            report = measured(server.server_port, "-n", 2, "-r", 1, "--clients", 2, "--api-key", "secret", "--model", "other")
            self.assertEqual((report["model"], server.models), ("other", {"other"}))
            self.assertIn("ignore_eos", report["notices"][0])
        nobody = bench(server.server_port, "-n", 2, "-r", 1)
        self.assertEqual(nobody.returncode, 8, nobody.stderr)

    def test_what_belongs_elsewhere_is_refused(self):
        """Flags of a model here beside a server's address, and the other way round; nothing is ignored."""
        for flags, said in ((("--url", ""), "--url is empty"), (("--url", "http://x", "-t", "2"), "--threads is of a model"),
                            (("--url", "http://x", "--memory", "1G"), "--memory is of a model"),
                            (("--clients", "4"), "--clients is of a server"), (("--no-tools",), "--no-tools is of a server")):
            run = subprocess.run([PROGRAM, "bench", *flags], capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn(said, run.stderr)
            self.assertEqual(run.stdout, "")

    def test_table(self):
        with KnownServer() as server:
            run = bench(server.server_port, "-n", 2, "-r", 1, "--clients", 2)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertIn("the same again (20 tokens, 19 cached)", run.stdout)
            self.assertIn("1 of 1 well-formed", run.stdout)
            run = bench(server.server_port, "-n", 2, "-r", 1, "--clients", 2, "--no-tools")
            self.assertNotIn("well-formed", run.stdout)
            wrong = bench(server.server_port, "-n", 0)
            self.assertEqual(wrong.returncode, 2, wrong.stderr)


class OwnServer(unittest.TestCase):
    def test_moxie_serve(self):
        with Server("--parallel", 4) as server:
            report = measured(server.port, "-p", 256, "-n", 8, "-r", 2, "--clients", "1,4")
            self.assertLess(report["cold"]["cached_tokens"], report["cold"]["prompt_tokens"] / 2)
            self.assertEqual(report["repeated"]["cached_tokens"], report["repeated"]["prompt_tokens"] - 1)
            self.assertLess(min(report["repeated"]["first_token_s_all"]), min(report["cold"]["first_token_s_all"]))
            self.assertEqual(report["tool_calls"]["well_formed"], 2)
            self.assertEqual(report["cold"]["completion_tokens"], 8)


if __name__ == "__main__":
    unittest.main()
