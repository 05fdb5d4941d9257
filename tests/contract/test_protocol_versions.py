"""Programs of different releases: they work together while their versions meet, and say which to upgrade if not.

`test_wire_corpus.py` holds this release to every message that earlier ones send; here it meets programs that send no
versions, and others that send ones that do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client_proxy.core.membership import ProxyMembership
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.wire import protocol_versions
from lockstep_store.wire.errors import Conflict
from lockstep_store.wire.messages.programs import PROXY_HEARTBEAT, ProxyHeartbeatReply, ProxyHeartbeatRequest
from lockstep_store.wire.messages.servers import REGISTER, RegisterRequest
from lockstep_store.wire.protocol_versions import why_not
from tests.fakes.whole_cluster import DIRECTORY_URL, WholeCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=2, proxies=1) as cluster:
        cluster.pass_time(1.0)
        yield cluster


@pytest.fixture
def version_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every program here is of a release that no longer works with version 1."""
    monkeypatch.setattr(protocol_versions, "PROTOCOL", 2)
    monkeypatch.setattr(protocol_versions, "OLDEST", 2)


def _proxy(cluster: WholeCluster) -> ProxyMembership:
    certs = cluster.settings.certs
    kept = KeptMembership(certs, "https://127.0.0.1:5000", certs / "client_proxy-1" / "cert.pem")
    peers = cluster.peers("client_proxy", "1")
    return ProxyMembership(
        lambda request: peers.call(DIRECTORY_URL, PROXY_HEARTBEAT, request),
        kept,
        url="https://127.0.0.1:5000",
        version="1.0",
    )


def test_this_release_works_with_those_that_say_nothing() -> None:
    """As recorded in the corpus: raising OLDEST ends that, and needs another number in the documents."""
    assert why_not("an old program", protocol_versions.FIRST, protocol_versions.FIRST, "this one") == ""
    assert protocol_versions.OLDEST <= protocol_versions.PROTOCOL


def test_an_older_file_server_and_proxy_are_served(cluster: WholeCluster) -> None:
    """They send neither number."""
    proxy = cluster.peers("client_proxy", "1")
    assert proxy.call(DIRECTORY_URL, PROXY_HEARTBEAT, ProxyHeartbeatRequest("https://p:1")).heartbeat_seconds > 0
    server = cluster.peers("file_server", "9")
    assert server.call(DIRECTORY_URL, REGISTER, RegisterRequest("https://s:1", "ab" * 16)).ticket_key


@pytest.mark.usefixtures("version_two")
def test_a_directory_refuses_what_is_too_old(cluster: WholeCluster) -> None:
    """Nothing is registered, and the sentence names the program to upgrade."""
    server = cluster.peers("file_server", "9")
    with pytest.raises(Conflict, match=r"works with versions 2 to 2: upgrade file server 9 \(0\.9\)") as refused:
        server.call(DIRECTORY_URL, REGISTER, RegisterRequest("https://s:1", "ab" * 16, version="0.9"))
    assert refused.value.facts["incompatible"] is True
    assert "9" not in {info.id for info in cluster.directory.membership.infos()}
    proxy = cluster.peers("client_proxy", "1")
    with pytest.raises(Conflict, match=r"upgrade client proxy 1 \(of an unknown version\)"):
        proxy.call(DIRECTORY_URL, PROXY_HEARTBEAT, ProxyHeartbeatRequest("https://p:1"))


def test_a_program_that_is_too_new_is_told_to_upgrade_the_directory(cluster: WholeCluster) -> None:
    """It says itself which versions it needs."""
    request = ProxyHeartbeatRequest("https://p:1", "9.0", protocol=9, oldest_protocol=8)
    with pytest.raises(Conflict, match=r"version 8 of the protocol or later, .*: upgrade this directory server"):
        cluster.peers("client_proxy", "1").call(DIRECTORY_URL, PROXY_HEARTBEAT, request)


def test_a_proxy_notices_a_directory_that_is_too_old(cluster: WholeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health says so until the directory is upgraded; the older directory itself checks nothing."""
    proxy = _proxy(cluster)
    proxy.step()
    assert proxy.problem == ""
    monkeypatch.setattr(protocol_versions, "PROTOCOL", 2)
    monkeypatch.setattr(protocol_versions, "OLDEST", 2)
    monkeypatch.setattr(proxy, "_ask", lambda request: ProxyHeartbeatReply(1.0))
    proxy.step()
    assert proxy.is_incompatible
    assert proxy.problem.endswith(
        "but this client proxy (1.0) works with versions 2 to 2: upgrade the directory server"
    )
    monkeypatch.setattr(proxy, "_ask", lambda request: ProxyHeartbeatReply(1.0, protocol=2, oldest_protocol=2))
    proxy.step()
    assert not proxy.is_incompatible
    assert proxy.problem == ""


def test_a_file_server_takes_no_writes_from_a_directory_that_is_too_old(
    cluster: WholeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It registers with it as soon as it is upgraded."""
    link = cluster.servers["1"].link
    link.register_again()
    with monkeypatch.context() as newer:
        newer.setattr(protocol_versions, "OLDEST", 2)
        newer.setattr(protocol_versions, "PROTOCOL", 2)
        newer.setattr("directory_server.api.file_servers.refuse_other_protocols", lambda *_: None)
        ask = link._directory.ask

        def of_old(call: object, request: object, timeout: float) -> object:
            reply = ask(call, request, timeout)  # type: ignore[arg-type, type-var]
            if hasattr(reply, "oldest_protocol"):
                reply.protocol = reply.oldest_protocol = 1
            return reply

        newer.setattr(link._directory, "ask", of_old)
        link.step()
        assert not link.registered
        assert "works with versions 2 to 2: upgrade the directory server" in link.problem
    link.step()
    assert link.registered
    assert link.problem == ""
