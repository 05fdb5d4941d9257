"""A download in progress ends soon after its link has."""

from __future__ import annotations

import pytest

from client_proxy.doors.shares.files import CHECK_SECONDS, WatchedBody
from lockstep_store.wire.errors import NotLoggedIn


class Watched:
    """A body of three pieces on a clock that is moved by hand, with a link that ends when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ended = False
        self.checks = 0
        self.closed = False
        self.body = WatchedBody(self._pieces(), self._check, lambda: self.now)

    def _pieces(self):  # type: ignore[no-untyped-def]
        try:
            yield from (b"1", b"2", b"3")
        finally:
            self.closed = True

    def _check(self) -> None:
        self.checks += 1
        if self.ended:
            raise NotLoggedIn("this link has ended")


def test_a_download_ends_with_its_link() -> None:
    """With an error, so that what was sent does not look whole."""
    watched = Watched()
    assert next(watched.body) == b"1"
    watched.ended = True
    watched.now += CHECK_SECONDS
    with pytest.raises(NotLoggedIn):
        next(watched.body)
    watched.body.close()
    assert watched.closed


def test_a_fast_download_asks_seldom() -> None:
    """Once in a while, not for each piece."""
    watched = Watched()
    assert b"".join(watched.body) == b"123"
    assert watched.checks == 0
    slow = Watched()
    for _ in range(3):
        slow.now += CHECK_SECONDS
        next(slow.body)
    assert slow.checks == 3
