"""Requests that no client would send. The door answers each with a refusal or a result, soon, and stays well.

What every request is held to stands in `Prober.ask`. `--seed` repeats a run.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import random
import string
from collections.abc import Iterator
from urllib.parse import quote

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_proxy.doors.s3.protocol.description import S3Operation, Type
from client_proxy.doors.s3.protocol.operations import operations
from tests.s3.prober import Prober
from tests.s3.rig import S3Rig

BUCKET, KEY = b"/fuzzed", b"/fuzzed/key"
SOUND = b"/sound"
"""A bucket whose settings no test makes up: one of those that are taken is an encryption by a key that is not there."""
ODD_TEXT = (
    *("", " ", "0", "-1", "+1", "00000000000000000001", "99999999999999999999", "1e9", "NaN", "0x10", "1.5", "١٢"),
    *("true", "TRUE", "yes", "null", "None", "undefined", "*", "%", "%00", "%zz", "\\", "'", '"', "<a>", "&amp;", ";"),
    *("/", "//", "/a", "a/", "..", "../x", ".", "a" * 1024, "a" * 9000, "é", "日本", "\ufffd", "\u2028", "{}", "[]"),
    *("bytes=0-", "bytes=-1", "bytes=5-1", "bytes=0-0,2-3", "bytes=-", "bytes=a-b", "bytes=0-99999999999999999999"),
    *("lines=1-2", "Sat, 31 Feb 2026 12:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "9999-12-31T23:59:60Z"),
    *("0000-00-00", "2026-11-21", "2026-11-21T12:00:00+99:99", "-62135596801", "AAAA", "====", "AAAAAA==", "Zm9v"),
    *("/fuzzed/key", "fuzzed/key?versionId=1", "/nowhere/key", "%2Ffuzzed%2Fkey", "arn:aws:s3:::fuzzed", "id=admin"),
    *("aws:kms", "AES256", "GOVERNANCE", "Enabled", "Suspended", "public-read", "COPY", "REPLACE", "CRC32", "SHA256"),
)
XML = (
    b"",
    b" \n",
    b"<",
    b"text",
    b"\x00",
    b"\xff\xfe<\x00a\x00/\x00>\x00",
    b"\xef\xbb\xbf<Delete/>",
    b'<?xml version="1.0" encoding="UTF-7"?><Delete/>',
    b'<?xml version="1.0" encoding="no-such"?><Delete/>',
    b'<?xml version="1.0" encoding="UTF-16"?><Delete/>',
    b'<?xml version="1.0" encoding="US-ASCII"?><Delete>\xe9</Delete>',
    b'<?xml version="1.1"?><Delete/>',
    b"<Delete/><Delete/>",
    b"<Delete><Object></Delete>",
    b"<Delete a='1' a='2'/>",
    b"<Delete>&lol;</Delete>",
    b"<Delete><Object><Key>&#0;</Key></Object></Delete>",
    b"<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
    b"<Delete><Object><Key>\xed\xa0\x80</Key></Object></Delete>",
    b"<Delete><Object><Key><![CDATA[<a>]]></Key></Object></Delete>",
    b"<x:Delete><x:Object><x:Key>k</x:Key></x:Object></x:Delete>",
    b'<!DOCTYPE Delete [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    b'<!DOCTYPE Delete [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
    b'<!DOCTYPE Delete SYSTEM "https://127.0.0.1:1/x.dtd"><Delete/>',
    b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">'
    b'<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;">]><Delete>&e;&e;&e;</Delete>',
    b"<a>" * 30_000,
    b"<a>" * 30_000 + b"</a>" * 30_000,
    b"<Delete>" + b"<Object><Key>k</Key></Object>" * 60_000 + b"</Delete>",
    b"<Delete><Object><Key>" + b"k" * 1_900_000 + b"</Key></Object></Delete>",
    b"<Delete" + b"".join(b" a%d='1'" % number for number in range(50_000)) + b"/>",
    b"<" + b"D" * 1_000_000 + b"/>",
    b"<Delete>" + b"x" * 3_000_000 + b"</Delete>",
)
CONTROLS = dict.fromkeys((*range(32), 127))


@pytest.fixture(scope="module")
def prober(rig: S3Rig) -> Iterator[Prober]:
    prober = Prober(rig)
    for bucket in (BUCKET, SOUND):
        assert prober.signed("PUT", bucket).status == 200
    assert prober.signed("PUT", KEY, body=b"content").status == 200
    yield prober
    prober.close()


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)


def place_of(operation: S3Operation) -> bytes:
    return {"service": b"/", "bucket": BUCKET, "key": KEY}[operation.level]


def query_of(operation: S3Operation) -> dict[str, str]:
    """The arguments that mean the operation."""
    return dict(operation.query) | {name: "1" for place, name in operation.needs if place == "querystring"}


def written(query: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())


def damage(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few bytes changed, taken out, put in, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 1, 2, 8, 40))
        kind = rng.randrange(5)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = rng.randbytes(length)
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at:] = b""
    return bytes(changed)


# ------------------------------------------------------------ past the gate


def test_odd_parameters_of_every_operation(prober: Prober, rng: random.Random) -> None:
    """Every operation, properly signed, with values in its arguments and headers that mean nothing."""
    for operation in operations().values():
        for _ in range(6):
            query, headers = query_of(operation), {}
            members = [member for member in operation.input if member.place in ("querystring", "header", "headers")]
            for member in rng.sample(members, rng.randint(0, len(members))):
                value = rng.choice(ODD_TEXT)
                if member.place == "querystring":
                    query[member.wire_name] = value
                elif value.isascii():
                    headers[member.wire_name + ("x" if member.place == "headers" else "")] = value.strip()
            headers.update({name: "/fuzzed/key" for place, name in operation.needs if place == "header"})
            headers.pop("Content-Length", None)
            body = b"<a/>" if operation.payload is not None else b""
            prober.signed(operation.method, place_of(operation), written(query), headers, body)


def made_up(name: str, type_: Type, rng: random.Random, depth: int = 0) -> str:
    """XML that has the operation's elements, some of them missing or several times, with odd values."""
    if type_.kind == "structure" and depth < 8:
        inner = ""
        for member in type_.members:
            for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
                inner += made_up(member.wire_name, member.type, rng, depth + 1)
        return f"<{name}>{inner}</{name}>"
    if type_.kind == "list" and type_.member is not None:
        element = name if type_.flattened else type_.element
        items = "".join(made_up(element, type_.member, rng, depth + 1) for _ in range(rng.randint(0, 2)))
        return items if type_.flattened else f"<{name}>{items}</{name}>"
    value = rng.choice(sorted(type_.values)) if type_.values and rng.random() < 0.7 else rng.choice(ODD_TEXT)
    escaped = value.replace("&", "&amp;").replace("<", "&lt;")
    return f"<{name}>{escaped}</{name}>"


def xml_operations() -> list[S3Operation]:
    return [one for one in operations().values() if one.payload is not None and one.payload.type.kind == "structure"]


def test_xml_of_every_operation(prober: Prober, rng: random.Random) -> None:
    """Bodies with the right elements and odd values, whole and damaged."""
    for operation in xml_operations():
        assert operation.payload is not None
        query = written(query_of(operation))
        for number in range(6):
            body = made_up(operation.payload.wire_name, operation.payload.type, rng).encode()
            if number % 2:
                body = damage(body, rng)
            prober.signed(operation.method, place_of(operation), query, with_md5(body), body)


def with_md5(body: bytes) -> dict[str, str]:
    """The headers that operations which insist on a checksum want."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(digest).decode()}


def test_xml_that_would_harm(prober: Prober) -> None:
    """Entities, bombs, depth, size, encodings: refused, and none of it is kept in memory."""
    process = psutil.Process()
    for _ in range(2):
        gc.collect()
        before = process.memory_info().rss
        for body in XML:
            answer = prober.signed("POST", SOUND, "delete=", with_md5(body), body)
            assert answer.status in (200, 400), body[:80]
            if b"<!DOCTYPE" in body:
                assert answer.status == 400
        gc.collect()
    assert process.memory_info().rss - before < 32 * 1024 * 1024


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(key=st.one_of(st.text(min_size=1, max_size=40), st.text("./ab%+ ", min_size=1, max_size=12), st.binary()))
def test_any_key_is_kept_exactly_or_refused(prober: Prober, key: str | bytes) -> None:
    """Whatever bytes a key has: it is refused, or read back, listed once and deleted as exactly that key."""
    raw = key if isinstance(key, bytes) else key.encode("utf-8", "surrogatepass")
    path = SOUND + b"/" + raw
    put = prober.signed("PUT", path, body=raw)
    assert put.status in (200, 400, 404), put
    if put.status == 200 and raw:
        assert prober.signed("GET", path).body == raw
        query = written({"encoding-type": "url", "list-type": "2", "prefix": raw.decode()})
        assert f"<Key>{quote(raw.decode(), safe='/-_.~')}</Key>".encode() in prober.signed("GET", SOUND, query).body
        assert prober.signed("DELETE", path).status == 204
        assert prober.signed("GET", path).status == 404


# ------------------------------------------------------------ before the gate


def test_damaged_proofs(prober: Prober, rng: random.Random) -> None:
    """A signed request of which a few bytes of its proof are damaged is refused or, unharmed in meaning, answered."""
    names = ("authorization", "x-amz-date", "x-amz-content-sha256", "host", "content-length")
    path = SOUND + b"/proven"
    assert prober.signed("PUT", path, body=b"content").status == 200
    for _ in range(400):
        headers, _ = prober.sign("PUT", path, "", {"content-length": "7", "x-amz-meta-a": "b"})
        name = rng.choice(names)
        headers[name] = damage(headers[name].encode(), rng).decode("ascii", "ignore").translate(CONTROLS)
        answer = prober.ask("PUT", path, "", headers, b"content")
        assert answer.status in (200, 400, 403, 411), answer
        if name == "x-amz-date":
            assert answer.status != 200 or headers[name].strip() == headers["x-amz-date"].strip()
    assert prober.signed("GET", path).body == b"content"


def test_damaged_queries(prober: Prober, rng: random.Random) -> None:
    """Presigned addresses and other queries with bytes damaged are refused or answered."""
    access = prober.access
    base = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={access}%2F20261121%2Fus-east-1%2Fs3%2Faws4_request&"
        f"X-Amz-Date=20261121T120000Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
    ).encode()
    for _ in range(400):
        method = rng.choice(("GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"))
        query = damage(base, rng).decode("latin-1").translate(CONTROLS)
        path = rng.choice((b"/", BUCKET, KEY, b"//", b"/fuzzed//", b"/\xff", b"/fuzzed/\x00", b"", b"*"))
        answer = prober.ask(method, path, query, {}, b"")
        assert answer.status in (200, 204, 400, 403, 404, 405, 411, 501), answer  # 411: a PUT without a length


def test_random_headers(prober: Prober, rng: random.Random) -> None:
    """Anonymous requests with any headers at all."""
    letters = string.ascii_letters + string.digits + " -_=/;:,.*%+\"'()<>@[]{}\\~"
    names = (
        *(
            "authorization",
            "range",
            "if-match",
            "if-none-match",
            "if-modified-since",
            "content-md5",
            "expect",
            "origin",
        ),
        *("x-amz-date", "x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-trailer", "x-amz-content-sha256"),
        *(
            "content-length",
            "transfer-encoding",
            "content-type",
            "x-amz-decoded-content-length",
            "x-request-id",
            "host",
        ),
        *("x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm", "x-lockstep-lock", "access-control-request-method"),
    )
    for _ in range(400):
        headers = {}
        for name in rng.sample(names, rng.randint(1, 6)):
            text = "".join(rng.choices(letters, k=rng.choice((0, 1, 8, 60, 2000))))
            headers[name] = rng.choice((text, rng.choice([one for one in ODD_TEXT if one.isascii()]).strip()))
        method = rng.choice(("GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS"))
        prober.ask(
            method, rng.choice((b"/", BUCKET, KEY)), rng.choice(("", "acl", "uploads", "delete")), headers, b"xy"
        )


# ------------------------------------------------------------ bodies


def test_damaged_chunk_framing(prober: Prober, rng: random.Random) -> None:
    """A body in signed chunks that was damaged anywhere is refused, and what was there before is there still. Only what
    nobody signs may be changed: the end behind the last chunk, and how a chunk's length is written."""
    path, content = SOUND + b"/chunked", [b"first chunk " * 50, b"second chunk" * 9]
    other = [b"other " * 40, b"content" * 30]
    headers, body = prober.chunked(path, content)
    assert prober.ask("PUT", path, "", headers, body).status == 200
    for _ in range(200):
        headers, body = prober.chunked(path, other)
        broken = damage(body, rng)
        if rng.random() < 0.5:
            headers["content-length"] = str(len(broken))
        answer = prober.ask("PUT", path, "", headers, broken)
        assert answer.status in (200, 400, 403)
        if answer.status == 200:
            assert prober.signed("GET", path).body == b"".join(other)
            headers, body = prober.chunked(path, content)
            assert prober.ask("PUT", path, "", headers, body).status == 200
    assert prober.signed("GET", path).body == b"".join(content)


@pytest.mark.parametrize(
    "lie",
    [
        {"content-length": "3"},
        {"content-length": "0"},
        {"content-length": "100"},
        {"content-length": "99999999999999999999"},
        {"content-md5": "AAAA"},
        {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"x-amz-checksum-crc32": "AAAAAA=="},
        {"x-amz-checksum-crc32": "x", "x-amz-checksum-sha1": "y"},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-trailer": ",,,"},
        {"x-amz-sdk-checksum-algorithm": "MD7"},
        {"x-amz-decoded-content-length": "5"},
        {"content-encoding": "aws-chunked"},
        {"if-match": '"'},
        {"x-lockstep-lock": "-1"},
    ],
    ids=str,
)
def test_lies_about_a_body(prober: Prober, lie: dict[str, str]) -> None:
    """Lengths, checksums and trailers that are not the body's: nothing is written that the client did not send."""
    path = SOUND + b"/lie"
    answer = prober.signed("PUT", path, headers=lie, body=b"content")
    if answer.status == 200:
        declared = int(lie.get("content-length", "7"))
        assert prober.signed("GET", path).body == b"content"[:declared]
    else:
        nothing_to_match = answer.status == 404 and "if-match" in lie
        assert nothing_to_match or answer.status in (400, 411, 412, 501), answer
        assert prober.signed("HEAD", path).status in (200, 404)


# ------------------------------------------------------------ memory


def test_refusals_leave_nothing_behind(prober: Prober, rng: random.Random) -> None:
    """Thousands of refused requests, each different, do not make the program grow."""
    process = psutil.Process()

    def refuse(count: int) -> None:
        for _ in range(count):
            name = "".join(rng.choices(string.ascii_lowercase, k=40))
            prober.ask(
                "GET", f"/{name}/{name}".encode(), f"{name}={name}", {"authorization": name, f"x-amz-{name}": "1"}
            )
            headers, _ = prober.sign("GET", KEY, "", {})
            headers["authorization"] = headers["authorization"].replace(prober.access, name[:20].upper())
            prober.ask("GET", KEY, "", headers)

    refuse(150)
    gc.collect()
    before = process.memory_info().rss
    refuse(1000)
    gc.collect()
    assert process.memory_info().rss - before < 16 * 1024 * 1024
