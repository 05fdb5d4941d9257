"""Passwords: hashes them slowly, and delays tries after too many wrong ones.

Hashing takes 32 MiB and most of a tenth of a second on purpose, so it happens outside transactions, a few at a time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lockstep_store.runtime.backoff import pause_after
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.errors import Overloaded, TooManyRequests

SCRYPT_LOG_N = 15
_SCRYPT_R, _SCRYPT_P = 8, 1
_HASHES_AT_ONCE = 2
_WAIT_SECONDS = 10.0

FREE_FAILURES = 5
MAX_PAUSE_SECONDS = 300.0
_MAX_NAMES = 10_000


@dataclass(frozen=True)
class PasswordHash:
    """scrypt (RFC 7914) with N = 2**log_n, r = 8, p = 1."""

    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    log_n: int = SCRYPT_LOG_N

    @classmethod
    def of(cls, password: str, log_n: int = SCRYPT_LOG_N) -> PasswordHash:
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt, log_n), log_n)

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.hash, _scrypt(password, self.salt, self.log_n))


# Compared with when a name is unknown, so that the response time does not reveal which names exist.
NOBODY = PasswordHash(bytes(16), bytes(32))


def _scrypt(password: str, salt: bytes, log_n: int) -> bytes:
    memory = 128 * _SCRYPT_R * 2**log_n
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=2**log_n,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        maxmem=memory + (1 << 20),
        dklen=32,
    )


@dataclass
class _Failures:
    count: int = 0
    until: float = 0.0


class Throttle:
    """Runs a few hashes at a time; after five wrong passwords for a name, each further try waits twice as long.

    In memory only: a restart resets it. `now` is any clock that only rises, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._slots = threading.BoundedSemaphore(_HASHES_AT_ONCE)
        self._guard = threading.Lock()
        self._failures: BoundedMap[str, _Failures] = BoundedMap(_MAX_NAMES)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Guard one password check. Raises TooManyRequests while `name` has to wait, Overloaded under load."""
        self._refuse_early(name)
        if not self._slots.acquire(timeout=_WAIT_SECONDS):
            raise Overloaded("too many people are logging in; try again in a moment")
        try:
            self._refuse_early(name)  # others may have failed for this name while this one waited
            yield
        finally:
            self._slots.release()

    def failed(self, name: str) -> None:
        """Count a wrong password."""
        with self._guard:
            entry = self._failures.get(name) or _Failures()
            entry.count += 1
            if entry.count >= FREE_FAILURES:
                entry.until = self._now() + pause_after(entry.count - FREE_FAILURES + 1, 1.0, MAX_PAUSE_SECONDS)
            self._failures[name] = entry

    def succeeded(self, name: str) -> None:
        """Forget the failures."""
        self._failures.forget(name)

    def _refuse_early(self, name: str) -> None:
        with self._guard:
            entry = self._failures.get(name)
            left = entry.until - self._now() if entry is not None else 0.0
        if left > 0:
            raise TooManyRequests(
                f"too many wrong passwords for {name!r}: try again in {left:.0f} s", seconds_left=round(left, 1)
            )
