"""Time-based one-time passwords (RFC 6238), as authenticator apps make them: SHA-1, six digits, 30 seconds.

No library: it is one HMAC, and a library would not say which step a code belongs to, without which no code can be
refused the second time.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import quote

STEP_SECONDS = 30
DIGITS = 6
WINDOW = 1
"""Codes of so many steps before and after the present one are good: clocks differ, and people type slowly."""
SECRET_BYTES = 20
_ISSUER = "Lockstep"


def new_secret() -> bytes:
    """As long as the hash, as RFC 4226 recommends."""
    return secrets.token_bytes(SECRET_BYTES)


def step_at(wall: float) -> int:
    """The number of the time step at that wall time, in seconds since 1970."""
    return int(wall // STEP_SECONDS)


def code_of(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a step (RFC 4226, section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def steps_of(secret: bytes, code: str, now: int) -> list[int]:
    """The steps around `now` whose code it is: almost always none or one."""
    steps = range(max(0, now - WINDOW), now + WINDOW + 1)
    return [step for step in steps if hmac.compare_digest(code_of(secret, step).encode(), code.encode())]


def base32_text(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, account: str) -> str:
    """The address that apps read from a QR code. SHA-1, six digits and 30 seconds are every app's default."""
    return f"otpauth://totp/{_ISSUER}:{quote(account, safe='')}?secret={base32_text(secret)}&issuer={_ISSUER}"
