"""Bounds guessing of passwords without letting a stranger lock out the owner.

Wrong passwords count for the pair of name and address: after five, each further try waits twice as long. A second
bound for the name alone is wider and refills slowly. It stops guessing from many addresses. A stranger who exhausts
it stops only strangers: addresses from which the right password came are exempt. IPv6 addresses count by their /64.

Codes of a second factor have a narrower bound for each account, from which no address is exempt: there are only a
million codes. Only somebody who knows the password can exhaust it. Recovery codes cannot be guessed and do not count.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lockstep_store.runtime.addresses import counted_as
from lockstep_store.runtime.backoff import pause_after
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.errors import TooManyRequests

FREE_FAILURES = 5
MAX_PAUSE_SECONDS = 300.0
NAME_FAILURES = 100
"""Wrong passwords for one name from all addresses together, before it is slowed."""
NAME_REFILL_SECONDS = 36.0
"""One more try for the name: 100 an hour."""
CODE_FAILURES = 20
CODE_REFILL_SECONDS = 1800.0
"""One more code: 48 a day. With three good codes at a time, guessing for a year succeeds once in twenty accounts."""
_MAX_KNOWN = 10_000


@dataclass
class _PairFailures:
    count: int = 0
    until: float = 0.0


@dataclass
class _NameFailures:
    count: float = 0.0
    at: float = 0.0

    def now(self, now: float, refill: float = NAME_REFILL_SECONDS) -> float:
        """The failures that still count."""
        return max(0.0, self.count - (now - self.at) / refill)


class GuessingBounds:
    """In memory only: a restart resets it. `now` is any clock that only rises, in seconds. Thread-safe."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._pairs: BoundedMap[tuple[str, str], _PairFailures] = BoundedMap(_MAX_KNOWN)
        self._names: BoundedMap[str, _NameFailures] = BoundedMap(_MAX_KNOWN)
        self._good: BoundedMap[tuple[str, str], bool] = BoundedMap(_MAX_KNOWN)

    def check(self, name: str, address: str) -> None:
        """Raise TooManyRequests while that address has to wait for that name."""
        whose = _pair(name, address)
        with self._guard:
            now = self._now()
            pair = self._pairs.get(whose)
            left = pair.until - now if pair is not None else 0.0
            if left <= 0 and not self._good.get(whose):
                of_name = self._names.get(name)
                excess = of_name.now(now) - NAME_FAILURES if of_name is not None else -1.0
                left = max(left, (excess + 1) * NAME_REFILL_SECONDS if excess > -1 else 0.0)
        if left > 0:
            raise TooManyRequests(
                f"too many wrong passwords for {name!r}: try again in {left:.0f} s",
                seconds_left=round(left, 1),
                retry_after=math.ceil(left),
            )

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password."""
        whose = _pair(name, address)
        with self._guard:
            now = self._now()
            pair = self._pairs.get(whose) or _PairFailures()
            pair.count += 1
            if pair.count >= FREE_FAILURES:
                pair.until = now + pause_after(pair.count - FREE_FAILURES + 1, 1.0, MAX_PAUSE_SECONDS)
            self._pairs[whose] = pair
            of_name = self._names.get(name) or _NameFailures()
            self._names[name] = _NameFailures(of_name.now(now) + 1, now)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the pair's failures, and remember that the owner is at that address."""
        whose = _pair(name, address)
        with self._guard:
            self._pairs.forget(whose)
            self._good[whose] = True


def _pair(name: str, address: str) -> tuple[str, str]:
    """Return what failures count for: a name, and the client at an address."""
    return name, counted_as(address)


class CodeGuesses:
    """Bounds guessing of codes: `take` a guess before the code is compared, and `give_back` what was none.

    In memory only. `now` is any clock that only rises, in seconds. Thread-safe.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._names: BoundedMap[str, _NameFailures] = BoundedMap(_MAX_KNOWN)

    def take(self, name: str) -> None:
        """Count a guess in advance, so that many at once are not more. TooManyRequests when none is left."""
        with self._guard:
            now = self._now()
            known = self._names.get(name) or _NameFailures()
            count = known.now(now, CODE_REFILL_SECONDS)
            if count + 1 > CODE_FAILURES:
                left = (count + 1 - CODE_FAILURES) * CODE_REFILL_SECONDS
                raise TooManyRequests(
                    f"too many wrong codes for {name!r}: use a recovery code, or try again in {left:.0f} s; somebody "
                    "else may know the password",
                    seconds_left=round(left, 1),
                    retry_after=math.ceil(left),
                )
            self._names[name] = _NameFailures(count + 1, now)

    def give_back(self, name: str) -> None:
        """Do not count a guess that was not wrong."""
        with self._guard:
            now = self._now()
            known = self._names.get(name) or _NameFailures()
            left = known.now(now, CODE_REFILL_SECONDS) - 1
            if left > 0:
                self._names[name] = _NameFailures(left, now)
            else:
                self._names.forget(name)  # it would displace an account whose wrong codes count
