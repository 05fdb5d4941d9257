"""Bad input against a real cluster: a clear refusal with the right status, and nothing lost or half done."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import ssl
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import TicketRefused
from lockstep_store.wire.messages.servers import HOP_HEADER, TICKET_HEADER, WRITE_PATH
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, file_path, new_token
from tests.waiting import wait_until


def _raw(cluster: ClusterHarness, lines: list[str], body: bytes, *, cut: bool = False) -> tuple[int, bytes]:
    """A request written by hand, so that it can be wrong; (0, b"") when the connection is cut without an answer."""
    parts = urlsplit(cluster.proxy_urls[0])
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    with socket.create_connection((parts.hostname, parts.port), 60) as raw:
        with context.wrap_socket(raw, server_hostname=parts.hostname) as tls:
            head = [*lines, f"Host: {parts.netloc}", f"X-Api-Key: {cluster.admin_key}", "Connection: close"]
            tls.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            if cut:
                with socket.socket(fileno=os.dup(tls.fileno())) as twin:
                    twin.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(OSError):
                while block := tls.recv(65536):
                    answer += block
    if not answer:
        return 0, b""
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_bytes[9:12]), rest


def _problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["request_id"]
    assert len(problem["detail"]) > 10
    return problem


GOOD_NAMES = [
    "plain",
    "with space.txt",
    "emoji 🦊.png",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "folder/",
    "percent%2Fkept",
    "question?mark#hash",
    "x" * 1015,
]


def test_good_names_are_kept_exactly(shared_cluster: ClusterHarness) -> None:
    """Spaces, emoji, both Unicode forms, a trailing slash and a literal percent sign come back as they went in."""
    with Person(shared_cluster) as person:
        for name in GOOD_NAMES:
            person.put(f"names/{name}", name.encode())
        for name in GOOD_NAMES:
            assert person.get(f"names/{name}") == name.encode()
        listed = person.ask("GET", "/files/files", params={"prefix": "names/"}).json()["files"]
        assert {entry["path"] for entry in listed} == {f"names/{name}" for name in GOOD_NAMES}
        slash = person.ask("GET", "/files/files/names%2Fplain")
        assert slash.content == b"plain"  # %2F and / are the same character of a path


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "../../etc/passwd", "%2Fabsolute", "a%00b", "a%0Ab", "x" * 1025, "%FF%FE", "."]
)
def test_bad_names_are_refused(shared_cluster: ClusterHarness, name: str) -> None:
    """A name that climbs, is absolute, too long, or has control or invalid characters is a 400 with a reason."""
    for method, length in (("GET", []), ("PUT", ["Content-Length: 1"]), ("DELETE", [])):
        body = b"x" if method == "PUT" else b""
        status, answer = _raw(shared_cluster, [f"{method} /api/v1/files/files/{name} HTTP/1.1", *length], body)
        assert status == 400, answer
        assert json.loads(answer)["code"] in ("bad_name", "bad_request")


def test_a_body_that_is_not_what_was_declared_changes_nothing(shared_cluster: ClusterHarness) -> None:
    """Cut short, or without a length: refused (or the connection cut), and the old content stays."""
    with Person(shared_cluster) as person:
        for size in (1000, 3_000_000):
            path = f"cut-{size}"
            person.put(path, b"before")
            request = [f"PUT {'/api/v1' + file_path('files', path)} HTTP/1.1", f"Content-Length: {size}"]
            status, answer = _raw(shared_cluster, request, b"x" * (size // 2), cut=True)
            assert status in (0, 400), answer
            assert person.get(path) == b"before"
        chunked = [f"PUT {'/api/v1' + file_path('files', path)} HTTP/1.1", "Transfer-Encoding: chunked"]
        status, answer = _raw(shared_cluster, chunked, b"3\r\nabc\r\n0\r\n\r\n")
        assert status == 411, answer
        none = [f"PUT {'/api/v1' + file_path('files', path)} HTTP/1.1"]
        status, answer = _raw(shared_cluster, none, b"")
        assert status == 411, answer
        assert person.get(path) == b"before"
        longer = [f"PUT {'/api/v1' + file_path('files', path)} HTTP/1.1", "Content-Length: 3"]
        status, _ = _raw(shared_cluster, longer, b"abcdefgh")
        assert status == 200
        assert person.get(path) == b"abc"  # HTTP itself ends a body at its length; the rest is another request


def test_an_empty_file_is_a_file(shared_cluster: ClusterHarness) -> None:
    """0 bytes go in, come out, and have a digest and a version."""
    with Person(shared_cluster) as person:
        person.put("empty", b"")
        answer = person.ask("GET", file_path("files", "empty"))
        assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
        assert answer.headers["X-Lockstep-Digest"].startswith("af1349b9")


def test_wrong_expired_and_others_credentials(shared_cluster: ClusterHarness) -> None:
    """No credential, a wrong one, one that was logged out, and another person's private bucket."""
    with Person(shared_cluster) as person:
        for headers in (
            {},
            {"Authorization": "Bearer lst_" + "x" * 43},
            {"X-Api-Key": "lsk_nonsense"},
            {"X-Api-Key": "é"},
        ):
            person.session.headers.pop("X-Api-Key", None)
            answer = person.ask("GET", "/files/files", headers={k: v.encode() for k, v in headers.items()})
            _problem(answer, 401, "not_logged_in")
    token = new_token(shared_cluster, "leaver")
    with Person(shared_cluster, token=token) as person:
        assert person.ask("GET", "/auth/me").status_code == 200
        assert person.ask("POST", "/auth/logout").status_code in (200, 204)
        _problem(person.ask("GET", "/auth/me"), 401, "not_logged_in")
    bucket = f"private-{secrets.token_hex(4)}"
    with Person(shared_cluster, token=new_token(shared_cluster, "owner")) as owner:
        assert owner.ask("POST", "/buckets", json={"name": bucket}).status_code == 201
        owner.put("secret", b"mine", bucket=bucket)
    with Person(shared_cluster, 2, token=new_token(shared_cluster, "stranger")) as stranger:
        for method in ("GET", "PUT", "DELETE"):
            _problem(stranger.ask(method, file_path(bucket, "secret"), data=b"x"), 403, "forbidden")
    _wrong_password(shared_cluster)


def _wrong_password(cluster: ClusterHarness) -> None:
    with Person(cluster) as person:
        answer = person.ask("POST", "/auth/login", json={"username": "owner", "password": "wrong"})
        _problem(answer, 401, "not_logged_in")


def _begin(cluster: ClusterHarness, client: PeerClient, path: str) -> tuple[str, str]:
    item = BeginItem(credential=cluster.admin_key, write_id=secrets.token_hex(16), bucket="files", path=path)
    begun = client.call(cluster.directory_url, BEGIN, BeginRequest([item])).results[0].unwrap()
    assert begun.ticket is not None
    assert begun.master is not None
    return begun.ticket, begun.master.url


def test_tickets_are_good_for_one_write_on_one_server(shared_cluster: ClusterHarness) -> None:
    """Altered, garbage, or carried to a server that it does not name: refused. Replayed: the same version again."""
    identity = ensure_identity(shared_cluster.folder.certs_dir, "client_proxy", "1")
    client = PeerClient(identity, directory=shared_cluster.directory_url)

    def send(url: str, ticket: str, content: bytes, hop: str = "master") -> bytes:
        headers = {TICKET_HEADER: ticket, HOP_HEADER: hop}
        return client.send_stream(url, WRITE_PATH, headers, encode_stream(chunk_bytes(content)))

    ticket, master = _begin(shared_cluster, client, "ticketed")
    others = [url for url in shared_cluster.file_server_urls if url != master]
    body, mac = ticket.split(".")
    for bad in ("garbage", body, f"{body}.{mac[:-4]}AAAA", f"{body[:-6]}AAAAAA.{mac}"):
        with pytest.raises(TicketRefused):
            send(master, bad, b"content")
    for other in others:
        with pytest.raises(TicketRefused):
            send(other, ticket, b"content")
    first = json.loads(send(master, ticket, b"content"))["version"]["version"]
    again = json.loads(send(master, ticket, b"content"))["version"]["version"]
    assert first == again
    with Person(shared_cluster) as person:
        versions = person.ask("GET", "/versions/files/ticketed").json()["versions"]
        assert [version["version"] for version in versions] == [first]
        with pytest.raises(TicketRefused):
            send(master, ticket, b"other content under a used ticket")
        assert person.get("ticketed") == b"content"
    client.close()


def test_lock_numbers_that_are_old_foreign_or_invented(shared_cluster: ClusterHarness) -> None:
    """Only the current number of the path's own lock, used by its owner, opens a locked path."""
    token = new_token(shared_cluster, "holder")
    with Person(shared_cluster) as admin, Person(shared_cluster, 2, token=token) as holder:
        admin.put("guarded", b"0")
        with holder.lock("guarded") as old:
            holder.put("guarded", b"1", X_Lockstep_Lock=str(old))
            locked = _problem(admin.ask("PUT", file_path("files", "guarded"), data=b"x"), 423, "locked")
            assert locked["holder"] == "holder"
            assert locked["seconds_left"] > 0
            _problem(admin.ask("DELETE", file_path("files", "guarded")), 423, "locked")
            copy = {"source": {"bucket": "files", "path": "guarded"}, "bucket": "files", "path": "guarded"}
            _problem(admin.ask("POST", "/copy", json=copy), 423, "locked")
            for number in (str(old), "999999999"):
                answer = admin.ask("PUT", file_path("files", "guarded"), data=b"x", headers={"X-Lockstep-Lock": number})
                assert answer.status_code in (409, 423), answer.text
        for number in (str(old), "999999999"):
            answer = holder.ask("PUT", file_path("files", "guarded"), data=b"x", headers={"X-Lockstep-Lock": number})
            _problem(answer, 409, "lock_stale")
        with holder.lock("guarded") as new:
            assert new > old
            answer = holder.ask("PUT", file_path("files", "guarded"), data=b"x", headers={"X-Lockstep-Lock": str(old)})
            _problem(answer, 409, "lock_stale")
        for nonsense in ("abc", "-1", "1.5"):
            answer = holder.ask("PUT", file_path("files", "guarded"), data=b"x", headers={"X-Lockstep-Lock": nonsense})
            assert answer.status_code == 400, answer.text
        assert holder.get("guarded") == b"1"


def test_a_lease_that_ends_during_the_write_refuses_the_write(shared_cluster: ClusterHarness) -> None:
    """A slow upload whose lock ran out meanwhile is refused at the end, and the next holder's content stands."""
    with Person(shared_cluster) as slow, Person(shared_cluster, 2) as next_one:
        slow.put("leased", b"before")
        lock = slow.ask("POST", "/locks", json={"paths": ["files/leased"], "lease_seconds": 1}).json()["lock"]
        with next_one.lock("leased") as number:  # granted when the lease has ended
            next_one.put("leased", b"by the next holder", X_Lockstep_Lock=str(number))
            late = slow.ask(
                "PUT", file_path("files", "leased"), data=b"late", headers={"X-Lockstep-Lock": str(lock["number"])}
            )
            assert late.status_code in (409, 423), late.text
        lock = slow.ask("POST", "/locks", json={"paths": ["files/leased"], "lease_seconds": 1}).json()["lock"]

        def dribble() -> Any:
            yield b"a" * 600_000
            wait_until(lambda: not slow_locks(next_one), 60, "the end of the lease")
            yield b"b" * 600_000

        answer = slow.ask(
            "PUT",
            file_path("files", "leased"),
            data=_Sized(dribble(), 1_200_000),
            headers={"X-Lockstep-Lock": str(lock["number"])},
        )
        _problem(answer, 409, "lock_stale")
        assert slow.get("leased") == b"by the next holder"


def slow_locks(person: Person) -> list[Any]:
    held = person.ask("GET", "/locks").json()["locks"]
    return [lock for lock in held if any(path["path"] == "leased" for path in lock["paths"])]


class _Sized:
    """An iterable body with a declared length, so that requests sends Content-Length and not chunks."""

    def __init__(self, blocks: Any, length: int) -> None:
        self._blocks, self._length = iter(blocks), length

    def __len__(self) -> int:
        return self._length

    def read(self, count: int = -1) -> bytes:
        return next(self._blocks, b"")


def test_one_of_many_racing_creators_wins(shared_cluster: ClusterHarness) -> None:
    """Ten clients on two proxies create the same path with If-None-Match: *; exactly one succeeds, ten times over."""
    with ThreadPoolExecutor(10) as pool:
        for round_number in range(10):
            path, gate = f"race-{secrets.token_hex(6)}", threading.Barrier(10)

            def create(n: int, path: str = path, gate: threading.Barrier = gate) -> int:
                with Person(shared_cluster, 1 + n % 2) as person:
                    gate.wait(60)
                    answer = person.ask("PUT", file_path("files", path), data=b"%d" % n, headers={"If-None-Match": "*"})
                    return answer.status_code

            statuses = list(pool.map(create, range(10)))
            assert sorted(statuses) == [201] + [412] * 9, f"round {round_number}: {statuses}"


def test_waiting_in_line_is_fair_and_visible(shared_cluster: ClusterHarness) -> None:
    """Three people wait for one lock: each sees their place and the holder, and they are served in order."""
    order: list[str] = []
    with Person(shared_cluster, token=new_token(shared_cluster, "first")) as first:
        answer = first.ask("POST", "/locks", json={"paths": ["files/queue"], "client": "desk"})
        lock = answer.json()["lock"]
        threads = []
        for place, name in enumerate(("second", "third", "fourth"), 1):
            token = new_token(shared_cluster, name)
            with Person(shared_cluster, 2, token=token) as person:
                body = {"paths": ["files/queue"], "wait_seconds": 0, "request_id": f"{name}-request-id-1"}
                answer = person.ask("POST", "/locks", json=body)
                assert answer.status_code == 202, answer.text
                waiting = answer.json()
                assert waiting["waiter"]["place"] == place
                assert waiting["holders"][0]["account"] == "first"
                assert waiting["holders"][0]["seconds_left"] > 0

            def wait(name: str = name, token: str = token, body: dict[str, Any] = body) -> None:
                with Person(shared_cluster, 2, token=token) as person:
                    answer = person.ask("POST", "/locks", json={**body, "wait_seconds": 30})
                    assert answer.status_code == 200, answer.text
                    order.append(name)
                    person.ask("DELETE", f"/locks/{answer.json()['lock']['id']}")

            threads.append(threading.Thread(target=wait))
        for thread in reversed(threads):
            thread.start()
            time.sleep(0.05)  # the last in line asks first; the order must be the queue's, not the askers'
        assert first.ask("DELETE", f"/locks/{lock['id']}").status_code == 204
        for thread in threads:
            thread.join(60)
    assert order == ["second", "third", "fourth"]


def test_a_wait_that_would_never_end_is_refused_by_name(shared_cluster: ClusterHarness) -> None:
    """Two people who hold what the other wants: the second wait is refused, and the message names the cycle."""
    with (
        Person(shared_cluster, 1, token=new_token(shared_cluster, "ada")) as ada,
        Person(shared_cluster, 2, token=new_token(shared_cluster, "bob")) as bob,
    ):
        locks = [
            person.ask("POST", "/locks", json={"paths": [f"files/dead-{name}"]}).json()["lock"]["id"]
            for person, name in ((ada, "a"), (bob, "b"))
        ]
        body = {"paths": ["files/dead-b"], "wait_seconds": 0, "request_id": "ada-waits-for-b-1"}
        assert ada.ask("POST", "/locks", json=body).status_code == 202
        problem = _problem(
            bob.ask("POST", "/locks", json={"paths": ["files/dead-a"], "wait_seconds": 5}), 409, "deadlock"
        )
        assert all(word in problem["detail"] for word in ("ada", "bob", "dead-a", "dead-b"))
        for person, lock in zip((ada, bob), locks, strict=True):
            person.ask("DELETE", f"/locks/{lock}")
        ada.ask("DELETE", "/locks/ada-waits-for-b-1")


def test_addresses_in_other_spellings(shared_cluster: ClusterHarness) -> None:
    """Unknown addresses, wrong methods and bodies that are not JSON are problems too, not pages."""
    with Person(shared_cluster) as person:
        _problem(person.ask("GET", "/nothing"), 404, "not_found")
        _problem(person.ask("PATCH", file_path("files", "x")), 405, "method_not_allowed")
        _problem(
            person.ask("POST", "/locks", data=b"{", headers={"Content-Type": "application/json"}), 400, "bad_request"
        )
        _problem(person.ask("GET", file_path("files", quote("never written"))), 404, "not_found")
        _problem(person.ask("GET", "/files/nobucket/x"), 404, "not_found")
