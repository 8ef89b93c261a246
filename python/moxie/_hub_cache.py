"""The hub's protocol, and the cache that huggingface_hub shares."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .errors import Corrupt, InvalidArgument, NotFound, ReadError, Unavailable

_PIECE = 1 << 20


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _home() -> str:
    base = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.environ.get("HF_HOME", os.path.join(base, "huggingface"))


def _cache() -> str:
    return os.environ.get("HF_HUB_CACHE") or os.path.join(_home(), "hub")


def _token() -> str:
    token = os.environ.get("HF_TOKEN", "")
    path = os.environ.get("HF_TOKEN_PATH", os.path.join(_home(), "token"))
    if not token and os.path.exists(path):
        with open_file(path) as file:
            token = file.read().decode().strip()
    return token


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def open_file(path: str) -> Any:
    import builtins

    return builtins.open(path, "rb")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts without the token."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            if urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
                made.remove_header("Authorization")
        return made


def request(url: str, *, method: str = "GET", span: Optional[Tuple[int, int]] = None) -> Tuple[Any, Dict[str, str]]:
    if _offline():
        raise Unavailable(f"{url} is wanted, but HF_HUB_OFFLINE is set")
    asked = urllib.request.Request(url, method=method, headers={"User-Agent": "moxie"})
    if _token():
        asked.add_header("Authorization", f"Bearer {_token()}")
    if span is not None:
        asked.add_header("Range", f"bytes={span[0]}-{span[1] - 1}")
    handler = _Redirects()
    try:
        answer = urllib.request.build_opener(handler).open(asked, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise Unavailable(f"{url}: the hub answers {error.code}; the model may be gated: set HF_TOKEN") from None
        if error.code == 404:
            raise NotFound(f"{url} is not there; check the model's name and the file's") from None
        raise ReadError(f"{url}: the hub answers {error.code}") from None
    except OSError as error:
        raise ReadError(f"{url}: {error}") from None
    return answer, dict(answer.headers)


def url_of(repo: str, revision: str, name: str) -> str:
    return f"{_endpoint()}/{repo}/resolve/{urllib.parse.quote(revision, safe='')}/{urllib.parse.quote(name)}"


def is_safe(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not os.path.isabs(name) and "\\" not in name and all(part not in ("", ".", "..") for part in parts)


def _repo_folder(repo: str, cache: Optional[str] = None) -> str:
    return os.path.join(cache or _cache(), "models--" + repo.replace("/", "--"))


def cached(repo: str, revision: str, name: str, cache: Optional[str] = None) -> Optional[str]:
    folder = _repo_folder(repo, cache)
    commit = revision
    ref = os.path.join(folder, "refs", revision)
    if os.path.isfile(ref):
        with open_file(ref) as file:
            commit = file.read().decode().strip()
    path = os.path.join(folder, "snapshots", commit, name)
    return path if os.path.exists(path) else None


def fetch(repo: str, revision: str, name: str, cache: Optional[str] = None) -> str:
    """The file in the cache, downloaded if it is not there yet."""
    if not is_safe(name):
        raise InvalidArgument(f"'{name}' cannot be a file of a model")
    found = cached(repo, revision, name, cache)
    if found is not None:
        return found
    url = url_of(repo, revision, name)
    answer, headers = request(url)
    with answer:
        # The hub names commit and digest before it redirects to where the bytes lie.
        named = {key.lower(): value for key, value in headers.items()}
        commit = named.get("x-repo-commit", "")
        etag = named.get("x-linked-etag", named.get("etag", "")).strip('W/"')
        if len(commit) != 40:
            head, first = _head(url)
            commit = first.get("x-repo-commit", commit)
            etag = first.get("x-linked-etag", first.get("etag", etag)).strip('W/"')
        if len(commit) != 40 or not etag.isalnum():
            raise Corrupt(f"{url}: the hub names no commit and digest for it")
        folder = _repo_folder(repo, cache)
        blob = os.path.join(folder, "blobs", etag)
        os.makedirs(os.path.dirname(blob), exist_ok=True)
        size = int(named.get("content-length", "-1"))
        if not os.path.exists(blob):
            _write_blob(answer, blob, size, etag, url)
    link = os.path.join(folder, "snapshots", commit, name)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    if not os.path.lexists(link):
        os.symlink(os.path.relpath(blob, os.path.dirname(link)), link)
    if revision != commit:
        ref = os.path.join(folder, "refs", revision)
        os.makedirs(os.path.dirname(ref), exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(ref), delete=False) as out:
            out.write(commit)
        os.replace(out.name, ref)
    return link


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _head(url: str) -> Tuple[int, Dict[str, str]]:
    asked = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "moxie"})
    if _token():
        asked.add_header("Authorization", f"Bearer {_token()}")
    try:
        answer = urllib.request.build_opener(_Stay()).open(asked, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status or 0, {key.lower(): value for key, value in answer.headers.items()}


def _write_blob(answer: Any, blob: str, size: int, etag: str, url: str) -> None:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(blob), suffix=".incomplete", delete=False) as out:
        written = 0
        while True:
            piece = answer.read(_PIECE)
            if not piece:
                break
            digest.update(piece)
            written += out.write(piece)
    if (size >= 0 and written != size) or (len(etag) == 64 and digest.hexdigest() != etag):
        os.remove(out.name)
        raise Corrupt(f"{url}: {written} bytes came, which are not the file the hub names; try again")
    os.replace(out.name, blob)


def download(
    repo_id: str, filename: Optional[str], additional_files: Sequence[str] = (), *, local_dir: Any = None, cache_dir: Any = None
) -> str:
    """The path of a model's file (or folder of safetensors) on this machine, by Llama.from_pretrained's rules."""
    cache = os.fspath(cache_dir) if cache_dir is not None else None
    names = _listing(repo_id, cache)
    patterns = [filename] if filename else ["*.safetensors", "*.json", "tokenizer.model", "*.jinja"]
    chosen = [name for name in names if any(fnmatch.fnmatch(name, one) for one in patterns)]
    if not chosen:
        raise NotFound(f"No file found in {repo_id} that match {filename}; there are {', '.join(names[:40])}")
    first = chosen[0]
    if filename:
        stems = {name.split("-00")[0] for name in chosen}
        if len(chosen) > 1 and len(stems) > 1:
            raise InvalidArgument(f"Multiple files found in {repo_id} matching {filename}: {', '.join(chosen)}")
        if "-of-" in first:
            chosen = [name for name in names if name.split("-00")[0] == first.split("-00")[0]]
    for pattern in additional_files:
        chosen += [name for name in names if fnmatch.fnmatch(name, pattern)]
    paths = {}
    for name in chosen:
        path = fetch(repo_id, "main", name, cache)
        if local_dir is not None:
            target = os.path.join(local_dir, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                os.symlink(os.path.realpath(path), target)
            path = target
        paths[name] = path
    return paths[min(chosen) if "-of-" in first else first] if filename else os.path.dirname(paths[first])


def _listing(repo: str, cache: Optional[str] = None) -> List[str]:
    if _offline():
        folder = _repo_folder(repo, cache)
        ref = os.path.join(folder, "refs", "main")
        if not os.path.exists(ref):
            raise Unavailable(f"{repo} is not in the cache, and HF_HUB_OFFLINE is set")
        with open_file(ref) as file:
            snapshot = os.path.join(folder, "snapshots", file.read().decode().strip())
        return sorted(
            os.path.relpath(os.path.join(at, name), snapshot) for at, _, names in os.walk(snapshot) for name in names
        )
    answer, _ = request(f"{_endpoint()}/api/models/{repo}/revision/main")
    with answer:
        facts = json.load(answer)
    return sorted(one["rfilename"] for one in facts.get("siblings", []))
