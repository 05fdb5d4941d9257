"""CORS: which pages may read answers, and what a browser is told before and after."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from client_proxy.doors.s3.buckets.cors import KEEP_SECONDS, Cors, check_rules
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.errors import Unavailable
from lockstep_store.wire.messages.s3 import SettingReply
from tests.s3.people import token_of
from tests.s3.rig import ENDPOINT, S3Rig

RULES = [
    {
        "AllowedMethods": ["GET"],
        "AllowedOrigins": ["*suffix", "start*end", "prefix*"],
        "ExposeHeaders": ["x-amz-meta-a"],
    },
    {
        "AllowedMethods": ["PUT", "DELETE"],
        "AllowedOrigins": ["https://app.example"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "MaxAgeSeconds": 600,
    },
]


@pytest.fixture
def shared(rig: S3Rig, s3: Any, bucket: str) -> str:
    """A bucket with the rules above."""
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    return bucket


def ask(rig: S3Rig, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An unsigned request; header names with `_` for `-`."""
    status, answered, body = rig.ask(method, f"{ENDPOINT}/{path}", {k.replace("_", "-"): v for k, v in headers.items()})
    return status, {name.lower(): value for name, value in answered}, body


def test_rules_come_back_as_they_were_put_and_go(s3: Any, bucket: str) -> None:
    """Get answers what Put said; without rules it is NoSuchCORSConfiguration, and Delete is safe to repeat."""
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    for _ in range(2):
        answer = s3.delete_bucket_cors(Bucket=bucket)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedMethods": ["get"]}, "InvalidRequest"),
        ({"AllowedMethods": []}, "MalformedXML"),
        ({"AllowedOrigins": []}, "MalformedXML"),
        ({"AllowedOrigins": ["a*b*c"]}, "InvalidRequest"),
        ({"AllowedHeaders": ["**"]}, "InvalidRequest"),
        ({"ExposeHeaders": ["x-*"]}, "InvalidRequest"),
        ({"ID": "x" * 256}, "InvalidArgument"),
    ],
)
def test_what_is_no_rule_is_refused(rule: dict[str, Any], code: str) -> None:
    """Methods, wildcards and lengths are judged as S3 judges them."""
    with pytest.raises(S3Error) as refused:
        check_rules([{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]} | rule])
    assert refused.value.code == code


def test_a_configuration_has_one_to_a_hundred_rules() -> None:
    """None and 101 are refused."""
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    check_rules([rule] * 100)
    for count in (0, 101):
        with pytest.raises(S3Error):
            check_rules([rule] * count)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("foo.suffix", True),
        ("foo.bar", False),
        ("foo.suffix.get", False),
        ("startend", True),
        ("start12end", True),
        ("0start12end", False),
        ("star", False),
        ("prefix", True),
        ("prefix.suffix", True),
        ("bla.prefix", False),
    ],
)
def test_an_origin_fits_a_pattern_with_one_wildcard(rig: S3Rig, shared: str, origin: str, allowed: bool) -> None:
    """On an answer, here a refusal: the origin is echoed where a rule has it, and nothing is said otherwise."""
    status, headers, _ = ask(rig, "GET", f"{shared}/not-there", Origin=origin)
    assert status in (403, 404)
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert headers.get("access-control-allow-methods") == ("GET" if allowed else None)
    assert headers.get("access-control-expose-headers") == ("x-amz-meta-a" if allowed else None)
    assert "Origin" in headers["vary"]


def test_a_signed_answer_has_the_headers_and_one_without_origin_has_none(rig: S3Rig, s3: Any, shared: str) -> None:
    """Successful answers say it too, with the method of the request."""
    s3.put_object(Bucket=shared, Key="page", Body=b"text")
    url = rig.client(signature_version="s3v4").generate_presigned_url("get_object", {"Bucket": shared, "Key": "page"})
    status, answered, body = rig.ask("GET", url, {"Origin": "a.suffix"})
    assert (status, body) == (200, b"text")
    assert ("Access-Control-Allow-Origin", "a.suffix") in answered
    assert ("Access-Control-Allow-Credentials", "true") in answered
    status, answered, body = rig.ask("GET", url, {})
    assert status == 200
    assert not any(name.startswith("Access-Control") for name, _ in answered)


def test_everybody_is_a_star(rig: S3Rig, s3: Any, bucket: str) -> None:
    """The origin * is answered as such and takes no credentials."""
    s3.put_bucket_cors(
        Bucket=bucket, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    )
    _, headers, _ = ask(rig, "GET", f"{bucket}/x", Origin="https://any.example")
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


def test_a_preflight_is_allowed_without_a_signature(rig: S3Rig, shared: str) -> None:
    """It says the methods, the headers asked for and how long that holds; headers are compared without case."""
    status, headers, body = ask(
        rig,
        "OPTIONS",
        f"{shared}/key",
        Origin="https://app.example",
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="X-Amz-Date, content-type",
    )
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert headers["access-control-allow-methods"] == "PUT, DELETE"
    assert headers["access-control-allow-headers"] == "x-amz-date, content-type"
    assert headers["access-control-max-age"] == "600"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, b"BadRequest"),
        ({"Origin": "https://app.example"}, 400, b"BadRequest"),
        ({"Origin": "https://app.example", "Access_Control_Request_Method": "BREW"}, 400, b"BadRequest"),
        ({"Origin": "https://app.example", "Access_Control_Request_Method": "GET"}, 403, b"AccessForbidden"),
        ({"Origin": "https://evil.example", "Access_Control_Request_Method": "PUT"}, 403, b"AccessForbidden"),
        (
            {
                "Origin": "https://app.example",
                "Access_Control_Request_Method": "PUT",
                "Access_Control_Request_Headers": "x-other",
            },
            403,
            b"AccessForbidden",
        ),
    ],
)
def test_a_preflight_that_no_rule_allows_is_refused(
    rig: S3Rig, shared: str, headers: dict[str, str], status: int, code: bytes
) -> None:
    """Incomplete questions are 400, the others 403 AccessForbidden; neither names an allowed origin."""
    answered = ask(rig, "OPTIONS", f"{shared}/key", **headers)
    assert answered[0] == status
    assert b"<Code>" + code + b"</Code>" in answered[2]
    assert "access-control-allow-origin" not in answered[1]


def test_a_preflight_asks_for_a_bounded_number_of_headers(rig: S3Rig, shared: str) -> None:
    """Whoever shows no key cannot have thousands of names compared with thousands of patterns."""
    for count, expected in ((100, 200), (101, 400)):
        asked = ",".join(f"x-amz-{number}" for number in range(count))
        question = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": asked}
        status, _, body = ask(rig, "OPTIONS", f"{shared}/x", Origin="https://app.example", **question)
        assert (status, b"<Code>BadRequest</Code>" in body) == (expected, expected == 400)


def test_a_preflight_tells_nothing_of_what_exists(rig: S3Rig, bucket: str) -> None:
    """A bucket without rules and one that is not there answer alike."""
    question = {"Origin": "https://a.example", "Access_Control_Request_Method": "GET"}
    without = ask(rig, "OPTIONS", f"{bucket}/key", **question)
    missing = ask(rig, "OPTIONS", "no-such-bucket/key", **question)
    assert without[0] == missing[0] == 403


def test_who_owns_the_bucket_sets_its_rules(rig: S3Rig, s3: Any, shared: str) -> None:
    """Another account is refused, and the rules stay."""
    token = token_of(rig, "eve")
    eve = rig.client(rig.key(token))
    with pytest.raises(ClientError, match="AccessDenied"):
        eve.delete_bucket_cors(Bucket=shared)
    assert len(s3.get_bucket_cors(Bucket=shared)["CORSRules"]) == 2


class _Directory:
    def __init__(self) -> None:
        self.value: str | None = None
        self.calls = 0

    def bucket_life(self, bucket: str) -> int:
        return 0

    def call(self, *_: Any) -> SettingReply:
        self.calls += 1
        if self.value == "broken":
            raise Unavailable("the directory is away")
        return SettingReply(self.value)

    def stream(self, *_: Any) -> Any:
        raise NotImplementedError


def request(**headers: str) -> S3Request:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/b/k", "wsgi.input": None}
    return S3Request(environ | {f"HTTP_{name.upper()}": value for name, value in headers.items()})


def test_rules_are_kept_for_seconds_and_asked_for_only_when_an_origin_came() -> None:
    """Requests without an Origin cost the directory nothing, those with one a call in a few seconds."""
    now = [0.0]
    directory = _Directory()
    cors = Cors(StoredSettings(directory), directory, lambda: now[0])
    assert cors.headers_for(request()) == []
    assert directory.calls == 0
    assert cors.headers_for(request(origin="o")) == []
    directory.value = '{"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["o"]}]}'
    assert cors.headers_for(request(origin="o")) == []
    assert directory.calls == 1
    now[0] += KEEP_SECONDS
    assert ("Access-Control-Allow-Origin", "o") in cors.headers_for(request(origin="o"))
    assert directory.calls == 2


def test_an_answer_is_not_lost_because_the_rules_cannot_be_had() -> None:
    """With the directory away the answer goes out without CORS headers."""
    directory = _Directory()
    directory.value = "broken"
    assert Cors(StoredSettings(directory), directory, lambda: 0.0).headers_for(request(origin="o")) == []
