"""A proxy's doors: which request comes to which, and how each is told that there is no room."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pytest

from client_proxy.doors.dispatch import Doors
from lockstep_store.runtime.http.admission import Admission, AdmissionGate
from lockstep_store.wire.errors import Overloaded
from tests.s3.rig import DOMAIN, S3Rig


def api(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 -", [])
    return [b"the API"]


def ask(app: Any, path: str, host: str = "h:5000") -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": host,
        "REMOTE_ADDR": "::1",
    }
    environ |= {"wsgi.input": BytesIO(b"")}
    answered: list[Any] = []
    body = b"".join(app(environ, lambda status, headers: answered.extend((status, dict(headers)))))
    return answered[0], answered[1], body


@pytest.mark.parametrize(
    ("path", "host", "is_api"),
    [
        ("/api/v1/health", "h:5000", True),
        ("/metrics", "h:5000", True),
        ("/health", "h:5000", True),
        ("/", "h:5000", False),
        ("/apis/x", "h:5000", False),
        ("/bucket/api/v1", "h:5000", False),
        ("/api/v1/x", f"bucket.{DOMAIN}:5000", False),
        ("/api/v1/x", f"{DOMAIN}:5000", True),
    ],
)
def test_the_first_part_of_an_address_tells_the_door(rig: S3Rig, path: str, host: str, is_api: bool) -> None:
    """The API has its own names at the root; everything else, and every bucket's own host, is S3's."""
    _, _, body = ask(Doors(api, rig.s3, DOMAIN), path, host)
    assert (body == b"the API") == is_api


def test_no_room_is_told_in_the_doors_own_words(rig: S3Rig) -> None:
    """An S3 client reads SlowDown, any other a problem; both are told when to come back."""
    doors = Doors(api, rig.s3, DOMAIN)
    full = AdmissionGate(doors, Admission(0, 0), lambda _: True, lambda _: "somebody", doors.turn_away)
    for path, expected in (("/bucket/key", b"<Code>SlowDown</Code>"), ("/api/v1/files", b'"code":"overloaded"')):
        status, headers, body = ask(full, path)
        assert status.startswith("503")
        assert expected in body
        assert headers["Retry-After"] == "1"


def test_overload_inside_is_slow_down_too(rig: S3Rig) -> None:
    """Whatever queue is full behind the door, the client learns to come back later."""
    _, _, body = ask(lambda e, s: rig.s3.turn_away(Overloaded("full"), e, s), "/bucket/key")
    assert b"<Code>SlowDown</Code>" in body
