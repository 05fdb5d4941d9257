"""An authenticator app for tests."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

import pytest

from directory_server.people import totp


class Authenticator:
    """Shows the codes of a base32 secret. `wall` is the time in seconds since 1970, as the app sees it."""

    def __init__(self, secret: str, wall: Callable[[], float]) -> None:
        self.secret = base64.b32decode(secret)
        self._wall = wall

    def code(self, steps_from_now: int = 0) -> str:
        """The code that it shows, or shows so many steps later."""
        return totp.code_of(self.secret, totp.step_at(self._wall()) + steps_from_now)

    def wrong(self) -> str:
        """A code that it does not show around now."""
        shown = {self.code(away) for away in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(10)) if code not in shown)


def make_secrets_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new second factors have the same secrets in each run: of a million codes, two are equal by chance."""
    source = random.Random(1)
    monkeypatch.setattr(totp, "new_secret", lambda: source.randbytes(totp.SECRET_BYTES))
