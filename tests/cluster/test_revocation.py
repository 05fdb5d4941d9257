"""A program that is removed while it runs is refused by all others, soon and for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from local_cluster.plan import Program
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import LockstepError, PeerRefused, PeerUnreachable
from lockstep_store.wire.messages.cluster import RENEW_CERTIFICATE, RenewCertificateRequest
from lockstep_store.wire.messages.servers import MISSING_CHUNKS, MissingChunksRequest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.people import Person
from tests.waiting import wait_until

HEARTBEAT_SECONDS = 1.0
SLACK_SECONDS = 10.0
"""For a machine that others use: what matters is that it is no matter of minutes."""
ANY_CHUNK = MissingChunksRequest([chunk_digest(b"anything")])


@contextmanager
def calls_as(cluster: ClusterHarness, program: Program, id: str) -> Iterator[PeerClient]:
    """Calls with the key, certificate and token of a program of this cluster, as someone who copied them makes."""
    certs = cluster.folder.certs_dir
    own = certs / f"{program}-{id}"
    token = (own / "peer.token").read_text("ascii").strip()
    files = (certs / "ca.pem", own / "cert.pem", own / "key.pem")
    identity = Identity(program, id, *files, peer_token=token, storage_keys_file=certs / "storage-keys.json")
    client = PeerClient(identity, directory=cluster.directory_url)
    try:
        yield client
    finally:
        client.close()


def ask_directory(cluster: ClusterHarness, client: PeerClient) -> str:
    """How the directory answers a call: `served`, `refused`, or `away`."""
    return outcome(lambda: client.call(cluster.directory_url, RENEW_CERTIFICATE, RenewCertificateRequest("none")))


def ask_server(cluster: ClusterHarness, client: PeerClient, id: int) -> str:
    """The same of a file server."""
    return outcome(lambda: client.call(cluster.url("file_server", id), MISSING_CHUNKS, ANY_CHUNK))


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except PeerRefused:
        return "refused"
    except PeerUnreachable as error:
        return "refused" if "revoked" in str(error) or "alert" in str(error) else "away"
    except LockstepError:
        return "served"  # whatever was wrong with the request, the caller was accepted
    return "served"


def seconds_until_refused(ask: Callable[[], str], since: float) -> float:
    """Ask until the answer is `refused`; the seconds since then. Between listeners a program may be away."""
    wait_until(lambda: ask() == "refused", what="the refusal")
    return time.monotonic() - since


def test_a_removed_file_server_is_refused_by_all(make_cluster: MakeCluster, seed: int) -> None:
    """By the directory from the reply on, by the other file servers within a heartbeat, on open connections and new
    ones, after kill -9 of all of them, and although it still runs and its certificate is valid for months. People's
    files are still there."""
    cluster = make_cluster()
    with ExitStack() as stack:
        person = stack.enter_context(Person(cluster))
        open_before = stack.enter_context(calls_as(cluster, "file_server", "3"))
        for number in range(20):
            person.put(f"f{number}", bytes([number]) * 5000)
        assert ask_directory(cluster, open_before) == "served"
        assert [ask_server(cluster, open_before, id) for id in (1, 2)] == ["served", "served"]

        assert person.ask("POST", "/cluster/servers/3/drain", json={}).status_code == 200
        wait_until(lambda: state_of(person, "3") == "drained", 180, "a drained server")
        removed_at = time.monotonic()
        assert person.ask("DELETE", "/cluster/servers/3").status_code == 204
        assert ask_directory(cluster, open_before) != "served"
        took = {
            f"file server {id}": seconds_until_refused(lambda id=id: ask_server(cluster, open_before, id), removed_at)  # type: ignore[misc]
            for id in (1, 2)
        }
        took["directory"] = seconds_until_refused(lambda: ask_directory(cluster, open_before), removed_at)
        assert max(took.values()) < HEARTBEAT_SECONDS + SLACK_SECONDS, took
        print({name: round(seconds, 2) for name, seconds in took.items()})

        fresh = stack.enter_context(calls_as(cluster, "file_server", "3"))
        assert seconds_until_refused(lambda: ask_directory(cluster, fresh), time.monotonic()) < SLACK_SECONDS
        assert cluster.record("file_server", 3).running, "removed, it still runs: nobody obeys it any more"

        for program, id in (("directory_server", 1), ("file_server", 1), ("file_server", 2)):
            cluster.kill(program, id)  # type: ignore[arg-type]
        # A handshake that is refused may look like a program that is away, so a member asks first.
        member = stack.enter_context(calls_as(cluster, "file_server", "2"))
        again = stack.enter_context(calls_as(cluster, "file_server", "3"))
        cluster.start("file_server", 1, wait=False)  # before the directory: it has its own copy of the list
        wait_until(lambda: ask_server(cluster, member, 1) == "served", what="file server 1")
        assert "served" not in [ask_server(cluster, client, 1) for client in (again, fresh)]
        cluster.start("directory_server", wait=False)
        cluster.start("file_server", 2, wait=False)
        wait_until(lambda: ask_directory(cluster, member) == "served", what="the directory")
        assert "served" not in [ask_directory(cluster, client) for client in (again, fresh)]
        wait_until(lambda: ask_server(cluster, member, 2) == "served", what="file server 2")
        assert "served" not in [ask_server(cluster, client, id) for client in (again, fresh) for id in (1, 2)]
        for number in range(20):
            assert person.get(f"f{number}") == bytes([number]) * 5000


def state_of(person: Person, id: str) -> str:
    answer = person.patiently("GET", "/cluster/servers")
    found = next(server for server in answer.json()["file_servers"] if server["id"] == id)
    return "drained" if found.get("drained") else str(found["state"])


def test_a_removed_proxy_serves_nobody(make_cluster: MakeCluster) -> None:
    """It still runs and people reach it, but directory and file servers refuse it: no read and no write succeeds. A
    file server's key that was revoked alone is refused too, and the server's data stays."""
    cluster = make_cluster()
    with Person(cluster, 1) as first, Person(cluster, 2) as second, calls_as(cluster, "client_proxy", "2") as stolen:
        first.put("f", b"content")
        assert second.get("f") == b"content"
        assert first.ask("DELETE", "/cluster/proxies/2").status_code == 204
        wait_until(lambda: second.ask("GET", "/files/files/f").status_code != 200, what="the end of its service")
        assert second.ask("PUT", "/files/files/g", data=b"x").status_code >= 400
        seconds_until_refused(lambda: ask_server(cluster, stolen, 1), time.monotonic())
        assert ask_directory(cluster, stolen) == "refused"
        assert first.get("f") == b"content"
