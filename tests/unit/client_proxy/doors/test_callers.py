"""Credentials in headers: what can be one, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.doors import callers as module
from client_proxy.doors.callers import MAX_CREDENTIAL_BYTES, Callers, check_credential
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import WHO_AM_I, AccountInfo
from lockstep_store.wire.messages.s3_access import OWN_PREFIXES
from tests.fakes.clock import ManualClock

KEY = "lsk_key"


class Directory:
    """Knows one key, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def call(self, call: Any, request: CredentialRequest) -> AccountInfo:
        assert call is WHO_AM_I
        self.asked += 1
        if request.credential != KEY:
            raise NotLoggedIn("the token or API key is not valid")
        return AccountInfo("ann", False, 0.0)


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.mark.parametrize("text", ["k", KEY, "x" * MAX_CREDENTIAL_BYTES])
def test_a_credential_stays_as_it_is(text: str) -> None:
    assert check_credential(text) == text


@pytest.mark.parametrize("text", [*(f"{prefix}{{}}" for prefix in OWN_PREFIXES), "x" * (MAX_CREDENTIAL_BYTES + 1), "é"])
def test_what_cannot_be_a_credential_is_refused(text: str) -> None:
    """What only a door may send, what is too long, and what no header can have."""
    with pytest.raises(NotLoggedIn):
        check_credential(text)


def test_a_caller_is_remembered_for_a_while(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a hash, in which the credential does not show."""
    clock = ManualClock()
    monkeypatch.setattr(module, "time", clock)
    callers = Callers(directory)  # type: ignore[arg-type]
    account, name = callers.identify(KEY)
    assert (account, KEY in name) == ("ann", False)
    assert callers.identify(KEY) == (account, name)
    assert directory.asked == 1
    clock.advance(module.KNOWN_SECONDS + 1)
    assert callers.identify(KEY) == (account, name)
    assert directory.asked == 2


def test_an_unknown_credential_is_asked_for_each_time(directory: Directory) -> None:
    """Anybody can make up as many as there is memory for."""
    callers = Callers(directory)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(NotLoggedIn):
            callers.identify("lsk_other")
    assert directory.asked == 2
