"""The API on the real runner, over real sockets and TLS: what only shows there."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lockstep_store.runtime.http.content import WHOLE_ANSWER_BYTES
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import Locked, Unavailable
from tests.fakes.lasting_ports import lasting_ports
from tests.unit.rest_door import TOKEN, Door, make_door
from tests.waiting import wait_until

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
FILES = "/api/v1/files/files/"


class Running:
    """A served door. `door` is made new for every test by `reset`."""

    def __init__(self, certs: Path) -> None:
        ensure_authority(certs)
        identity = ensure_identity(certs, "client_proxy", "1")
        self.door = make_door()
        self.ca = str(identity.ca_file)
        (self.port,) = lasting_ports(1)
        self.service = Service(
            lambda environ, start: self.door.app(environ, start),
            host="127.0.0.1",
            port=self.port,
            cert_file=identity.cert_file,
            key_file=identity.key_file,
            threads=8,
        ).start()
        self.url = f"https://127.0.0.1:{self.port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.ca
        self.session.headers.update(HEADERS)

    def raw(self, request: bytes) -> ssl.SSLSocket:
        """A connection on which `request` was sent."""
        context = ssl.create_default_context(cafile=self.ca)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall(request)
        return connection


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("certs"))
    yield running
    running.session.close()
    running.service.stop()


@pytest.fixture
def running(served: Running) -> Running:
    served.door = make_door()
    return served


def _request(method: str, target: str, *lines: str) -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
    return "\r\n".join(head).encode()


def test_a_client_that_goes_away_in_an_upload_stores_nothing(running: Running) -> None:
    """A connection closed in the middle of a body commits nothing, although the runner reports no error."""
    before = _refused_uploads(running.door)
    connection = running.raw(_request("PUT", FILES + "a", "Content-Length: 100000") + b"x" * 70_000)
    wait_until(lambda: bool(running.door.files.calls))
    connection.close()
    wait_until(lambda: _refused_uploads(running.door) == before + 1)
    assert running.door.files.contents == {}


def _refused_uploads(door: Door) -> float:
    text = door.ask("GET", "/metrics").body.decode()
    line = 'requests_total{method="PUT",route="/api/v1/files/{bucket}/{path}",status="400"} '
    return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if line in row)


def test_chunked_bodies_are_refused_even_beside_a_length(running: Running) -> None:
    """Transfer-Encoding: chunked is 411 for plain bytes, also when a Content-Length is sent with it."""
    for lines in (["Transfer-Encoding: chunked"], ["Content-Length: 3", "Transfer-Encoding: chunked"]):
        connection = running.raw(_request("PUT", FILES + "a", *lines) + b"3\r\nabc\r\n0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 411")
        connection.close()
    assert running.door.files.contents == {}


def test_a_broken_json_body_is_never_taken_as_none(running: Running) -> None:
    """Broken chunk framing and a body cut short are refused where a body is optional, and nothing is begun."""
    target = "/api/v1/cluster/balance"
    kind = "Content-Type: application/json"
    for framing in (b"zz\r\n{}\r\n0\r\n\r\n", b"e\r\n" + b'{"stop": true}' + b"\r\nzz\r\n", b"0\r\n\r\n"):
        connection = running.raw(_request("POST", target, kind, "Transfer-Encoding: chunked") + framing)
        assert connection.recv(65536).startswith(b"HTTP/1.1 411")
        connection.close()
    connection = running.raw(_request("POST", target, kind, "Content-Length: 14") + b'{"stop"')
    connection.close()
    connection = running.raw(
        _request("POST", target, kind, "Content-Length: 14", "Connection: close") + b'{"stop": true}'
    )
    assert connection.recv(65536).startswith(b"HTTP/1.1 500"), "the fake directory has no answer to a whole one"
    connection.close()
    assert [request.stop for _, request in running.door.directory.calls] == [True]


def test_a_file_that_breaks_off_is_seen_by_its_reader(running: Running) -> None:
    """When the rest of a large file cannot be had, the client's read fails: it never gets a short file as whole."""
    running.door.files.put("files", "large", b"x" * (3 * WHOLE_ANSWER_BYTES))
    running.door.files.read_error, running.door.files.break_after = Unavailable("every holder failed"), 5
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        running.session.get(running.url + FILES + "large")
    wait_until(lambda: running.door.files.opened[0].closed)


def test_a_reader_that_goes_away_frees_the_file(running: Running) -> None:
    """A client that closes in the middle of a large file makes the proxy stop reading it."""
    size = 16 * WHOLE_ANSWER_BYTES
    running.door.files.block = 16 * 1024  # so small that memory gives the rest no faster than a closing is noticed
    running.door.files.put("files", "large", b"x" * size)
    with running.session.get(running.url + FILES + "large", stream=True) as answer:
        assert answer.status_code == 200
        next(answer.iter_content(1024))
    wait_until(lambda: bool(running.door.files.opened) and running.door.files.opened[0].closed)
    assert running.door.files.opened[0].given < size // running.door.files.block


def test_a_refusal_of_a_large_upload_reaches_its_client(running: Running) -> None:
    """A client that sends megabytes before it reads gets its 423, not a reset connection."""
    running.door.files.error = Locked("bob has it", holder="bob")
    for size in (10, 100_000, 5_000_000, 30_000_000):
        answer = running.session.put(running.url + FILES + "a", data=b"x" * size)
        assert (answer.status_code, answer.json()["holder"]) == (423, "bob")


def test_names_travel_as_they_are(running: Running) -> None:
    """Spaces, slashes, emoji and both spellings of é arrive as sent, and back."""
    for sent, name in [
        ("a%20b", "a b"),
        ("a%2Fb", "a/b"),
        ("%F0%9F%98%80", "😀"),
        ("%C3%A9", "\u00e9"),
        ("e%CC%81", "e\u0301"),
        ("dir/", "dir/"),
    ]:
        assert running.session.put(running.url + FILES + sent, data=name.encode()).status_code == 201
        assert ("files", name) in running.door.files.contents
        assert running.session.get(running.url + FILES + sent).content == name.encode()
    connection = running.raw(_request("GET", FILES + "a/../b"))
    assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    connection.close()


def test_head_and_empty_answers_keep_the_connection(running: Running) -> None:
    """HEAD, 304, 204 and refused HEADs have no body on the wire, so the next answer on the connection is whole."""
    digest = running.door.files.put("files", "a", b"data").version.digest.hex()
    running.door.directory.answers["/v1/locks/release"] = None
    for _ in range(3):
        head = running.session.head(running.url + FILES + "a")
        assert (head.status_code, head.headers["Content-Length"]) == (200, "4")
        assert running.session.head(running.url + FILES + "none").status_code == 404
        fresh = running.session.get(running.url + FILES + "a", headers={"If-None-Match": f'"{digest}"'})
        assert (fresh.status_code, fresh.content) == (304, b"")
        assert running.session.delete(running.url + "/api/v1/locks/l1").status_code == 204
        assert running.session.get(running.url + FILES + "a").content == b"data"
        assert running.session.get(running.url + "/api/v1/nothing").status_code == 404


def test_many_readers_get_their_own_files(running: Running) -> None:
    """Concurrent readers of different files never get each other's bytes or request ids."""
    for number in range(8):
        running.door.files.put("files", f"f{number}", f"content {number}".encode() * 100)
    wrong: list[str] = []

    def read(number: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for turn in range(20):
                id = f"reader-{number}-{turn}"
                answer = session.get(
                    running.url + FILES + f"f{number}", headers={**HEADERS, "X-Request-Id": id}, verify=running.ca
                )
                if answer.content != f"content {number}".encode() * 100 or answer.headers["X-Request-Id"] != id:
                    wrong.append(id)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []
