"""A server on a free port, and a client over raw sockets that shows what is on the wire. Needs the standard library alone."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("MOXIE_PROGRAM", str(ROOT / "build/moxie"))
PATIENCE = float(os.environ.get("MOXIE_TEST_PATIENCE", "60"))  # seconds; machines that are busy stall


DEMO = ROOT / "models/demo"


class Server:
    """`moxie serve`, with the demo model unless another is given (None: without MODEL); ends with the `with` block."""

    def __init__(self, *flags, model=DEMO, environment=None):
        self.flags = [str(flag) for flag in flags]
        self.model = model
        self.environment = {**os.environ, **(environment or {})}

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile(mode="w+", suffix=".log")
        command = [PROGRAM, "serve", *([str(self.model)] if self.model else []), "--port", "0", *self.flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=self.environment)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"listening on (https?)://[^\n]*:(\d+)\n", self.said())
            if found:
                self.scheme, self.port = found[1], int(found[2])
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the server does not start: {self.said()}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f"the server does not end: {self.said()}")
        if self.process.returncode != 0:  # a crash, or a leak that a sanitizer found
            raise AssertionError(f"exit status {self.process.returncode}: {self.said()[-4000:]}")
        self.log.close()

    def said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        return self.process.poll() is None

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    # ---- requests ----

    def connect(self, timeout=None):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout or PATIENCE)
        plain.settimeout(timeout or PATIENCE)
        if self.scheme == "http":
            return plain
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(plain)

    def request(self, method, path, body=None, headers=None):
        with self.connect() as connection:
            connection.sendall(head(method, path, self.port, body, {"Connection": "close", **(headers or {})}))
            return read_response(connection.makefile("rb"))

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body, **options):
        return self.request("POST", path, body=body, **options)

    def chat(self, **fields):
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], **fields})

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.M)
        return float(found[1])


def head(method, path, port, body=None, headers=None):
    """The bytes of a request. `body`: bytes, or anything JSON can say."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = {"Host": f"127.0.0.1:{port}"}
    if body is not None:
        lines["Content-Type"] = "application/json"
        lines["Content-Length"] = str(len(body))
    lines.update(headers or {})
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return text.encode() + b"\r\n" + (body or b"")


class Response:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]

    def events(self):
        """The events of a stream: (name, data as text), comments left out."""
        found = []
        for block in self.text.split("\n\n"):
            name, data = None, None
            for line in block.split("\n"):
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    assert data is None, "an event has one line of data"
                    data = line[6:]
                else:
                    assert line == "" or line.startswith(":"), f"not a line of a stream: {line!r}"
            if data is not None:
                found.append((name, data))
        return found

    def chunks(self):
        """The JSON of a stream of OpenAI's, which ends with [DONE]."""
        events = self.events()
        assert events[-1] == (None, "[DONE]"), events[-1]
        return [json.loads(data) for _, data in events[:-1]]


def read_head(stream):
    line = stream.readline().decode("latin-1")
    if not line:
        return None, {}
    status = int(line.split()[1])
    headers = {}
    while True:
        line = stream.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return status, headers
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()


def read_chunks(stream):
    """Pieces of a chunked body as they come; raises EOFError where it breaks off."""
    while True:
        line = stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        size = int(line.split(b";")[0], 16)
        piece = stream.read(size + 2)
        if len(piece) < size + 2:
            raise EOFError
        if size == 0:
            return
        yield piece[:-2]


def read_response(stream):
    status, headers = read_head(stream)
    if status is None:
        return None
    if status == 100:
        return read_response(stream)
    complete = True
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        try:
            for piece in read_chunks(stream):
                body += piece
        except EOFError:
            complete = False
    elif "content-length" in headers:
        body = stream.read(int(headers["content-length"]))
        complete = len(body) == int(headers["content-length"])
    else:
        body = stream.read()
    return Response(status, headers, body, complete)
