"""Who gets in: keys, names, web pages, TLS."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import PROGRAM, Server


class Access(unittest.TestCase):
    def test_names(self):
        with Server("--allowed-hosts", "moxie.example") as server:
            for host in (f"127.0.0.1:{server.port}", "localhost", "[::1]:80", "moxie.example", None):
                headers = {"Host": host}
                expected = 400 if host is None else 200  # HTTP/1.1 asks for the header
                self.assertEqual(server.get("/health", headers=headers).status, expected, host)
            response = server.get("/health", headers={"Host": "evil.example"})
            self.assertEqual(response.status, 403)
            self.assertIn("--allowed-hosts", response.error()["message"])

    def test_web_pages(self):
        with Server() as server:
            refused = server.chat(max_tokens=1)
            self.assertEqual(refused.status, 200)
            body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
            stranger = server.post("/v1/chat/completions", body, headers={"Origin": "https://example.com"})
            self.assertEqual(stranger.status, 403)
            self.assertNotIn("access-control-allow-origin", stranger.headers)
            own = server.post("/v1/chat/completions", body, headers={"Origin": f"http://127.0.0.1:{server.port}"})
            self.assertEqual(own.status, 200)
            self.assertNotIn("access-control-allow-origin", own.headers)
        with Server("--cors-origins", "https://example.org") as server:
            allowed = {"Origin": "https://example.org"}
            preflight = server.request("OPTIONS", "/v1/chat/completions", headers={**allowed, "Access-Control-Request-Headers": "x-stainless-os"})
            self.assertEqual(preflight.status, 204)
            self.assertEqual(preflight.headers["access-control-allow-origin"], "https://example.org")
            self.assertEqual(preflight.headers["access-control-allow-headers"], "x-stainless-os")
            answer = server.post("/v1/chat/completions", body, headers=allowed)
            self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (200, "https://example.org"))
            self.assertEqual(server.get("/health", headers={"Origin": "https://example.com"}).status, 403)

    def test_keys(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("# ours\nfrom-file\n")
            file.flush()
            with Server("--api-key", "one,two", "--api-key-file", file.name) as server:
                for key in ("one", "two", "from-file"):
                    self.assertEqual(server.get("/slots", headers={"Authorization": f"Bearer {key}"}).status, 200)
                    self.assertEqual(server.get("/slots", headers={"X-Api-Key": key}).status, 200)
                for headers in ({}, {"Authorization": "Bearer three"}, {"Authorization": "one"}, {"X-Api-Key": "on"}):
                    response = server.get("/slots", headers=headers)
                    self.assertEqual(response.status, 401)
                    self.assertEqual(response.error()["type"], "authentication_error")
                self.assertEqual(server.chat(max_tokens=1).status, 401)
                for path in ("/health", "/v1/models"):
                    self.assertEqual(server.get(path).status, 200)

    def test_keys_and_files_that_are_none(self):
        for flags, words in (
            (["--api-key", ","], "--api-key is empty"),
            (["--api-key-file", "/nowhere"], "/nowhere"),
            (["--ssl-key-file", "/dev/null"], "belong together"),
            (["--port", "99999"], "99999"),
            (["--host", "nowhere.invalid"], "nowhere.invalid"),
            (["--parallel", "0"], "--parallel 0"),
            (["--log-format", "xml"], "xml"),
        ):
            done = subprocess.run([PROGRAM, "serve", "--port", "0", *flags], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode == 0, False, flags)
            self.assertIn(words, done.stderr)

    def test_a_port_that_is_taken(self):
        with Server() as server:
            done = subprocess.run([PROGRAM, "serve", "--port", str(server.port)], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 8)
            self.assertIn("another program has it", done.stderr)

    @unittest.skipUnless(shutil.which("openssl"), "no openssl here")
    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = Path(folder) / "key.pem", Path(folder) / "cert.pem"
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
            with Server("--ssl-key-file", key, "--ssl-cert-file", certificate) as server:
                self.assertEqual(server.scheme, "https")
                self.assertEqual(server.get("/health").status, 200)
                chunks = server.chat(max_tokens=4, stream=True).chunks()
                self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")

    def test_refusals_in_anthropics_shape(self):
        """Whatever is wrong below /v1/messages, its clients can read it."""
        hello = {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        key, path = {"X-Api-Key": "secret"}, "/v1/messages"
        with Server("--api-key", "secret", "--strict-model") as server:
            cases = [
                (401, "authentication_error", server.post(path, hello)),
                (401, "authentication_error", server.post(path + "/count_tokens", hello)),
                (401, "authentication_error", server.get("/slots", headers={"anthropic-version": "2023-06-01"})),
                (404, "not_found_error", server.post(path + "/batches", hello, headers=key)),
                (405, "invalid_request_error", server.get(path, headers=key)),
                (400, "invalid_request_error", server.post(path, b"{", headers=key)),
                (400, "invalid_request_error", server.post(path, b"", headers=key)),
                (400, "invalid_request_error", server.post(path + "/count_tokens", b"[]", headers=key)),
                (400, "invalid_request_error", server.post(path, {"messages": 3, "max_tokens": 1}, headers=key)),
                (404, "not_found_error", server.post(path, {**hello, "model": "other"}, headers=key)),
                (413, "request_too_large", server.post(path, b'{"system":"' + b"x" * (17 << 20) + b'"}', headers=key)),
            ]
            for status, kind, response in cases:
                body = response.json()
                self.assertEqual((response.status, body["type"], body["error"]["type"]), (status, "error", kind), response.text)
                self.assertTrue(body["error"]["message"])
                self.assertEqual(body["request_id"], response.headers["x-request-id"])
            # The others' shape stays theirs.
            self.assertEqual(server.post("/v1/chat/completions", b"{", headers=key).error()["type"], "invalid_request_error")
            self.assertNotIn("request_id", server.get("/nothing", headers=key).json())
        with Server() as server:
            for headers in ({"Host": "evil.example"}, {"Origin": "https://example.com"}):
                refused = server.post(path, hello, headers=headers)
                self.assertEqual((refused.status, refused.json()["error"]["type"]), (403, "permission_error"))

    def test_models_by_name(self):
        with Server() as server:
            answer = server.chat(max_tokens=1, model="gpt-4o").json()
            self.assertEqual(answer["model"], "demo")
        with Server("--strict-model", "--alias", "mine") as server:
            self.assertEqual(server.chat(max_tokens=1, model="mine").json()["model"], "mine")
            self.assertEqual(server.chat(max_tokens=1).status, 200)
            refused = server.chat(max_tokens=1, model="gpt-4o")
            self.assertEqual((refused.status, refused.error()["param"]), (404, "model"))


if __name__ == "__main__":
    unittest.main()
