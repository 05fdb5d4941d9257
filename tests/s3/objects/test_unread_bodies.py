"""What becomes of a body that nobody wanted."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3.rig import ENDPOINT, REGION, S3Rig


def _refused(rig: S3Rig, path: str, body: BytesIO, **headers: Any) -> str:
    return _answer(rig, "PUT", path, body, **headers)


def _answer(rig: S3Rig, method: str, path: str, body: BytesIO, **headers: Any) -> str:
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": "127.0.0.1:5000",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": body,
        **headers,
    }
    answered: list[Any] = []
    b"".join(rig.s3(environ, lambda status, given: answered.append(status)))
    return str(answered[0].split()[0])


def test_a_refused_body_is_read_to_its_end(rig: S3Rig) -> None:
    """Whoever sends a body that is refused still gets the answer, and the next request on the connection is whole."""
    for path in ("/files/key", "/files/\xff", "/files/key?"):
        body = BytesIO(bytes(3_000_000))
        assert _refused(rig, path, body, CONTENT_LENGTH="3000000", HTTP_AUTHORIZATION="AWS x:y") == "400"
        assert body.tell() == 3_000_000, path


def test_a_refused_chunked_body_is_read_to_its_end(rig: S3Rig) -> None:
    """The same where HTTP does not declare the body's length."""
    body = BytesIO(bytes(3_000_000))
    assert _refused(rig, "/files/key", body, HTTP_TRANSFER_ENCODING="chunked", HTTP_AUTHORIZATION="AWS x:y") == "400"
    assert body.tell() == 3_000_000


def test_a_body_that_waits_for_leave_is_not_asked_for(rig: S3Rig) -> None:
    """With `Expect: 100-continue` a refused request is answered before a byte of its body is read."""
    body = BytesIO(bytes(3_000_000))
    headers = {"CONTENT_LENGTH": "3000000", "HTTP_EXPECT": "100-continue", "HTTP_AUTHORIZATION": "AWS x:y"}
    assert _refused(rig, "/files/key", body, **headers) == "400"
    assert body.tell() == 0


def _signed(rig: S3Rig, method: str, path: str, body: BytesIO, **headers: str) -> str:
    access, secret = rig.key()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, f"{ENDPOINT}{path}", headers=given)
    _Signer(Credentials(access, secret), "s3", REGION).add_auth(request)
    signed = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in request.headers.items()}
    return _answer(rig, method, path, body, CONTENT_LENGTH=str(len(body.getbuffer())), **signed)


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


def test_a_body_where_none_belongs_is_read_too(rig: S3Rig) -> None:
    """A listing asked for with a body is answered, and its connection can go on."""
    body = BytesIO(bytes(3_000_000))
    assert _signed(rig, "GET", "/files", body) == "200"
    assert body.tell() == 3_000_000


def test_the_directory_is_asked_before_a_large_body(rig: S3Rig, s3: Any) -> None:
    """No such bucket, a condition that does not hold, a lock: told before a byte of the waiting body is asked for."""
    s3.put_object(Bucket="files", Key="there", Body=b"content")
    rig.cluster.ask("POST", "/locks", b'{"bucket": "files", "paths": ["locked"]}')
    for path, headers, status in (
        ("/no-such-bucket/key", {}, "404"),
        ("/files/there", {"If_None_Match": "*"}, "412"),
        ("/files/locked", {}, "409"),
    ):
        body = BytesIO(bytes(3_000_000))
        assert _signed(rig, "PUT", path, body, Expect="100-continue", **headers) == status
        assert body.tell() == 0, path
    body = BytesIO(bytes(3_000_000))
    assert _signed(rig, "PUT", "/files/welcome", body, Expect="100-continue") == "200"
    assert body.tell() == 3_000_000
