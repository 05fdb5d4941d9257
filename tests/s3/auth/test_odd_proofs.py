"""Proofs that no client makes are refused in S3's words, whatever bytes they have. Found by tests/security/fuzzing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from client_proxy.doors.s3.auth.claims import ALGORITHM, STREAMING_SIGNED_TRAILER
from client_proxy.doors.s3.auth.signature import (
    canonical_request,
    check_form_day,
    check_signature,
    check_time,
    sign,
    string_to_sign,
)
from client_proxy.doors.s3.objects.aws_chunked import ChunkedBody
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from tests.s3.calls import code_in
from tests.s3.post_forms import ANY_KEY, FILE, FORM_TYPE, Signer, form
from tests.s3.prober import HOST, Prober
from tests.s3.rig import ENDPOINT, S3Rig

NOT_TEXT = b"\x9e".decode("utf-8", "surrogateescape")
PATH = b"/files"


@pytest.fixture
def prober(rig: S3Rig) -> Iterator[Prober]:
    prober = Prober(rig)
    yield prober
    prober.close()


@pytest.mark.parametrize("part", ["us-east-1", "access"])
def test_a_credential_that_is_no_text(prober: Prober, part: str) -> None:
    """Access key and region are plain characters."""
    headers, _ = prober.sign("GET", PATH, "", {})
    wanted = prober.access if part == "access" else part
    headers["authorization"] = headers["authorization"].replace(wanted, wanted + NOT_TEXT)
    answer = prober.ask("GET", PATH, "", headers)
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


def test_a_session_token_that_is_no_text(prober: Prober) -> None:
    """It belongs to no key."""
    headers, _ = prober.sign("GET", PATH, "", {"x-amz-security-token": f"token{NOT_TEXT}"})
    answer = prober.ask("GET", PATH, "", headers)
    assert (answer.status, answer.code) == (400, "InvalidToken")


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2300", "x", "1 2 3", ""])
def test_a_date_out_of_all_time(prober: Prober, date: str) -> None:
    """A Date header stands for x-amz-date only when it is a time."""
    headers, _ = prober.sign("GET", PATH, "", {"date": date})
    del headers["x-amz-date"]
    answer = prober.ask("GET", PATH, "", headers)
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_a_trailers_signature_that_is_no_text(prober: Prober) -> None:
    """It is compared like any other wrong one."""
    claim = replace(prober.claim(STREAMING_SIGNED_TRAILER), signed_headers=("host",))
    key = prober.key(claim)
    headers = {"host": HOST}
    signature = sign(key, string_to_sign(claim, canonical_request(claim, "PUT", PATH, "", headers.get)))
    claim = replace(claim, signature=signature)
    nothing = hashlib.sha256(b"").hexdigest()
    text = "\n".join((f"{ALGORITHM}-PAYLOAD", claim.amz_date, claim.scope.text, signature, nothing, nothing))
    body = iter([f"0;chunk-signature={sign(key, text)}\r\n".encode() + b"x-amz-trailer-signature:\xe9\r\n\r\n"])
    with pytest.raises(S3Error) as refused:
        list(ChunkedBody(lambda _: next(body, b""), claim, key, 0).blocks())
    assert refused.value.code == "SignatureDoesNotMatch"


# ------------------------------------------------------------ what the gate asks for


def test_a_header_that_nobody_signed(prober: Prober) -> None:
    """Anybody on the way could have added it; and one that was signed must be there."""
    headers, _ = prober.sign("GET", PATH, "", {"x-amz-meta-a": "b"})
    for changed in (headers | {"x-amz-meta-b": "c"}, {name: headers[name] for name in headers if "meta" not in name}):
        answer = prober.ask("GET", PATH, "", changed)
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert prober.ask("GET", PATH, "", headers).status == 200


def test_an_encoded_slash_saves_no_wrong_signature(prober: Prober) -> None:
    """Clients may sign it as they send it, with the right key."""
    headers, claim = prober.sign("GET", PATH, "", {})
    path, key = b"/files/a/b", prober.key(claim)
    sent = {"sent_path": b"/files/a%2Fb"}
    right = sign(key, string_to_sign(claim, canonical_request(claim, "GET", "/files/a%2Fb", "", headers.get)))
    check_signature(replace(claim, signature=right), key, "GET", path, "", headers.get, **sent)
    with pytest.raises(S3Error) as refused:
        check_signature(replace(claim, signature="0" * 64), key, "GET", path, "", headers.get, **sent)
    assert refused.value.code == "SignatureDoesNotMatch"


def test_a_time_that_is_none(prober: Prober) -> None:
    """The digits of a date without being one."""
    claim = replace(prober.claim(), amz_date="20261399T256199Z")
    for check in (check_time, check_form_day):
        with pytest.raises(S3Error) as refused:
            check(claim, 0.0)
        assert refused.value.code == "AccessDenied"


def test_a_form_of_last_year(rig: S3Rig) -> None:
    """A form's signature ends after a week, whatever its policy says."""
    key = rig.key()
    fields = Signer(key, "files").fields(
        [ANY_KEY],
        expires_in=10**8,
        x_amz_date="20250101T000000Z",
        x_amz_credential=f"{key[0]}/20250101/eu-west-1/s3/aws4_request",
    )
    body = form([*fields, ("key", "k"), ("file", FILE)])
    headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(body))}
    status, _, answer = rig.ask("POST", f"{ENDPOINT}/files", headers, body)
    assert (status, code_in(answer)) == (403, "AccessDenied")
    assert b"more than seven days ago" in answer
