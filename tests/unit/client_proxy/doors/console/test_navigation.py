"""Which requests are for the console, and which for a program at the same address."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from client_proxy.doors.dispatch import Doors
from tests.fakes.wsgi import Answer, ask

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Dest": "document"}
OLD_BROWSER = {"Accept": "text/html,*/*;q=0.8"}
Door = Callable[[dict[str, Any], Any], Iterable[bytes]]


def named(name: bytes) -> Door:
    def door(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 -", [])
        return [name]

    return door


def made(**more: Any) -> Doors:
    return Doors(named(b"API"), named(b"S3"), named(b"shares"), "s3.example.org", **more)  # type: ignore[arg-type]


@pytest.fixture
def doors() -> Any:
    return made(console=named(b"console"))


def get(doors: Any, target: str, **headers: str) -> Answer:
    return ask(doors, "GET", target, headers=headers)


@pytest.mark.parametrize("headers", [BROWSER, OLD_BROWSER])
def test_a_browser_at_the_root_gets_the_console(doors: Any, headers: dict[str, str]) -> None:
    """It accepts HTML, and its request is not signed."""
    assert get(doors, "/", **headers).body == b"console"
    assert ask(doors, "HEAD", "/", headers=headers).body == b"console"


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/", {}),
        ("/", {"Accept": "*/*"}),
        ("/", {**BROWSER, "Authorization": "AWS4-HMAC-SHA256 Credential=…"}),
        ("/", {**BROWSER, "X-Api-Key": "lsk_1"}),
        ("/?X-Amz-Signature=1", BROWSER),
        ("/", {**BROWSER, "Host": "bucket.s3.example.org"}),
        ("/bucket", BROWSER),
        ("/consoles/x", BROWSER),
        ("/console/x", {**BROWSER, "Host": "bucket.s3.example.org"}),
    ],
)
def test_programs_and_other_addresses_get_s3(doors: Any, target: str, headers: dict[str, str]) -> None:
    """A signed request, one with arguments, and one that does not ask for HTML are S3's, as ever."""
    assert get(doors, target, **headers).body == b"S3"


@pytest.mark.parametrize("target", ["/console", "/console/", "/console/locks", "/console/assets/a.js"])
def test_the_consoles_addresses_are_its_own(doors: Any, target: str) -> None:
    """Whoever asks."""
    assert get(doors, target).body == b"console"
    assert get(made(), target).body == b"API"
