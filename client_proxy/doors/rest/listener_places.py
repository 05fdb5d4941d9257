"""Bounds the replies that stay open for their listeners, in all and for each account: each occupies a thread."""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable

from lockstep_store.wire.errors import Overloaded, TooManyRequests


class ListenerPlaces:
    """At most `at_most` listeners, and `per_account` of one account. Thread-safe."""

    def __init__(self, at_most: int, per_account: int) -> None:
        self._at_most = at_most
        self._per_account = per_account
        self._guard = threading.Lock()
        self._taken: Counts[str] = Counts()

    def take(self, account: str) -> Callable[[], None]:
        """Take a place; return what gives it back, once only. Overloaded or TooManyRequests if there is none."""
        with self._guard:
            if self._taken[account] >= self._per_account:
                raise TooManyRequests(
                    f"{account} already listens {self._per_account} times at this proxy: close one of the listeners"
                )
            if self._taken.total() >= self._at_most:
                raise Overloaded("too many people listen at this proxy: use another one, or try again later")
            self._taken[account] += 1
        held = [account]

        def give_back() -> None:
            with self._guard:
                if held:
                    self._taken[held.pop()] -= 1
                    self._taken += Counts()  # drops accounts without places

        return give_back
