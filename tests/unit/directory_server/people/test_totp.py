"""Codes of authenticator apps are those of RFC 4226 and RFC 6238."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from directory_server.people import totp

SECRET = b"12345678901234567890"
COUNTER_CODES = (755224, 287082, 359152, 969429, 338314, 254676, 287922, 162583, 399871, 520489)
"""RFC 4226, appendix D."""
TIME_CODES = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
"""RFC 6238, appendix B, with SHA-1: seconds since 1970, and the code of eight digits."""


@pytest.mark.parametrize(("counter", "code"), list(enumerate(COUNTER_CODES)))
def test_codes_by_counter(counter: int, code: int) -> None:
    """The values that RFC 4226 prints."""
    assert totp.code_of(SECRET, counter) == f"{code:06}"


@pytest.mark.parametrize(("at", "code"), list(TIME_CODES.items()))
def test_codes_by_time(at: int, code: str) -> None:
    """The values that RFC 6238 prints; apps show their last six digits, leading zeros too."""
    assert totp.code_of(SECRET, totp.step_at(at), 8) == code
    assert totp.code_of(SECRET, totp.step_at(at)) == code[2:]


def test_the_step_before_and_the_step_after_are_good() -> None:
    """No other: the code of each of five steps is found at its own step only, and not beyond the window."""
    now = totp.step_at(1111111109.0)
    found = [totp.steps_of(SECRET, totp.code_of(SECRET, now + away), now) for away in range(-2, 3)]
    assert found == [[], [now - 1], [now], [now + 1], []]
    assert totp.steps_of(SECRET, totp.code_of(SECRET, 0), 0) == [0], "nor is there a step before the first"


def test_secrets_are_as_long_as_the_hash() -> None:
    """And never the same."""
    first, second = totp.new_secret(), totp.new_secret()
    assert (len(first), first != second) == (20, True)


@pytest.mark.parametrize("name", ["ann", "jürgen von der heide", "a&b?c=d/e:f%"])
def test_apps_read_the_address(name: str) -> None:
    """The name may have any character; the secret is base32 without padding."""
    address = urlsplit(totp.otpauth_uri(SECRET, name))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert unquote(address.path) == f"/Lockstep:{name}"
    given = parse_qs(address.query)
    assert given == {"secret": [totp.base32_text(SECRET)], "issuer": ["Lockstep"]}
    assert base64.b32decode(given["secret"][0]) == SECRET
