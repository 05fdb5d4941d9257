"""Replies have the wall clock's time, also after it stepped back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lockstep_store.runtime.http.date_header import DatedReplies


def dates(app: DatedReplies) -> list[str]:
    seen: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
        seen.extend(value for name, value in headers if name.lower() == "date")

    list(app({}, start_response))
    return seen


def plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


def test_the_date_follows_the_clock_forwards_and_backwards() -> None:
    """A step back shows at once; the text is exact to the second."""
    now = [784111777.9]
    app = DatedReplies(plain, lambda: now[0])
    assert dates(app) == ["Sun, 06 Nov 1994 08:49:37 GMT"]
    now[0] += 1
    assert dates(app) == ["Sun, 06 Nov 1994 08:49:38 GMT"]
    now[0] -= 3600
    assert dates(app) == ["Sun, 06 Nov 1994 07:49:38 GMT"]


def test_a_reply_with_a_date_keeps_it() -> None:
    """Nobody gets two."""

    def dated(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("date", "Sun, 06 Nov 1994 08:49:37 GMT")])
        return []

    assert dates(DatedReplies(dated, lambda: 0.0)) == ["Sun, 06 Nov 1994 08:49:37 GMT"]
