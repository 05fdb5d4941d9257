"""Bytes that no HTTP library sends, straight to the TLS port of a real proxy, and what connections survive."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.command_clients import boto3_client
from tests.s3.conftest import REAL_DOMAIN
from tests.s3.prober import LONGEST_SECONDS
from tests.s3.raw_connection import Connection

pytestmark = pytest.mark.cluster

MIB = 1 << 20
GET = b"GET /files HTTP/1.1\r\nHost: x\r\n"
PUT = b"PUT /files/key HTTP/1.1\r\nHost: x\r\n"
MALFORMED = (
    b"\r\n\r\n",
    b"\x00" * 500,
    b"GET\r\n\r\n",
    b"GET /files\r\n\r\n",
    b"GET /files HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET  /files HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /fi\x00les HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /fi les HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%zz/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET https://elsewhere/files HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /files?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT files:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    GET + b"x-amz-meta-a\r\n\r\n",
    GET + b"x-amz-meta-a: \xff\xfe\r\n\r\n",
    GET + b"x-amz-date: 1\r\nx-amz-date: 2\r\n\r\n",
    GET + b"Authorization: AWS4-HMAC-SHA256\r\nAuthorization: AWS4-HMAC-SHA256\r\n\r\n",
    GET + b"Authorization: " + b"A" * 60_000 + b"\r\n\r\n",
    GET + b"".join(b"x-amz-meta-%d: 1\r\n" % number for number in range(5000)) + b"\r\n",
    GET + b" folded: header\r\n\r\n",
    PUT + b"Content-Length: -1\r\n\r\n",
    PUT + b"Content-Length: abc\r\n\r\nabc",
    PUT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    PUT + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    PUT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    PUT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    PUT + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    PUT + b"Transfer-Encoding: gzip\r\n\r\nabc",
    PUT + b"Expect: the-impossible\r\nContent-Length: 3\r\n\r\nabc",
)


@pytest.fixture
def connection(real_cluster: ClusterHarness) -> Iterator[Connection]:
    with Connection(real_cluster) as connection:
        yield connection


def test_malformed_requests(real_cluster: ClusterHarness) -> None:
    """Each is refused, or its connection closed, soon; nothing is logged as a failure; the proxy goes on."""
    pid = real_cluster.pid("client_proxy")
    log = next(file for file in real_cluster.folder.log_dir.glob("client_proxy-1*.log"))
    said = len(log.read_text())
    resident = psutil.Process(pid).memory_info().rss
    for data in MALFORMED:
        with Connection(real_cluster) as connection:
            started = time.monotonic()
            connection.send(data)
            try:
                status, _, body = connection.answer(3.0)
            except TimeoutError:  # it waits for the rest of a body that was promised
                status, body = 400, b""
            assert status == 0 or 400 <= status < 500 or status == 501, (data[:100], status, body[:200])
            assert time.monotonic() - started < LONGEST_SECONDS, data[:100]
    with Connection(real_cluster) as connection:
        connection.send(connection.signed("GET", "/files"))
        assert connection.answer()[0] == 200
    assert psutil.Process(pid).memory_info().rss - resident < 64 * MIB
    assert "unexpected failure" not in log.read_text()[said:]


def test_a_connection_goes_on_after_a_refused_body(connection: Connection) -> None:
    """A body that was refused while it was on its way does not become the next request."""
    for _ in range(3):
        connection.send(
            connection.signed("PUT", "/files/x", ("Content-Length", str(MIB)), secret="no")
            + b"GET /" * (MIB // 5)
            + b"x"
        )
        status, headers, _ = connection.answer()
        assert status == 403
        assert headers.get("connection") != "close"
    connection.send(connection.signed("HEAD", "/files"))
    assert connection.answer(head=True)[0] == 200


def test_a_body_is_refused_before_it_is_sent(real_cluster: ClusterHarness) -> None:
    """Who asks with `Expect: 100-continue` hears a refusal first, and is told to go on when there is none."""
    asking = (("Content-Length", "7"), ("Expect", "100-continue"))
    with Connection(real_cluster) as connection:
        connection.send(connection.signed("PUT", "/files/asked", *asking, secret="no"))
        assert connection.answer()[0] == 403
    with Connection(real_cluster) as connection:
        connection.send(connection.signed("PUT", "/files/asked", *asking))
        assert connection.answer()[0] == 100
        connection.send(b"content")
        assert connection.answer()[0] == 200


def test_answers_without_a_body_say_the_length(connection: Connection) -> None:
    """HEAD carries the object's length and no body, a 304 and a 204 none at all, on one connection."""
    content = b"twelve bytes"
    connection.send(connection.signed("PUT", "/files/twelve", ("Content-Length", "12")) + content)
    status, headers, _ = connection.answer()
    assert (status, headers["etag"]) == (200, f'"{hashlib.md5(content).hexdigest()}"')
    connection.send(connection.signed("HEAD", "/files/twelve"))
    status, found, body = connection.answer(head=True)
    assert (status, found["content-length"], body) == (200, "12", b"")
    connection.send(connection.signed("GET", "/files/twelve", ("If-None-Match", headers["etag"])))
    status, _, body = connection.answer()
    assert (status, body) == (304, b"")
    connection.send(connection.signed("HEAD", "/files/no-such-key"))
    assert connection.answer(head=True)[0] == 404
    connection.send(connection.signed("DELETE", "/files/twelve"))
    assert connection.answer()[0] == 204
    connection.send(connection.signed("GET", "/files/twelve"))
    assert connection.answer()[0] == 404


def test_names_that_only_differ_in_their_escapes(connection: Connection) -> None:
    """A plus is a plus, a percent sign a percent sign, and both ways to write a letter are the same key."""
    for path in ("/files/a%2Bb", "/files/a%20b", "/files/a%2520b", "/files/d//e", "/files/%C3%BC"):
        connection.send(connection.signed("PUT", path, ("Content-Length", str(len(path)))) + path.encode())
        assert connection.answer()[0] == 200, path
    for path, written in {
        "/files/a%2Bb": "/files/a+b",
        "/files/a%20b": "/files/%61%20b",
        "/files/a%2520b": "/files/a%2520%62",
        "/files/d//e": "/files/d//e",
        "/files/%C3%BC": "/files/%c3%bc",
    }.items():
        connection.send(connection.signed("GET", path, sent_as=written))
        assert connection.answer()[2] == path.encode(), path


def test_buckets_have_host_names_of_their_own(real_cluster: ClusterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a domain for S3 the certificate is good for every bucket's name in it, and boto3 uses those by default."""
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *arguments: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(REAL_DOMAIN) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    port = urlsplit(real_cluster.proxy_urls[0]).port
    virtual = boto3_client(real_cluster, endpoint=f"https://{REAL_DOMAIN}:{port}", s3={"addressing_style": "virtual"})
    virtual.create_bucket(Bucket="by-its-name")
    virtual.put_object(Bucket="by-its-name", Key="a/b", Body=b"content")
    assert [one["Key"] for one in virtual.list_objects_v2(Bucket="by-its-name")["Contents"]] == ["a/b"]
    by_path = boto3_client(real_cluster, s3={"addressing_style": "path"})
    assert by_path.get_object(Bucket="by-its-name", Key="a/b")["Body"].read() == b"content"
