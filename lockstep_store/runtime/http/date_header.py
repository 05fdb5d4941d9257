"""The Date header of replies. Granian adds one only to a reply that has none, and its own stands still after a step of
the clock backwards, for as long as the step (hyper renews its text only when the clock has passed the last one).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

Headers = list[tuple[str, str]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class DatedReplies:
    """A WSGI application whose replies have the present time. Thread-safe."""

    def __init__(self, wsgi: Wsgi, wall: Callable[[], float] = time.time) -> None:
        self._wsgi = wsgi
        self._wall = wall
        self._text = (0, "")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *rest: Any) -> Any:
            if not any(name.lower() == "date" for name, _ in headers):
                headers = [*headers, ("Date", self.now())]
            return start_response(status, headers, *rest)

        return self._wsgi(environ, start)

    def now(self) -> str:
        """The wall clock's time as HTTP writes it; made anew once a second."""
        second, text = self._text
        now = int(self._wall())
        if now != second:
            text = formatdate(now, usegmt=True)
            self._text = (now, text)
        return text
