"""Several directory servers: which one is called, and what makes a program go on to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import pytest

from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.options import directory_urls
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.peers.directories import Directories
from lockstep_store.runtime.peers.liveness import Address, ProbeResult
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import Locked, PeerUnreachable, StandingBy
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.buckets import BUCKETS, BucketsReply
from tests.unit.runtime.http.test_service import free_port
from tests.unit.runtime.peers.test_liveness import Half

FIRST, SECOND, THIRD = "https://a:5050", "https://b:5050", "https://c:5050"


def answer(directories: Directories, error: Exception | None = None) -> str:
    """The address that a call goes to, which ends with `error`."""
    called: list[str] = []
    with suppress(PeerUnreachable, StandingBy, Locked), directories.calling() as url:
        called.append(url)
        if error is not None:
            raise error
    return called[0]


def test_the_one_that_answered_is_kept() -> None:
    directories = Directories(f"{FIRST},{SECOND},{THIRD}")
    assert [answer(directories) for _ in range(3)] == [FIRST] * 3
    assert answer(directories, StandingBy("stands by")) == FIRST
    assert answer(directories, PeerUnreachable("gone")) == SECOND
    assert [answer(directories) for _ in range(3)] == [THIRD] * 3
    assert answer(directories, PeerUnreachable("gone")) == THIRD
    assert answer(directories) == FIRST


def test_a_refusal_is_an_answer() -> None:
    directories = Directories(f"{FIRST},{SECOND}")
    answer(directories, Locked("held by ann"))
    assert answer(directories) == FIRST


def test_calls_that_fail_together_move_on_once() -> None:
    directories = Directories(f"{FIRST},{SECOND},{THIRD}")
    with pytest.raises(PeerUnreachable), directories.calling():
        answer(directories, PeerUnreachable("gone"))
        raise PeerUnreachable("gone, too")
    assert answer(directories) == SECOND


def test_a_single_one_is_called_whatever_happens() -> None:
    directories = Directories(FIRST)
    answer(directories, PeerUnreachable("gone"))
    assert answer(directories) == FIRST


def test_addresses_are_checked_one_by_one() -> None:
    context, option = click.Context(click.Command("x")), click.Option(["--directory"])
    assert directory_urls(context, option, f"{FIRST}/, {SECOND},{FIRST}") == f"{FIRST},{SECOND}"
    for wrong in (f"{FIRST},http://b", f"{FIRST},", "b:5050"):
        with pytest.raises(click.BadParameter, match="not an https:// address"):
            directory_urls(context, option, wrong)


# ---------------------------------------------------------------- real connections


class Servers:
    """Directory servers of one cluster, and a proxy that knows their addresses."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.certs = folder
        self.authority: CertificateAuthority = ensure_authority(folder)
        self.identity = ensure_identity(folder, "directory_server", "1")
        self.proxy = ensure_identity(folder, "client_proxy", "1")
        self._stack = stack

    def add(self, serve: Callable[[], BucketsReply]) -> str:
        """Start one that answers BUCKETS, for peers with a token only; return its address."""
        api = Api("directory_server", "1", self.authority.verify_peer_token)
        api.serve(BUCKETS, lambda request, peer: serve(), roles=("client_proxy",))
        port, files = free_port(), self.identity
        service = Service(
            api,
            host="127.0.0.1",
            port=port,
            cert_file=files.cert_file,
            key_file=files.key_file,
            client_ca=files.ca_file,
        ).start()
        self._stack.callback(service.stop)
        return f"https://127.0.0.1:{port}"

    def client(self, *urls: str, timeout: float = 10.0) -> PeerClient:
        def silent(address: Address, seconds: float) -> ProbeResult:
            return ProbeResult.SILENT

        client = PeerClient(self.proxy, timeout=timeout, directory=",".join(urls), probe=silent)
        self._stack.callback(client.close)
        return client


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, stack)


def stand_by() -> BucketsReply:
    raise StandingBy("this directory server stands by")


def test_a_program_finds_the_active_one(servers: Servers) -> None:
    """Past one that does not run and one that stands by; the caller repeats the call, as it does for a restart."""
    gone, standby, active = (
        f"https://127.0.0.1:{free_port()}",
        servers.add(stand_by),
        servers.add(lambda: BucketsReply([])),
    )
    client = servers.client(gone, standby, active)
    name = f"{gone},{standby},{active}"
    with pytest.raises(PeerUnreachable, match="refused the connection"):
        client.call(name, BUCKETS, CredentialRequest("key"))
    with pytest.raises(StandingBy):
        client.call(name, BUCKETS, CredentialRequest("key"))
    for _ in range(3):
        assert client.call(name, BUCKETS, CredentialRequest("key")).buckets == []


def test_a_long_call_to_a_frozen_one_is_cut(servers: Servers) -> None:
    """Its own time-out is far away; the failure detector watches a directory server that has a standby."""
    hung = Half(servers.certs, 0)
    try:
        active = servers.add(lambda: BucketsReply([]))
        client = servers.client(hung.url, active, timeout=300.0)
        with pytest.raises(PeerUnreachable, match="handshake"):
            client.call(f"{hung.url},{active}", BUCKETS, CredentialRequest("key"))
        assert client.call(f"{hung.url},{active}", BUCKETS, CredentialRequest("key")).buckets == []
    finally:
        hung.close()
