"""Replies of an application that another one in front of it reads to the end, and changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lockstep_store.runtime.http.api import Environ, Wsgi

Headers = list[tuple[str, str]]


def whole_reply(inner: Wsgi, environ: Environ) -> tuple[str, Headers, bytes]:
    """The status, the headers and the whole body of the reply."""
    begun: list[tuple[str, Headers]] = []

    def start(status: str, headers: Headers, *_: Any) -> None:
        begun[:] = [(status, headers)]

    body = read_all(inner(environ, start))
    return *begun[0], body


def read_all(pieces: Iterable[bytes]) -> bytes:
    """The whole body, which is closed."""
    try:
        return b"".join(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def with_length_of(body: bytes, headers: Headers) -> Headers:
    """The headers, with the length of another body."""
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    return [*kept, ("Content-Length", str(len(body)))]
