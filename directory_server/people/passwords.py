"""Password hashing: slow on purpose, a few at a time. `guessing` bounds how often somebody may try.

A hash takes 32 MiB and about a quarter of a second, so it is made outside transactions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
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
"""Of one client one: the other place and the other processor are left to everybody else."""
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


@dataclass(eq=False)
class _Place:
    client: str
    is_hashing: bool = False


class HashingSlots:
    """Lets a few hashes be made at a time, and a few more wait. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._places: list[_Place] = []
        """In the order of their arrival."""

    @contextmanager
    def one(self, address: str = "") -> Iterator[None]:
        """Hold a slot. Overloaded at once when too many wait already: each would keep a thread of the directory.

        One client gets at most half of the places, and makes one hash at a time: others need not wait for all of its
        own. Without an `address` only the total counts.
        """
        place = _Place(counted_as(address))
        with self._changed:
            own = [one for one in self._places if one.client == place.client]
            if len(self._places) >= _PLACES or (place.client and len(own) >= _PLACES // 2):
                raise Overloaded("too many people are logging in, so nothing was done; try again in a moment")
            self._places.append(place)
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._next() is place)
                place.is_hashing = True
            yield
        finally:
            with self._changed:
                self._places.remove(place)
                self._changed.notify_all()

    def _next(self) -> _Place | None:
        """The place whose hash is made next, if one can be made now."""
        hashing = [one.client for one in self._places if one.is_hashing]
        if len(hashing) >= _HASHES_AT_ONCE:
            return None
        waiting = (one for one in self._places if not one.is_hashing)
        return next((one for one in waiting if not one.client or one.client not in hashing), None)
