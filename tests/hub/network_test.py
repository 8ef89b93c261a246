"""`moxie pull` through what stands between a machine and the hub: certificates of one's own, and proxies."""

import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from hub_server import Hub
from hub_testing import HubTest, main, noise

FILES = {"config.json": b"{}", "model.safetensors": noise(3 << 20, 1)}
OPENSSL = shutil.which("openssl")


class Certificates:
    """An authority, a server's certificate by it, and one that is for another host."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem")
        for name, host in (("server", "IP:127.0.0.1"), ("other", "DNS:other.example")):
            (self.folder / "names").write_text(f"subjectAltName={host}\n")
            self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", "request")
            self.run("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "2", "-extfile", "names", "-out", f"{name}.pem")
        hashed = self.folder / "hashed"
        hashed.mkdir()
        name = self.run("x509", "-in", "ca.pem", "-noout", "-hash").strip()
        shutil.copy(self.folder / "ca.pem", hashed / f"{name}.0")

    def run(self, *arguments):
        return subprocess.run([OPENSSL, *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context


@unittest.skipIf(OPENSSL is None, "no openssl here")
class Encrypted(HubTest):
    @classmethod
    def setUpClass(cls):
        cls.made = tempfile.TemporaryDirectory(prefix="moxie-certificates-")
        cls.addClassCleanup(cls.made.cleanup)
        cls.certificates = Certificates(cls.made.name)

    def serve(self, name):
        self.hub = self.enter(Hub(self.certificates.context(name)))
        self.hub.add("org/model", FILES)

    def authority(self):
        return str(self.certificates.folder / "ca.pem")

    def refused(self, **environment):
        started = time.monotonic()
        code, out, err = self.run_moxie("pull", "org/model", **environment)
        self.assertNotIn(code, (0, 8), err)
        self.assertLess(time.monotonic() - started, 20, "nothing that stays as it is should be tried again")
        self.assertEqual(self.hub.requests, [])
        return err

    def test_an_authority_of_ones_own(self):
        self.serve("server")
        for variable in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            with self.subTest(variable):
                shutil.rmtree(self.folder / "home", ignore_errors=True)
                self.pull("org/model", **{variable: self.authority()})
                self.assert_cached("org/model")
        for variable in ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
            with self.subTest(f"{variable}, a folder"):
                shutil.rmtree(self.folder / "home", ignore_errors=True)
                self.pull("org/model", **{variable: str(self.certificates.folder / "hashed")})
                self.assert_cached("org/model")

    def test_headers_too_are_read_with_it(self):
        self.serve("server")
        self.hub.add("org/one", {"config.json": b"{}", "model.safetensors": b"\2\0\0\0\0\0\0\0{}"})
        code, out, err = self.run_moxie("inspect", "hf:org/one", SSL_CERT_FILE=self.authority())
        self.assertIn("were read over the network", err)
        code, out, err = self.run_moxie("inspect", "hf:org/one")
        self.assertIn("certificate is not trusted", err)

    def test_an_authority_that_nobody_knows(self):
        self.serve("server")
        err = self.refused()
        self.assertIn("the server's certificate is not trusted", err)
        self.assertIn("SSL_CERT_FILE", err)

    def test_a_certificate_of_another_host(self):
        self.serve("other")
        self.assertIn("the server's certificate is not trusted", self.refused(SSL_CERT_FILE=self.authority()))

    def test_a_file_that_is_not_there(self):
        self.serve("server")
        err = self.refused(SSL_CERT_FILE="/absent/ca.pem")
        self.assertIn("/absent/ca.pem", err)
        self.assertIn("SSL_CERT_FILE", err)

    def test_a_server_without_tls(self):
        self.hub.add("org/model", FILES)
        err = self.refused(HF_ENDPOINT=self.hub.url.replace("http://", "https://"))
        self.assertIn("does not speak TLS", err)
        self.assertIn("http://", err)

    def test_from_https_nothing_is_fetched_in_the_clear(self):
        self.serve("server")
        self.hub.storage_url = self.hub.storage_url.replace("https://", "http://")
        code, out, err = self.run_moxie("pull", "org/model", SSL_CERT_FILE=self.authority())
        self.assertNotEqual(code, 0)
        self.assertIn("not encrypted", err)
        self.assertEqual(self.hub.count("storage", "GET"), 0)

    def test_through_a_proxy(self):
        self.serve("server")
        proxy = self.enter(Proxy())
        self.pull("org/model", SSL_CERT_FILE=self.authority(), HTTPS_PROXY=proxy.url)
        self.assert_cached("org/model")
        address = self.hub.url.removeprefix("https://")
        self.assertIn(f"CONNECT {address} HTTP/1.1", proxy.asked)
        self.assertFalse([line for line in proxy.asked if "org/model" in line])


class Proxy:
    """Forwards plain requests, and joins connections for CONNECT. Remembers what it was asked."""

    def __init__(self, status=None):
        self.status = status  # to refuse with
        self.asked, self.headers = [], []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with client:
                self.pass_on(client)
        except OSError:
            pass

    def pass_on(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        first, _, rest = head.partition(b"\r\n")
        self.asked.append(first.decode())
        self.headers.append(rest.decode(errors="replace"))
        if self.status:
            client.sendall(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        method, target, version = first.decode().split()
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
        else:
            host, port = target.split("/")[2].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + target.split("/", 3)[3]
                server.sendall(f"{method} {path} {version}\r\nConnection: close\r\n".encode() + rest)
            back = threading.Thread(target=self.join, args=(server, client), daemon=True)
            back.start()
            self.join(client, server)
            back.join()

    @staticmethod
    def join(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Proxies(HubTest):
    def setUp(self):
        super().setUp()
        self.hub.add("org/model", FILES)

    def test_plain_requests_go_through_it(self):
        proxy = self.enter(Proxy())
        self.pull("org/model", http_proxy=proxy.url)
        self.assert_cached("org/model")
        self.assertTrue(proxy.asked)
        self.assertTrue(all("127.0.0.1" in line for line in proxy.asked))
        count = len(proxy.asked)
        shutil.rmtree(self.folder / "home")
        self.pull("org/model", all_proxy=proxy.url)
        self.assertGreater(len(proxy.asked), count)

    def test_hosts_that_need_none(self):
        proxy = self.enter(Proxy())
        for variable in ("no_proxy", "NO_PROXY"):
            shutil.rmtree(self.folder / "home", ignore_errors=True)
            self.pull("org/model", http_proxy=proxy.url, **{variable: "example.com,127.0.0.1"})
            self.assert_cached("org/model")
        self.assertEqual(proxy.asked, [])

    def test_a_name_and_a_password(self):
        proxy = self.enter(Proxy())
        self.pull("org/model", http_proxy=proxy.url.replace("//", "//me:secret@"))
        self.assertTrue(all("Proxy-Authorization: Basic bWU6c2VjcmV0" in head for head in proxy.headers))
        refusing = self.enter(Proxy("407 Proxy Authentication Required"))
        shutil.rmtree(self.folder / "home")
        started = time.monotonic()
        code, out, err = self.run_moxie("pull", "org/model", http_proxy=refusing.url.replace("//", "//me:secret@"))
        self.assertNotEqual(code, 0)
        self.assertIn("407", err)
        self.assertIn("proxy", err)
        self.assertNotIn("secret", err)
        self.assertLess(time.monotonic() - started, 20)

    def test_one_that_is_not_there(self):
        code, out, err = self.run_moxie("pull", "org/model", http_proxy="no.such.proxy.invalid:1")
        self.assertNotEqual(code, 0)
        self.assertIn("proxy", err)
        self.assertIn("https_proxy", err)


if __name__ == "__main__":
    main()
