"""Errors say the same at every door: their headers, and nothing of a defect but where the log has it."""

from __future__ import annotations

import logging

import pytest

from client_proxy.doors.refusals import error_headers, shown_error
from lockstep_store.wire.errors import (
    InternalError,
    Locked,
    LockstepError,
    NotFound,
    NotLoggedIn,
    RangeNotSatisfiable,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (NotFound("no such file"), []),
        (Unavailable("later"), [("Retry-After", "1")]),
        (Unavailable("later", retry_after=2.6), [("Retry-After", "3")]),
        (Unavailable("later", retry_after="soon"), [("Retry-After", "1")]),
        (NotLoggedIn("log in"), [("WWW-Authenticate", "Basic")]),
        (RangeNotSatisfiable("too short", size=5), [("Content-Range", "bytes */5")]),
        (Locked("locked", holder="anna"), [("X-Lockstep-Lock-Holder", "anna")]),
        (Locked("locked"), []),
    ],
)
def test_headers_say_what_to_do(error: LockstepError, headers: list[tuple[str, str]]) -> None:
    assert error_headers(error, "Basic") == headers


def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        shown = shown_error(ValueError("a secret"), "the cellar door")
    assert isinstance(shown, InternalError)
    assert "secret" not in str(shown)
    assert "the cellar door" in caplog.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize(("error", "logged"), [(Unavailable("no file server"), True), (NotFound("no file"), False)])
def test_failures_of_the_cluster_are_logged(
    caplog: pytest.LogCaptureFixture, error: LockstepError, logged: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        assert shown_error(error, "the cellar door") is error
    assert (str(error) in caplog.text) is logged
