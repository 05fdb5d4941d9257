"""Password hashing: slow on purpose, a few at a time. `guessing` bounds how often somebody may try.

A hash takes 32 MiB and about a quarter of a second, so it is made outside transactions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lockstep_store.runtime.addresses import counted_as
from lockstep_store.wire.errors import Overloaded

SCRYPT_LOG_N, SCRYPT_P = 15, 3
"""OWASP's scrypt setting that takes the least memory."""
CURRENT = (SCRYPT_LOG_N, SCRYPT_P)
"""Hashes made with a weaker setting are replaced at log-in."""
_SCRYPT_R = 8
_HASHES_AT_ONCE = 2
_IN_LINE = 8
"""They wait for about a second, less than a proxy waits for the reply."""
_PLACES = _HASHES_AT_ONCE + _IN_LINE


@dataclass(frozen=True)
class PasswordHash:
    """scrypt (RFC 7914) with N = 2**log_n, r = 8, p."""

    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    log_n: int = SCRYPT_LOG_N
    p: int = SCRYPT_P

    @classmethod
    def of(cls, password: str, log_n: int = SCRYPT_LOG_N, p: int = SCRYPT_P) -> PasswordHash:
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt, log_n, p), log_n, p)

    @property
    def is_current(self) -> bool:
        """Whether it is at least as slow to guess as today's setting."""
        return (self.log_n, self.p) >= CURRENT

    def matches(self, password: str) -> bool:
        found = _scrypt(password, self.salt, self.log_n, self.p)
        return hmac.compare_digest(self.hash, found)


# Compared with when a name is unknown, so that the response time does not reveal which names exist.
NOBODY = PasswordHash(bytes(16), bytes(32))
NO_PASSWORD = PasswordHash(bytes(16), b"")
"""Of an account that logs in by single sign-on only: no hash has its length, so nothing matches it."""


def _scrypt(password: str, salt: bytes, log_n: int, p: int) -> bytes:
    memory = 128 * _SCRYPT_R * 2**log_n
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=2**log_n,
        r=_SCRYPT_R,
        p=p,
        maxmem=memory + (1 << 20),
        dklen=32,
    )


class HashingSlots:
    """Lets a few hashes be made at a time, and a few more wait. Thread-safe."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(_HASHES_AT_ONCE)
        self._guard = threading.Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str = "") -> Iterator[None]:
        """Hold a slot. Overloaded at once when too many wait already: each would keep a thread of the directory.

        One client gets at most half of the places. Without an `address` only the total counts.
        """
        client = counted_as(address)
        self._enter(client)
        try:
            with self._slots:
                yield
        finally:
            with self._guard:
                self._taken[client] -= 1
                if not self._taken[client]:
                    del self._taken[client]

    def _enter(self, client: str) -> None:
        with self._guard:
            if self._taken.total() >= _PLACES or (client and self._taken[client] >= _PLACES // 2):
                raise Overloaded("too many people are logging in, so nothing was done; try again in a moment")
            self._taken[client] += 1
