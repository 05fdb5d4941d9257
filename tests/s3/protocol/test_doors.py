"""A proxy's doors: which door answers a request, how each rejects one for overload, and how answers are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import pytest

from client_proxy.doors.dispatch import Doors
from client_proxy.metrics import ANSWERED_BYTES, RECEIVED_BYTES
from lockstep_store.runtime.http.admission import Admission, AdmissionGate
from lockstep_store.wire.errors import Overloaded
from tests.s3.rig import DOMAIN, S3Rig


def api(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 -", [])
    return [b"the API"]


class Stream:
    """A streamed body of three pieces, which remembers that it was closed."""

    def __init__(self) -> None:
        self.pieces = iter([b"one", b"two", b"three"])
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces

    def close(self) -> None:
        self.closed = True


def answered_bytes() -> float:
    return ANSWERED_BYTES._value.get()


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
def test_the_first_part_of_an_address_selects_the_door(rig: S3Rig, path: str, host: str, is_api: bool) -> None:
    """The API has reserved names at the root; every other path, and every virtual host, is S3's."""
    _, _, body = ask(Doors(api, rig.s3, rig.shares, DOMAIN), path, host)
    assert (body == b"the API") == is_api


def test_overload_is_reported_in_the_doors_own_format(rig: S3Rig) -> None:
    """S3 replies SlowDown, the API a problem; both say when to try again."""
    doors = Doors(api, rig.s3, rig.shares, DOMAIN)
    full = AdmissionGate(doors, Admission(0, 0), lambda _: True, lambda _: "somebody", doors.turn_away)
    for path, expected in (("/bucket/key", b"<Code>SlowDown</Code>"), ("/api/v1/files", b'"code":"overloaded"')):
        status, headers, body = ask(full, path)
        assert status.startswith("503")
        assert expected in body
        assert headers["Retry-After"] == "1"


def test_overload_inside_is_slow_down_too(rig: S3Rig) -> None:
    """A full queue behind the door also makes S3 reply SlowDown."""
    _, _, body = ask(lambda e, s: rig.s3.turn_away(Overloaded("full"), e, s), "/bucket/key")
    assert b"<Code>SlowDown</Code>" in body


@pytest.mark.parametrize(("path", "host"), [("/bucket/key", "h:5000"), ("/api/v1/x", "h:5000")])
def test_answers_of_every_door_are_counted_once(rig: S3Rig, path: str, host: str) -> None:
    """Whole answers and rejections count as they are, through either door."""
    doors = Doors(api, rig.s3, rig.shares, DOMAIN)
    before = answered_bytes()
    _, _, body = ask(doors, path, host)
    assert len(body) > 0
    assert answered_bytes() - before == len(body)
    _, _, rejection = ask(lambda e, s: doors.turn_away(Overloaded("full"), e, s), path, host)
    assert answered_bytes() - before == len(body) + len(rejection)


def test_a_large_objects_bytes_are_counted(rig: S3Rig) -> None:
    """Each byte of an uploaded and of a streamed object counts once."""
    s3 = rig.client()
    s3.create_bucket(Bucket="counted")
    data = bytes(range(256)) * (20 * 1024)
    received_before = RECEIVED_BYTES._value.get()
    s3.put_object(Bucket="counted", Key="k", Body=data)
    assert RECEIVED_BYTES._value.get() - received_before >= len(data)
    before = answered_bytes()
    assert s3.get_object(Bucket="counted", Key="k")["Body"].read() == data
    assert answered_bytes() - before == len(data)


def test_a_streamed_answer_counts_what_was_sent(rig: S3Rig) -> None:
    """What the client did not take is not counted, and closing the answer closes the body."""
    stream = Stream()

    def streaming(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 -", [])
        return stream

    answer = Doors(streaming, rig.s3, rig.shares)({"PATH_INFO": "/api/v1/x"}, lambda *_: None)
    before = answered_bytes()
    assert next(iter(answer)) == b"one"
    assert answered_bytes() - before == 3
    answer.close()  # type: ignore[attr-defined]
    assert stream.closed
