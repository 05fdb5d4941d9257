"""Replies that are read to the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client_proxy.doors.whole_replies import read_all, whole_reply, with_length_of
from tests.fakes.wsgi import request_environ


class Body:
    """A streamed body, which may break."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces, self._breaks = pieces, breaks
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._breaks:
            raise RuntimeError("the content is gone")

    def close(self) -> None:
        self.closed = True


def test_a_reply_is_whole_and_closed() -> None:
    body = Body(b"one", b"two")

    def inner(environ: dict[str, Any], start: Any) -> Body:
        start("201 -", [("X-From", environ["PATH_INFO"])])
        return body

    assert whole_reply(inner, request_environ("GET", "/there")) == ("201 -", [("X-From", "/there")], b"onetwo")
    assert body.closed


def test_a_body_that_breaks_is_closed_too() -> None:
    body = Body(b"one", breaks=True)
    with pytest.raises(RuntimeError):
        read_all(body)
    assert body.closed


def test_another_body_has_another_length() -> None:
    """Whatever the case of the header's name."""
    headers = [("content-length", "3"), ("Content-Type", "text/plain")]
    assert with_length_of(b"longer", headers) == [("Content-Type", "text/plain"), ("Content-Length", "6")]
