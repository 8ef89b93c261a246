"""A server that speaks the hub's protocol over repositories in memory: two origins, the hub and the storage that it
redirects large files to. Faults are switched on by the test that uses it. Standard library alone.

Run by itself it serves a folder as one repository: hub_server.py ORG/NAME FOLDER."""

import hashlib
import json
import re
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = 64 * 1024  # bytes from which a file is in the storage (LFS)


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, files, commit=None, gated=False, private=False, revisions=("main",)):
        self.files = dict(files)
        digest = hashlib.sha1(repr(sorted((k, git_sha1(v)) for k, v in self.files.items())).encode())
        self.commit = commit or digest.hexdigest()
        self.gated, self.private, self.revisions = gated, private, revisions


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):  # clients may hang up, or not trust it
            super().handle_error(request, client_address)


class Hub:
    """The two servers and what goes wrong with them. Use as a context manager."""

    def __init__(self, tls=None):
        """With `tls`, an ssl.SSLContext of servers, both speak HTTPS."""
        self.tls = tls
        self.repos, self.moved = {}, {}
        self.requests = []  # (origin, method, path, headers)
        self.lock = threading.Lock()
        self.token = "right-token"
        # ---- faults ----
        self.no_ranges = False
        self.break_every = 0  # bytes after which the storage closes a connection; 0: never
        self.break_times = 10**9
        self.busy_times = 0  # answers of 429 that come first
        self.retry_after = None
        self.wrong_bytes = {}  # path: what the storage gives in its stead
        self.wrong_size = {}  # path: what X-Linked-Size says
        self.expire_times = 0  # signed addresses that are refused
        self.bytes_a_second = 0  # of one connection; 0: as fast as it goes
        self.no_sizes = False  # of the listing
        self.hub_error = None

    def __enter__(self):
        hub = self

        def server(origin):
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                hub, name = None, origin

                def log_message(self, *_):
                    pass

                def do_GET(self):
                    hub.handle(self, "GET")

                def do_HEAD(self):
                    hub.handle(self, "HEAD")

            Handler.hub = hub
            httpd = Server(("127.0.0.1", 0), Handler)
            if hub.tls:
                # The handshake belongs to the connection's own thread.
                httpd.socket = hub.tls.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
            return httpd

        self.servers = {origin: server(origin) for origin in ("hub", "storage")}
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.servers['hub'].server_port}"
        self.storage_url = f"{scheme}://127.0.0.1:{self.servers['storage'].server_port}"
        return self

    def __exit__(self, *_):
        for httpd in self.servers.values():
            httpd.shutdown()
            httpd.server_close()

    def add(self, name, files, **options):
        self.repos[name] = Repo(files, **options)
        return self.repos[name]

    def count(self, origin, method, part=""):
        with self.lock:
            return sum(o == origin and m == method and part in p for o, m, p, _ in self.requests)

    # ---- answers ----

    def handle(self, request, method):
        origin = request.name
        with self.lock:
            self.requests.append((origin, method, request.path, dict(request.headers)))
            busy = self.busy_times > 0 and origin == "hub"
            self.busy_times -= busy
        try:
            if busy:
                headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
                self.answer(request, 429, headers, b"slow down")
            elif origin == "storage":
                self.storage(request)
            elif self.hub_error:
                self.answer(request, self.hub_error, {}, b"trouble")
            else:
                self.hub(request)
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True

    def answer(self, request, status, headers, body=b""):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if "Content-Length" not in headers:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def refuse(self, request, status, code, message):
        headers = {"X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        self.answer(request, status, headers, message.encode())

    def find_repo(self, request, name):
        """The repository, or None after an answer that says no."""
        token = request.headers.get("Authorization", "")
        repo = self.repos.get(name)
        known = token == f"Bearer {self.token}"
        if token and not known:
            self.refuse(request, 401, None, "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and not known):
            self.refuse(request, 404 if known else 401, "RepoNotFound", "Repository not found")
        elif repo.gated is True and not known:
            self.refuse(request, 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif repo.gated == "asked" and known:
            self.refuse(request, 403, "GatedRepo", f"Your request to access model {name} is awaiting a review.")
        else:
            return repo
        return None

    def find_commit(self, request, repo, revision):
        if unquote(revision) in repo.revisions or revision == repo.commit:
            return True
        self.refuse(request, 404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return False

    def hub(self, request):
        path = urlsplit(request.path).path
        listing = re.fullmatch(r"/api/models/(.+?)/(revision|tree)/([^/]+)", path)
        file = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path)
        name = (listing or file).group(1) if listing or file else None
        if name in self.moved:
            return self.answer(request, 307, {"Location": request.path.replace(name, self.moved[name], 1)})
        if listing:
            return self.listing(request, *listing.groups())
        if file:
            return self.resolve(request, *file.groups())
        return self.refuse(request, 404, None, "no such page")

    def listing(self, request, name, kind, revision):
        repo = self.find_repo(request, name)
        if repo is None or not self.find_commit(request, repo, revision):
            return
        siblings = []
        for path, data in repo.files.items():
            entry = {"rfilename": path}
            if not self.no_sizes:
                entry |= {"size": len(data), "blobId": git_sha1(data)}
                if len(data) >= LARGE:
                    entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        if kind == "tree":  # the other form of it, with other names
            siblings = [{"type": "file", "path": e["rfilename"], "size": e["size"], "oid": e["blobId"]}
                        | ({"lfs": e["lfs"] | {"oid": e["lfs"]["sha256"]}} if "lfs" in e else {}) for e in siblings]
            return self.answer(request, 200, {"Content-Type": "application/json"}, json.dumps(siblings).encode())
        body = json.dumps({"id": name, "sha": repo.commit, "gated": bool(repo.gated), "siblings": siblings})
        self.answer(request, 200, {"Content-Type": "application/json", "X-Repo-Commit": repo.commit}, body.encode())

    def resolve(self, request, name, revision, path):
        repo = self.find_repo(request, name)
        if repo is None or not self.find_commit(request, repo, revision):
            return
        data = repo.files.get(unquote(path))
        if data is None:
            request_headers = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found",
                               "X-Repo-Commit": repo.commit}
            return self.answer(request, 404, request_headers, b"Entry not found")
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if len(data) < LARGE:
            headers["ETag"] = f'"{git_sha1(data)}"'
            return self.content(request, data, headers)
        sha = hashlib.sha256(data).hexdigest()
        headers |= {
            "X-Linked-Size": str(self.wrong_size.get(path, len(data))),
            "X-Linked-Etag": f'"{sha}"',
            "ETag": '"of-the-redirect"',
            "Location": f"{self.storage_url}/{name}/{path}?Signature={sha[:8]}&n={len(self.requests)}",
        }
        self.answer(request, 302, headers, b"Found. Redirecting to the storage")

    def storage(self, request):
        name, path = re.fullmatch(r"/(.+?/.+?)/(.+)", unquote(urlsplit(request.path).path)).groups()
        if "Authorization" in request.headers:
            return self.answer(request, 400, {}, b"a token has come here")
        with self.lock:
            expired = self.expire_times > 0
            self.expire_times -= expired
        if expired:
            return self.answer(request, 403, {}, b"signature expired")
        data = self.wrong_bytes.get(path, self.repos[name].files[path])
        self.content(request, data, {"ETag": '"storage"', "Accept-Ranges": "bytes"})

    def content(self, request, data, headers):
        given = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        begin, end, status = 0, len(data), 200
        if given and not self.no_ranges:
            begin = int(given.group(1))
            end = min(int(given.group(2)) + 1 if given.group(2) else len(data), len(data))
            if begin >= len(data):
                return self.answer(request, 416, {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
            status = 206
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(end - begin))
        request.end_headers()
        if request.command == "HEAD":
            return
        body = memoryview(data)[begin:end]
        with self.lock:
            breaks = self.break_every and len(body) > self.break_every and self.break_times > 0
            self.break_times -= bool(breaks)
        if breaks:
            body = body[: self.break_every]
            request.close_connection = True
        step = 1 << 16
        for at in range(0, len(body), step):
            request.wfile.write(body[at : at + step])
            if self.bytes_a_second:
                time.sleep(step / self.bytes_a_second)
        request.wfile.flush()


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    with Hub() as hub:
        hub.add(name, {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
        print(hub.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
