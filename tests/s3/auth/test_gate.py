"""One gate in front of every handler: each operation, asked for with each form of proof, right and wrong."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from io import BytesIO
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from client_proxy.doors.s3.auth.gate import Gate
from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.door import S3Door
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.s3 import S3Proof, SigningKeyReply, SigningKeyRequest, signing_key

NOW = datetime.datetime(2026, 11, 21, 12, 0, 0)
SECONDS = NOW.replace(tzinfo=datetime.UTC).timestamp()
KEYS = {"AKID": "secret", "OTHER": "another secret"}
TOKENS = {"lsk_key": "ann", "lst_token": "ben"}
OPERATIONS = sorted(operations().values(), key=lambda one: one.name)


class Door:
    """A door whose handlers note that they were reached, and by whom."""

    def __init__(self) -> None:
        self.now = SECONDS
        self.reached: list[S3Call] = []
        gate = Gate(self._key, self._caller, lambda: self.now, lambda: 0.0)
        self.door = S3Door(gate, {one.name: self._handle for one in OPERATIONS}, proxy_id="1")

    def _key(self, request: SigningKeyRequest) -> SigningKeyReply:
        if request.access_key_id not in KEYS:
            raise NotLoggedIn("there is no such key")
        key = signing_key(KEYS[request.access_key_id], request.date, request.region)
        return SigningKeyReply(key.hex(), request.access_key_id.lower())

    def _caller(self, credential: str) -> tuple[str, str]:
        if credential not in TOKENS:
            raise NotLoggedIn("the token or API key is not valid")
        return TOKENS[credential], "hashed"

    def _handle(self, call: S3Call) -> dict[str, Any]:
        self.reached.append(call)
        return {}

    def ask(self, request: AWSRequest) -> tuple[int, bytes]:
        """The status and body of the answer."""
        parts = urlsplit(request.url)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "HTTP_HOST": parts.netloc,
            "CONTENT_LENGTH": "0",
            "wsgi.input": BytesIO(b""),
        }
        for name, value in request.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = str(value)
        answered: list[Any] = []
        body = b"".join(self.door(environ, lambda status, headers: answered.append(status)))
        return int(answered[0].split()[0]), body


@pytest.fixture
def door() -> Door:
    return Door()


def unsigned(operation: S3Operation) -> AWSRequest:
    """The smallest request that means `operation`."""
    path = {"service": "/", "bucket": "/bucket", "key": "/bucket/key"}[operation.level]
    arguments = [f"{name}={value}" if value else name for name, value in operation.query]
    arguments += [f"{name}=1" for place, name in sorted(operation.needs) if place == "querystring"]
    headers = {name: "/b/k" for place, name in operation.needs if place == "header"}
    query = "?" + "&".join(arguments) if arguments else ""
    return AWSRequest(method=operation.method, url=f"https://host:5000{path}{query}", headers=headers)


def by_header(operation: S3Operation, access: str = "AKID", secret: str = "secret", region: str = "eu") -> AWSRequest:
    request = unsigned(operation)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        botocore.auth.S3SigV4Auth(Credentials(access, secret), "s3", region).add_auth(request)
    return request


def by_query(operation: S3Operation, access: str = "AKID", secret: str = "secret", region: str = "eu") -> AWSRequest:
    request = unsigned(operation)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        botocore.auth.S3SigV4QueryAuth(Credentials(access, secret), "s3", region, 60).add_auth(request)
    return request


FORMS: dict[str, Callable[..., AWSRequest]] = {"header": by_header, "query": by_query}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_a_good_signature_gets_to_the_gate_and_through(door: Door, operation: S3Operation, form: str) -> None:
    """Whoever proves a key passes; a request that then lacks a parameter is told so, never let in as somebody else."""
    status, body = door.ask(FORMS[form](operation))
    if door.reached:
        assert door.reached[0].operation.name == operation.name
        assert door.reached[0].principal.account == "akid"
        proof = S3Proof.decode(door.reached[0].principal.credential)
        assert proof is not None
        assert proof.is_made_with(signing_key("secret", "20261121", "eu"))
    else:
        assert status == 400, body
        assert operation.payload or any(member.required for member in operation.input), body


def forged(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    return FORMS[form](operation, secret="guessed")


def foreign(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    return FORMS[form](operation, access="STRANGER")


def swapped(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    """Signed with one's own secret in another's name."""
    return FORMS[form](operation, access="AKID", secret=KEYS["OTHER"])


def expired(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    door.now += 901.0
    return FORMS[form](operation)


def altered(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    request = FORMS[form](operation)
    parts = urlsplit(request.url)
    request.url = parts._replace(path=parts.path + "x").geturl()
    return request


def redirected(door: Door, operation: S3Operation, form: str) -> AWSRequest:
    """Taken to another host."""
    request = FORMS[form](operation)
    request.url = request.url.replace("host:5000", "elsewhere:5000")
    return request


WRONG = [forged, foreign, swapped, expired, altered, redirected]
CODES = (b"SignatureDoesNotMatch", b"InvalidAccessKeyId", b"RequestTimeTooSkewed", b"AccessDenied")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda one: one.__name__)
def test_a_wrong_proof_gets_to_no_handler(wrong: Any, form: str) -> None:
    """For every operation: forged, foreign, in another's name, too late, altered, taken elsewhere."""
    for operation in OPERATIONS:
        door = Door()
        status, body = door.ask(wrong(door, operation, form))
        assert not door.reached, f"{operation.name} was reached"
        if wrong is altered and operation.level == "service":
            continue  # then it is another operation's address
        assert status == 403, (operation.name, status, body)
        if operation.method != "HEAD":
            assert any(b"<Code>" + code + b"</Code>" in body for code in CODES), body


def test_who_shows_nothing_is_nobody(door: Door) -> None:
    """An anonymous request comes through as nobody's; what nobody may do is the directory's to say."""
    by_name = operations()
    door.ask(unsigned(by_name["GetObject"]))
    assert door.reached[0].principal.anonymous
    assert door.reached[0].principal.credential == ""


def shows(operation: S3Operation, **headers: str) -> AWSRequest:
    """An unsigned request with these headers."""
    request = unsigned(operation)
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_an_api_key_or_a_token_stands_for_a_signature(door: Door, operation: S3Operation) -> None:
    """Every operation may have one in a header; it goes to the directory as it came."""
    for headers, account in (({"X_Api_Key": "lsk_key"}, "ann"), ({"Authorization": "bearer lst_token"}, "ben")):
        door.reached.clear()
        status, body = door.ask(shows(operation, **headers))
        if door.reached:
            principal = door.reached[0].principal
            assert (principal.account, principal.access_key) == (account, "")
            assert principal.credential in headers.get("X_Api_Key", headers.get("Authorization", ""))
        else:
            assert status == 400, body


WRONG_SHOWN = {
    "unknown": {"X_Api_Key": "lsk_other"},
    "unknown token": {"Authorization": "Bearer lst_other"},
    "empty": {"X_Api_Key": ""},
    "empty token": {"Authorization": "Bearer "},
    "made by a door": {"X_Api_Key": "lsa_{}"},
    "too long": {"X_Api_Key": "lsk_" + "x" * 600},
    "not ASCII": {"X_Api_Key": "lsk_\u00e9"},
}


@pytest.mark.parametrize("headers", WRONG_SHOWN.values(), ids=WRONG_SHOWN)
def test_a_wrong_key_or_token_gets_to_no_handler(headers: dict[str, str]) -> None:
    """For every operation: it is refused, and not taken for an anonymous request."""
    for operation in OPERATIONS:
        door = Door()
        status, body = door.ask(shows(operation, **headers))
        assert (status, door.reached) == (403, []), operation.name
        assert operation.method == "HEAD" or b"<Code>InvalidAccessKeyId</Code>" in body


def test_two_proofs_in_one_request_are_refused(door: Door) -> None:
    """A key beside a signature in the header, in the query, or beside a token: nobody must guess whose it is."""
    operation = operations()["GetObject"]
    for request in (
        by_header(operation),
        by_query(operation),
        shows(operation, Authorization="Bearer lst_token"),
    ):
        request.headers["X-Api-Key"] = "lsk_key"
        assert (door.ask(request)[0], door.reached) == (400, [])
    presigned = by_query(operation)
    presigned.headers["Authorization"] = "Bearer lst_token"
    assert (door.ask(presigned)[0], door.reached) == (400, [])


def test_basic_and_cookies_prove_nothing_here(door: Door) -> None:
    """A browser sends both by itself, also from other people's pages."""
    assert door.ask(shows(operations()["GetObject"], Authorization="Basic YW5uOmxza19rZXk="))[0] == 400
    assert door.reached == []
    door.ask(shows(operations()["GetObject"], Cookie="__Host-lockstep-session=lst_token"))
    assert door.reached[0].principal.anonymous


def test_version_2_is_refused_with_advice(door: Door) -> None:
    """The retired signature is named, not taken for an anonymous request."""
    request = unsigned(operations()["GetObject"])
    request.headers["Authorization"] = "AWS AKID:c2ln"
    status, body = door.ask(request)
    assert (status, door.reached) == (400, [])
    assert b"AWS4-HMAC-SHA256" in body


def test_what_has_no_handler_is_not_implemented_behind_the_gate() -> None:
    """An operation that is not built is said to be so, and only to who proved a key."""
    gate = Gate(Door()._key, Door()._caller, lambda: SECONDS, lambda: 0.0)
    door = Door()
    door.door = S3Door(gate, {}, proxy_id="1")
    operation = operations()["GetBucketWebsite"]
    status, body = door.ask(by_header(operation))
    assert (status, b"<Code>NotImplemented</Code>" in body) == (501, True)
    assert door.ask(by_header(operation, secret="guessed"))[0] == 403
