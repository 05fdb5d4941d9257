"""Requests that botocore signs are accepted; the same requests with anything changed are refused."""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import quote, unquote_to_bytes, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from client_proxy.doors.s3.auth import claims, signature
from client_proxy.doors.s3.auth.claims import STREAMING_SIGNED, STREAMING_UNSIGNED_TRAILER, Claim, Scope
from client_proxy.doors.s3.objects.aws_chunked import ChunkedBody
from client_proxy.doors.s3.protocol.checksums import ALGORITHMS, by_name, check_form, combined, composed
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.s3 import signing_key

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "a secret/with+signs", "eu-lab-1"
NOW = datetime.datetime(2026, 11, 21, 12, 0, 0)
NOW_SECONDS = NOW.replace(tzinfo=datetime.UTC).timestamp()


@contextmanager
def botocores_clock() -> Iterator[None]:
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        yield


class Request:
    """A signed request as a proxy sees it; every part can be changed afterwards."""

    def __init__(self, signed: AWSRequest) -> None:
        parts = urlsplit(signed.url)
        self.method: str = signed.method
        self.path = unquote_to_bytes(parts.path)
        self.query = parts.query
        self.headers = {name.lower(): str(value) for name, value in signed.headers.items()}
        self.headers.setdefault("host", parts.netloc)

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def judge(self, now: float = NOW_SECONDS, secret: str = SECRET) -> Claim:
        """As the gate does it."""
        claim = claims.read_claim(signature.query_arguments(self.query), self.header)
        assert claim is not None, "an anonymous request"
        signature.check_time(claim, now)
        key = signing_key(secret, claim.scope.date, claim.scope.region)
        signature.check_signature(claim, key, self.method, self.path, self.query, self.header)
        signature.check_all_signed(claim, list(self.headers))
        return claim


def signed_by_header(
    method: str = "PUT", url: str = "https://host:5000/b/k", body: bytes = b"x", **headers: str
) -> Request:
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    with botocores_clock():
        botocore.auth.S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", REGION).add_auth(request)
    return Request(request)


def presigned(method: str = "GET", url: str = "https://host:5000/b/k", expires: int = 600, **headers: str) -> Request:
    request = AWSRequest(method=method, url=url, headers=headers)
    with botocores_clock():
        botocore.auth.S3SigV4QueryAuth(Credentials(ACCESS, SECRET), "s3", REGION, expires).add_auth(request)
    return Request(request)


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(KEYS, st.dictionaries(st.sampled_from(["prefix", "marker", "a b", "ä"]), KEYS, max_size=3))
def test_what_botocore_signs_in_headers_is_accepted(key: str, arguments: dict[str, str]) -> None:
    """Any key and arguments, however they are escaped, give the signature that botocore made."""
    query = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in arguments.items())
    url = f"https://host:5000/b/{quote(key, safe='/~')}?{query}"
    claim = signed_by_header(url=url, **{"x-amz-meta-a": "one   two"}).judge()
    assert claim.scope == Scope(ACCESS, "20261121", REGION)


@settings(max_examples=60, deadline=None)
@given(KEYS)
def test_what_botocore_presigns_is_accepted(key: str) -> None:
    """A presigned address works for any key."""
    claim = presigned(url=f"https://host:5000/b/{quote(key, safe='/~')}?versionId=12").judge()
    assert (claim.form, claim.expires, claim.payload) == ("query", 600, claims.UNSIGNED)


def _refused(request: Request, now: float = NOW_SECONDS, secret: str = SECRET) -> str:
    with pytest.raises(S3Error) as refused:
        request.judge(now, secret)
    return refused.value.code


CHANGES: dict[str, Any] = {
    "method": lambda r: setattr(r, "method", "DELETE"),
    "path": lambda r: setattr(r, "path", b"/b/other"),
    "query": lambda r: setattr(r, "query", r.query + "&x=1"),
    "host": lambda r: r.headers.update(host="elsewhere:5000"),
}


@pytest.mark.parametrize("make", [signed_by_header, presigned])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_request_is_refused(make: Any, change: str) -> None:
    """Method, path, arguments and signed headers are all covered."""
    request = make()
    CHANGES[change](request)
    assert _refused(request) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("make", [signed_by_header, presigned])
def test_a_foreign_secret_is_refused(make: Any) -> None:
    """A signature made with another secret proves nothing."""
    assert _refused(make(), secret="another") == "SignatureDoesNotMatch"


@pytest.mark.parametrize("make", [signed_by_header, presigned])
def test_an_added_amz_header_is_refused(make: Any) -> None:
    """Nobody on the way can add a header that S3 would act on."""
    request = make()
    request.headers["x-amz-acl"] = "public-read"
    assert _refused(request) == "AccessDenied"


def test_the_body_is_covered_by_its_hash() -> None:
    """The hash that the body must have is part of what is signed."""
    request = signed_by_header(body=b"content")
    assert request.judge().payload == hashlib.sha256(b"content").hexdigest()
    request.headers["x-amz-content-sha256"] = hashlib.sha256(b"other").hexdigest()
    assert _refused(request) == "SignatureDoesNotMatch"


def test_a_hash_added_to_a_presigned_address_is_not_part_of_what_was_signed() -> None:
    """Who uses an address may add the header, as SDKs do by themselves."""
    request = presigned()
    request.headers["x-amz-content-sha256"] = hashlib.sha256(b"other").hexdigest()
    assert request.judge().payload == claims.UNSIGNED
    signed = presigned(**{"x-amz-content-sha256": hashlib.sha256(b"content").hexdigest()})
    assert signed.judge().payload == hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    ("seconds", "code"), [(900, ""), (901, "RequestTimeTooSkewed"), (-900, ""), (-901, "RequestTimeTooSkewed")]
)
def test_a_clock_may_differ_by_fifteen_minutes_and_not_a_second_more(seconds: int, code: str) -> None:
    """The window is exactly 15 minutes, either way."""
    request = signed_by_header()
    if code:
        assert _refused(request, NOW_SECONDS + seconds) == code
    else:
        request.judge(NOW_SECONDS + seconds)


def test_a_presigned_address_ends_when_it_says() -> None:
    """Good until its last second, refused after it, and refused when it is from the future."""
    request = presigned(expires=60)
    request.judge(NOW_SECONDS + 60)
    assert _refused(request, NOW_SECONDS + 61) == "AccessDenied"
    assert _refused(request, NOW_SECONDS - 901) == "AccessDenied"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("AWS AKID:c2lnbmF0dXJl", "InvalidRequest"),
        ("Basic abc", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 Credential=a", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00", "AuthorizationHeaderMalformed"),
        (
            f"AWS4-HMAC-SHA256 Credential=A/20261121/r/ec2/aws4_request, SignedHeaders=host, Signature={'0' * 64}",
            "AuthorizationHeaderMalformed",
        ),
        (
            f"AWS4-HMAC-SHA256 Credential=A/20261121/r/s3/aws4_request, SignedHeaders=date, Signature={'0' * 64}",
            "AuthorizationHeaderMalformed",
        ),
        ("", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 " + "x" * 8000, "AuthorizationHeaderMalformed"),
    ],
)
def test_a_claim_that_cannot_be_read_is_refused(authorization: str, code: str) -> None:
    """Every way to write the Authorization header wrongly is named as the client's error."""
    request = signed_by_header()
    request.headers["authorization"] = authorization
    assert _refused(request) == code


def test_a_claim_made_twice_is_refused() -> None:
    """Header and query at once: nobody has to guess which one counts."""
    request = presigned()
    request.headers["authorization"] = signed_by_header().headers["authorization"]
    assert _refused(request) == "InvalidArgument"


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "%D9%A3", "0000000010000000", "000000001" + "9" * 5000])
def test_a_presigned_address_has_a_bounded_life(expires: str) -> None:
    """One second to seven days, in plain digits."""
    request = presigned()
    request.query = request.query.replace("X-Amz-Expires=600", f"X-Amz-Expires={expires}")
    assert _refused(request) == "AuthorizationQueryParametersError"


def test_a_request_without_any_claim_is_anonymous() -> None:
    """Who shows nothing is nobody, which policies may allow."""
    assert claims.read_claim([("prefix", "a")], lambda _: None) is None


# ---------------------------------------------------------------- chunked bodies

# The example of the API reference, "Signature calculations for the Authorization header: transferring payload in
# multiple chunks": its keys, date and the three signatures.
EXAMPLE_KEY = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1")
EXAMPLE = Claim(
    "header",
    Scope("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1"),
    "20130524T000000Z",
    ("host",),
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    STREAMING_SIGNED,
)
CHUNKS = [
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
]


def example_body() -> bytes:
    return b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), sig.encode(), data) for data, sig in CHUNKS)


def reading(body: bytes, step: int = 1 << 20) -> Any:
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        data = body[position : position + min(count, step)]
        position += len(data)
        return data

    return read


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_the_api_references_example_of_a_signed_chunked_body_is_accepted(step: int) -> None:
    """Its chunks and signatures are read as they are printed there, however the network cuts them."""
    body = ChunkedBody(reading(example_body(), step), EXAMPLE, EXAMPLE_KEY, 66560)
    assert b"".join(body.blocks()) == b"a" * 66560


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 66_800), st.integers(1, 255))
def test_no_changed_byte_of_a_signed_body_gets_through(position: int, flip: int) -> None:
    """Framing, signatures and content: a change anywhere is refused, unless it changes nothing that counts."""
    changed = bytearray(example_body())
    position %= len(changed) - 2  # what follows the last chunk is no part of it
    changed[position] ^= flip
    body = ChunkedBody(reading(bytes(changed)), EXAMPLE, EXAMPLE_KEY, 66560)
    try:
        content = b"".join(body.blocks())
    except S3Error as refusal:
        content = b""
        assert refusal.status < 500  # noqa: PT017 - both outcomes are judged
    else:
        assert content == b"a" * 66560


def test_many_small_chunks_cost_no_more_in_large_blocks() -> None:
    """What was read and not yet used is not copied anew for each chunk of one byte."""
    body = b"1\r\nx\r\n" * 80_000 + b"0\r\n\r\n"
    claim = Claim("header", EXAMPLE.scope, EXAMPLE.amz_date, (), EXAMPLE.signature, STREAMING_UNSIGNED_TRAILER)

    def seconds(step: int) -> float:
        started = time.thread_time()
        assert sum(map(len, ChunkedBody(reading(body, step), claim, b"", 80_000).blocks())) == 80_000
        return time.thread_time() - started

    # What else the machine does may make one comparison come out wrong; a copy for each chunk, every one.
    assert any(seconds(len(body)) < 3 * seconds(1024) for _ in range(5))


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", 3, ""),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", 3, ""),
        (b"3\r\nabc\r\n0\r\n\r\n", 4, "IncompleteBody"),
        (b"3\r\nabc\r\n0\r\n\r\n", 2, "IncompleteBody"),
        (b"3\r\nab", 3, "IncompleteBody"),
        (b"3\r\nabcd\r\n0\r\n\r\n", 3, "InvalidRequest"),
        (b"-3\r\nabc\r\n0\r\n\r\n", 3, "InvalidRequest"),
        (b"0x3\r\nabc\r\n0\r\n\r\n", 3, "InvalidRequest"),
        (b"\r\n", 0, "InvalidRequest"),
        (b"", 0, "IncompleteBody"),
        (b"3" * 5000, 3, "InvalidRequest"),
        (b"0\r\n" + b"a:b\r\n" * 100, 0, "InvalidRequest"),
        (b"0\r\nno colon\r\n\r\n", 0, "InvalidRequest"),
    ],
)
def test_unsigned_chunks_are_framed_exactly(body: bytes, length: int, code: str) -> None:
    """The declared length and each chunk's own are checked; trailers are bounded."""
    claim = Claim("header", EXAMPLE.scope, EXAMPLE.amz_date, ("host",), EXAMPLE.signature, STREAMING_UNSIGNED_TRAILER)
    chunked = ChunkedBody(reading(body), claim, b"", length)
    if not code:
        assert b"".join(chunked.blocks()) == b"abc"
        return
    with pytest.raises(S3Error) as refused:
        list(chunked.blocks())
    assert refused.value.code == code


# ---------------------------------------------------------------- checksums


@pytest.mark.parametrize(
    ("name", "of_digits"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("SHA256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_each_algorithm_gives_its_published_check_value(name: str, of_digits: str) -> None:
    """The check value of the digits 1 to 9, as the algorithm's own specification prints it."""
    algorithm = by_name(name)
    value = algorithm.of(b"123456789")
    assert base64.b64decode(check_form(algorithm, value)).hex() == of_digits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_crcs_of_parts_combine_to_that_of_the_whole(parts: list[bytes]) -> None:
    """A multipart upload's full-object checksum needs no second look at its bytes."""
    for name in ("CRC32", "CRC32C", "CRC64NVME"):
        algorithm = ALGORITHMS[name]
        made = combined(algorithm, [(algorithm.of(part), len(part)) for part in parts])
        assert made == algorithm.of(b"".join(parts))


def test_a_composite_checksum_is_one_of_the_parts_checksums_and_says_how_many() -> None:
    """SHA-256 over the raw parts' digests, with -N."""
    algorithm = ALGORITHMS["SHA256"]
    raw = hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()
    assert composed(algorithm, [algorithm.of(b"a"), algorithm.of(b"b")]) == algorithm.of(raw) + "-2"


@pytest.mark.parametrize("value", ["", "abc", "y/Q5Jg==y/Q5Jg==", "ü", "y/Q5\nJg=="])
def test_a_checksum_that_cannot_be_one_is_refused(value: str) -> None:
    """Length and alphabet are checked before anything is compared."""
    with pytest.raises(S3Error):
        check_form(ALGORITHMS["CRC32"], value)


@pytest.mark.parametrize(
    ("date", "is_read"),
    [
        ("20261121T120000Z", True),
        ("Sat, 21 Nov 2026 12:00:00 GMT", True),
        ("Sat, 21 Nov 2026 12:00:00 -0000", True),
        ("Sat, 21 Nov 2026 13:00:00 +0100", True),
        ("2026-11-21 12:00:00", False),
        ("noon", False),
        ("Sat, 99 Nov 2026 12:00:00 GMT", False),
    ],
)
def test_a_request_is_dated_by_its_date_header(date: str, is_read: bool) -> None:
    """In ISO 8601 basic form, as AWS asks for it, or as an HTTP date, which botocore ends with `-0000`."""
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS}/20261121/{REGION}/s3/aws4_request, "
        f"SignedHeaders=date;host, Signature={'0' * 64}"
    )
    headers = {"authorization": authorization, "date": date, "x-amz-content-sha256": claims.UNSIGNED}
    if is_read:
        claim = claims.read_claim([], headers.get)
        assert claim is not None
        assert claim.amz_date == "20261121T120000Z"
    else:
        with pytest.raises(S3Error) as refused:
            claims.read_claim([], headers.get)
        assert refused.value.code == "AccessDenied"
