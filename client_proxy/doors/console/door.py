"""The console's page: the files that a build left in a folder, and until then a page that says how far it is.

The page is one document for every address below `/console/`, because its own script shows the place in the address.
The files are read anew for each request: the build may end while the proxy runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from client_proxy.doors.console.build_state import BUILDING, waiting_page
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse
from lockstep_store.runtime.http.unread_body import DrainableRequest

HOME = "/console/"
_ASSETS = "/console/assets/"
_WORKER = "worker-"
_ASSET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
"""For the worker that hashes uploads with WebAssembly. It has no document, and the page itself keeps its policy."""
_SAFE: tuple[tuple[str, str], ...] = (
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_ALWAYS_ASK = "no-cache"
_NEVER_CHANGES = "public, max-age=31536000, immutable"


class ConsoleDoor:
    """A WSGI application for `/` and `/console`. `folder` is the build's: `index.html`, `assets/`, or its state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reply = self._reply(environ)
        start_response(f"{reply.status} -", reply.headers)
        DrainableRequest(environ).drain()
        return [] if environ["REQUEST_METHOD"] == "HEAD" else reply.body

    def _reply(self, environ: Environ) -> RawReply:
        path: str = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(405, "The console's pages can only be read.", [("Allow", "GET, HEAD")])
        if path in ("/", "/console"):
            # Program and browser get different replies at `/`, so no cache may keep this one.
            return RawReply(302, [("Location", HOME), ("Cache-Control", "no-store"), ("Content-Length", "0")], [])
        if not path.startswith(_ASSETS):
            return self._page(environ)
        name = path[len(_ASSETS) :]
        kind = _TYPES.get(Path(name).suffix)
        if kind is None or not _ASSET_NAME.fullmatch(name):
            return _text(404, "The console has no such file.")
        policy = WORKER_POLICY if name.startswith(_WORKER) else PAGE_POLICY
        return self._file(environ, Path("assets") / name, kind, _NEVER_CHANGES, policy)

    def _page(self, environ: Environ) -> RawReply:
        if (self._folder / "index.html").is_file():
            return self._file(environ, Path("index.html"), "text/html; charset=utf-8", _ALWAYS_ASK)
        state, page = waiting_page(self._folder, environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        more = [("Retry-After", "2"), ("Refresh", "2")] if state == BUILDING else []
        return _bytes(503, page, "text/html; charset=utf-8", [("Cache-Control", "no-store"), *more])

    def _file(self, environ: Environ, path: Path, kind: str, caching: str, policy: str = PAGE_POLICY) -> RawReply:
        packed = path.with_name(path.name + ".gz")
        headers = [("Cache-Control", caching), ("Vary", "Accept-Encoding")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and (self._folder / packed).is_file():
            path, headers = packed, [*headers, ("Content-Encoding", "gzip")]
        try:
            content = (self._folder / path).read_bytes()
        except OSError:
            return _text(404, "The console has no such file. It may have been built again: reload the page.")
        return _bytes(200, content, kind, headers, policy)


def _text(status: int, sentence: str, headers: list[tuple[str, str]] | None = None) -> RawReply:
    return _bytes(status, f"{sentence}\n".encode(), "text/plain; charset=utf-8", headers or [])


def _bytes(status: int, body: bytes, kind: str, headers: list[tuple[str, str]], policy: str = PAGE_POLICY) -> RawReply:
    about = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Content-Security-Policy", policy)]
    return RawReply(status, [*about, *_SAFE, *headers], [body])
