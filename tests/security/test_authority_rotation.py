"""The certificate authority rotates: only the cluster's own are ever trusted, and a retired one is worth nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from client_proxy.core.membership import ProxyMembership
from lockstep_store.client.trust import learn
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.peers.proofs import ProofCheck, ProofMaker
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, issuer_id
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import (
    Identity,
    ensure_authority,
    ensure_identity,
    new_key_and_request,
    renewal_request,
)
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import PeerRefused, SetupError
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews
from lockstep_store.wire.messages.cluster import RENEW_CERTIFICATE, EnrolReply, RenewCertificateRequest
from lockstep_store.wire.messages.programs import PROXY_HEARTBEAT, ProxyHeartbeatRequest
from lockstep_store.wire.messages.servers import HEARTBEAT, MISSING_CHUNKS, HeartbeatRequest, MissingChunksRequest
from tests.fakes.whole_cluster import DIRECTORY_URL, LocalPeers, WholeCluster, server_url

AUTHORITIES = "/cluster/authorities"
ANY_CHUNK = MissingChunksRequest([chunk_digest(b"anything")])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=2, proxies=1) as cluster:
        cluster.pass_time(1.0)
        yield cluster


@pytest.fixture
def proxy(cluster: WholeCluster) -> ProxyMembership:
    """The heartbeats of proxy 1."""
    certs = cluster.settings.certs
    kept = KeptMembership(certs, "https://127.0.0.1:5000", certs / "client_proxy-1" / "cert.pem")
    peers = cluster.peers("client_proxy", "1")
    heartbeats = ProxyMembership(
        lambda request: peers.call(DIRECTORY_URL, PROXY_HEARTBEAT, request),
        kept,
        url="https://127.0.0.1:5000",
        version="0",
    )
    heartbeats.step()
    return heartbeats


def authorities(cluster: WholeCluster) -> list[dict[str, Any]]:
    answer = cluster.ask("GET", AUTHORITIES)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["authorities"]
    return found


def states(cluster: WholeCluster) -> list[str]:
    return [one["state"] for one in authorities(cluster)]


def post(cluster: WholeCluster, target: str, body: dict[str, Any] | None = None) -> Any:
    return cluster.ask("POST", target, json.dumps(body or {}).encode(), Content_Type="application/json")


def renewed(cluster: WholeCluster, *programs: tuple[str, str]) -> None:
    """Let these programs renew, as their jobs do when a heartbeat says that another authority issues."""
    issuer = authorities(cluster)[0]["id"]
    for role, id in programs:
        identity = ensure_identity(cluster.settings.certs, role, id)
        CertificateRenewal(identity, _nobody, issuer=lambda: issuer).step()


def _nobody(_: RenewCertificateRequest) -> EnrolReply:
    raise AssertionError("the authority is on this machine")


def rotate(cluster: WholeCluster, proxy: ProxyMembership) -> str:
    """Rotate until nothing needs the old authority any more; its id."""
    answer = post(cluster, f"{AUTHORITIES}/rotate")
    assert answer.status == 200, answer.body
    old = str(answer.json["authorities"][0]["id"])
    heartbeats(cluster, proxy)
    cluster.directory.authorities.step()
    assert states(cluster) == ["current", "old"]
    renewed(cluster, ("client_proxy", "1"), ("file_server", "1"), ("file_server", "2"))
    heartbeats(cluster, proxy)
    return old


def heartbeats(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    for _ in range(2):  # what the first one brings is in force at the second
        cluster.pass_time(1.0)
        proxy.step()


def shown_by(identity: Identity, cluster: WholeCluster) -> LocalPeers:
    return LocalPeers.with_token(cluster.programs, ProofMaker(identity).proof_for(server_url("1")))


def test_a_rotation_from_end_to_end(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """Nobody is refused between the steps; in the end the old authority's certificates are, and the files are there."""
    assert cluster.ask("PUT", "/files/files/f", b"content").status == 201
    before = shown_by(ensure_identity(cluster.settings.certs, "client_proxy", "1"), cluster)
    assert before.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing
    assert states(cluster) == ["current"]
    answer = post(cluster, f"{AUTHORITIES}/rotate")
    assert [one["state"] for one in answer.json["authorities"]] == ["current", "next"]
    old, new = (one["id"] for one in answer.json["authorities"])
    waiting = answer.json["authorities"][1]["waiting_for"]
    assert sorted(waiting) == [
        "file server 1 does not trust it yet",
        "file server 2 does not trust it yet",
        "proxy 1 does not trust it yet",
    ]
    cluster.directory.authorities.step()
    assert states(cluster) == ["current", "next"]
    assert before.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing
    heartbeats(cluster, proxy)
    cluster.directory.authorities.step()
    found = authorities(cluster)
    assert [(one["id"], one["state"]) for one in found] == [(new, "current"), (old, "old")]
    assert len(found[1]["needed_by"]) == 3
    refused = post(cluster, f"{AUTHORITIES}/{old}/retire")
    assert refused.status == 409
    assert "proxy 1 presents a certificate from it" in refused.json["detail"]

    renewed(cluster, ("client_proxy", "1"), ("file_server", "1"), ("file_server", "2"))
    heartbeats(cluster, proxy)
    after = shown_by(ensure_identity(cluster.settings.certs, "client_proxy", "1"), cluster)
    for peers in (before, after):
        assert peers.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing
    answer = post(cluster, f"{AUTHORITIES}/{old}/retire")
    assert answer.status == 200, answer.body
    cluster.directory.authorities.step()
    cluster.pass_time(1.0)
    assert states(cluster) == ["current"]
    with pytest.raises(PeerRefused, match="was retired"):
        before.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK)
    assert after.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing
    cluster.stop_directory()
    cluster.start_directory()
    cluster.stop_server("1")
    cluster.start_server("1")
    with pytest.raises(PeerRefused):
        before.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK)
    assert cluster.ask("GET", "/files/files/f").body == b"content"
    audit = cluster.ask("GET", "/audit").body
    assert b"certificate authority rotated" in audit
    assert b"certificate authority retired" in audit


def test_a_stolen_key_is_worth_nothing_afterwards(
    cluster: WholeCluster, proxy: ProxyMembership, tmp_path: Path
) -> None:
    """With a copy of the authority's folder anybody makes a proxy's certificate, until the authority is retired."""
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    shutil.copytree(cluster.settings.certs / "authority", stolen / "authority")
    shutil.copy(cluster.settings.certs / "ca.pem", stolen / "ca.pem")
    thief = shown_by(ensure_identity(stolen, "client_proxy", "1"), cluster)
    assert thief.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing
    thiefs = CertificateAuthority.load(stolen)
    forged, made_up = (
        LocalPeers.with_token(cluster.programs, thiefs.peer_token("client_proxy", id)) for id in ("1", "made-up")
    )
    beat = ProxyHeartbeatRequest("https://thief:5000", authorities=proxy._keeper.authorities)
    assert forged.call(DIRECTORY_URL, PROXY_HEARTBEAT, beat)
    old = rotate(cluster, proxy)
    assert forged.call(DIRECTORY_URL, PROXY_HEARTBEAT, beat)
    _, csr = new_key_and_request("client_proxy", "1")
    for one in (forged, made_up):  # or they would stay beyond the retirement
        with pytest.raises(PeerRefused, match="no certificate for this key"):
            one.call(DIRECTORY_URL, RENEW_CERTIFICATE, RenewCertificateRequest(csr))
    assert cluster.authority.programs.find("client_proxy", "made-up") is None
    heartbeats(cluster, proxy)
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 200
    cluster.directory.authorities.step()
    cluster.pass_time(1.0)
    with pytest.raises(PeerRefused, match="was retired"):
        forged.call(DIRECTORY_URL, PROXY_HEARTBEAT, beat)
    for identity in (ensure_identity(stolen, "client_proxy", "1"), ensure_identity(stolen, "file_server", "2")):
        with pytest.raises(PeerRefused):
            shown_by(identity, cluster).call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK)
    with pytest.raises(SetupError, match="do not match"):  # nor does its key work in the cluster's own folder
        for name in ("ca.key", "peer.key"):
            shutil.copy(stolen / "authority" / name, cluster.settings.certs / "authority" / name)
        CertificateAuthority.load(cluster.settings.certs)


def test_old_tokens_and_records_hold_up_the_retirement(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """Until every program shows a token of the new authority, and no file server keeps records under the old key."""
    assert cluster.ask("PUT", "/files/files/f", b"content").status == 201
    cluster.pass_time(1.0)
    before = cluster.peers("client_proxy", "1").shown_to(DIRECTORY_URL)
    old = rotate(cluster, proxy)
    assert authorities(cluster)[1].get("needed_by", []) == []
    assert cluster.servers["1"].redo_records.sealed_by == [authorities(cluster)[0]["id"]]
    assert cluster.peers("client_proxy", "1").shown_to(DIRECTORY_URL) != before

    late = LocalPeers.with_token(cluster.programs, before)
    state = cluster.servers["1"].link._state()
    late.call(DIRECTORY_URL, PROXY_HEARTBEAT, ProxyHeartbeatRequest("", authorities=proxy._keeper.authorities))
    server = cluster.peers("file_server", "1")
    server.call(DIRECTORY_URL, HEARTBEAT, msgspec.structs.replace(state, redo_sealed_by=[old]))
    refused = post(cluster, f"{AUTHORITIES}/{old}/retire")
    assert refused.status == 409
    assert "proxy 1 presents a peer token from it" in refused.json["detail"]
    assert "file server 1 keeps redo records encrypted with its key" in refused.json["detail"]
    heartbeats(cluster, proxy)
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 200
    with pytest.raises(PeerRefused, match="was retired"):
        late.call(DIRECTORY_URL, PROXY_HEARTBEAT, ProxyHeartbeatRequest(""))


def test_a_strangers_authority_is_never_trusted(cluster: WholeCluster, proxy: ProxyMembership, tmp_path: Path) -> None:
    """Not while two are, not with a link that a stranger signed, by programs as by people's clients."""
    certs = cluster.settings.certs
    stranger = ensure_authority(tmp_path / "stranger")
    stranger.introduce()
    rotate(cluster, proxy)
    strange = ensure_identity(tmp_path / "stranger", "client_proxy", "1")
    with pytest.raises(PeerRefused):
        shown_by(strange, cluster).call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK)
    check = ProofCheck(certs / "ca.pem", server_url("1"), cluster.authority.revocations())
    with pytest.raises(PeerRefused):
        check.verify(ProofMaker(strange).proof_for(server_url("1")))
    own = tmp_path / "ca.pem"
    shutil.copy(certs / "ca.pem", own)
    news = cluster.authority.trust_news()
    for forged in (
        stranger.trust_news(),
        TrustNews(news.ca_pem + stranger.ca_pem, news.links_pem + stranger.keys.links_pem),
        TrustNews(stranger.ca_pem, news.links_pem),
    ):
        with pytest.raises(SetupError):
            learn(own, forged)
    assert own.read_bytes() == (certs / "ca.pem").read_bytes()


def test_people_learn_the_authorities_from_a_proxy(
    cluster: WholeCluster, proxy: ProxyMembership, tmp_path: Path
) -> None:
    """The reply needs no log-in and has no secret; with the old file the new authority can be verified."""
    own = tmp_path / "ca.pem"
    shutil.copy(cluster.settings.certs / "ca.pem", own)
    old = rotate(cluster, proxy)
    news = TrustNews(cluster.authority.ca_pem, cluster.authority.keys.links_pem)
    assert "PRIVATE" not in news.ca_pem + news.links_pem
    assert learn(own, news)
    assert not learn(own, news)
    assert len(TrustedAuthorities.load(own).ids) == 2
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 200
    cluster.directory.authorities.step()
    assert learn(own, TrustNews(cluster.authority.ca_pem, cluster.authority.keys.links_pem))
    assert old not in TrustedAuthorities.load(own).ids


def test_a_program_that_is_away_holds_up_the_retirement(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """It is named; left behind, it is revoked, and its token is void."""
    cluster.stop_server("2")
    cluster.clock.advance(60.0)
    proxy.step()
    cluster.pass_time(1.0)
    removed = cluster.peers("file_server", "2")
    answer = post(cluster, f"{AUTHORITIES}/rotate")
    old = answer.json["authorities"][0]["id"]
    heartbeats(cluster, proxy)
    cluster.directory.authorities.step()
    assert states(cluster) == ["current", "old"]
    renewed(cluster, ("client_proxy", "1"), ("file_server", "1"))
    heartbeats(cluster, proxy)
    refused = post(cluster, f"{AUTHORITIES}/{old}/retire", {"without": [{"role": "file_server", "id": "1"}]})
    assert refused.status == 409
    assert "file server 2 does not trust the new authority yet" in refused.json["detail"]
    assert "proxy 1" not in refused.json["detail"]
    answer = post(cluster, f"{AUTHORITIES}/{old}/retire", {"without": [{"role": "file_server", "id": "2"}]})
    assert answer.status == 200, answer.body
    with pytest.raises(PeerRefused, match="was retired"):
        removed.call(DIRECTORY_URL, RENEW_CERTIFICATE, RenewCertificateRequest(""))


def test_after_a_restart_nobody_is_taken_for_ready(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """The directory waits for programs that may still run before the new authority issues, and retires none before
    every program has reported its certificate's issuer."""
    assert post(cluster, f"{AUTHORITIES}/rotate").status == 200
    cluster.stop_directory()
    cluster.start_directory()
    cluster.directory.authorities.step()
    assert states(cluster) == ["current", "next"]
    waiting = authorities(cluster)[1]["waiting_for"]
    assert "file server 1 has not reported since the directory's start" in waiting
    heartbeats(cluster, proxy)
    cluster.directory.authorities.step()
    renewed(cluster, ("client_proxy", "1"), ("file_server", "1"), ("file_server", "2"))
    cluster.stop_directory()
    cluster.start_directory()
    old = authorities(cluster)[1]["id"]
    needed = authorities(cluster)[1]["needed_by"]
    assert "proxy 1 has not reported since the directory's start" in needed
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 503
    heartbeats(cluster, proxy)
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 200


def test_the_directory_listens_with_it_before_others_learn_of_it(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """Its own listener counts: no program presents a certificate that it would refuse, and the old authority goes when
    it presents one from the new."""
    rotation = cluster.directory.authorities
    (old,) = (one["id"] for one in authorities(cluster))
    rotation.note_listener(AuthorityUse([old], old))
    new = post(cluster, f"{AUTHORITIES}/rotate").json["authorities"][1]["id"]
    heartbeats(cluster, proxy)
    rotation.step()
    assert authorities(cluster)[1]["waiting_for"] == ["the directory server's listener does not trust it yet"]
    rotation.note_listener(AuthorityUse([old, new], old))
    rotation.step()
    assert states(cluster) == ["current", "old"]
    renewed(cluster, ("client_proxy", "1"), ("file_server", "1"), ("file_server", "2"))
    heartbeats(cluster, proxy)
    assert post(cluster, f"{AUTHORITIES}/{old}/retire").status == 200
    rotation.step()
    assert states(cluster) == ["current", "leaving"]
    rotation.note_listener(AuthorityUse([old, new], new))
    rotation.step()
    assert states(cluster) == ["current"]


def test_no_rotation_while_a_program_is_too_old_for_it(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """A program of an earlier version would not learn of the new authority."""
    state = cluster.servers["2"].link._state()
    names = [name for name in state.__struct_fields__ if name != "authorities"]
    without = HeartbeatRequest(**{name: getattr(state, name) for name in names})
    reply = cluster.peers("file_server", "2").call(DIRECTORY_URL, HEARTBEAT, without)
    assert (reply.trust, reply.issuer) == (None, "")
    older = cluster.peers("client_proxy", "1")
    older.call(DIRECTORY_URL, PROXY_HEARTBEAT, ProxyHeartbeatRequest("https://127.0.0.1:5000"))
    refused = post(cluster, f"{AUTHORITIES}/rotate")
    assert refused.status == 409
    assert "file server 2 runs a version" in refused.json["detail"]
    assert "proxy 1 runs a version" in refused.json["detail"]
    assert states(cluster) == ["current"]


def test_only_administrators_rotate(cluster: WholeCluster) -> None:
    """A member sees and changes nothing; wrong ids and wrong order are refused in words."""
    eve = cluster.log_in("eve") | {"Content-Type": "application/json"}
    (current,) = (one["id"] for one in authorities(cluster))
    assert cluster.ask_with(eve, "GET", AUTHORITIES).status == 403
    assert cluster.ask_with(eve, "POST", f"{AUTHORITIES}/rotate", b"{}").status == 403
    assert cluster.ask_with(eve, "POST", f"{AUTHORITIES}/{current}/retire", b"{}").status == 403
    assert "authorities" not in cluster.ask_with(eve, "GET", "/cluster").json
    assert states(cluster) == ["current"]
    assert post(cluster, f"{AUTHORITIES}/0000000000000000/retire").status == 404
    assert post(cluster, f"{AUTHORITIES}/nonsense/retire").status == 404
    refused = post(cluster, f"{AUTHORITIES}/{current}/retire")
    assert (refused.status, "rotate first" in refused.json["detail"]) == (409, True)
    wrong = {"without": [{"role": "directory_server", "id": "1"}]}
    assert post(cluster, f"{AUTHORITIES}/{current}/retire", wrong).status == 400
    assert post(cluster, f"{AUTHORITIES}/rotate").status == 200
    assert post(cluster, f"{AUTHORITIES}/rotate").status == 409


def test_a_renewed_certificate_is_of_the_new_authority(cluster: WholeCluster, proxy: ProxyMembership) -> None:
    """Also when it is asked for over the network, where the reply has what is needed to trust it."""
    rotate(cluster, proxy)
    certs = cluster.settings.certs
    identity = ensure_identity(certs, "file_server", "1")
    new = authorities(cluster)[0]["id"]
    assert issuer_id(identity.ca_file, identity.cert_file) == new
    reply = cluster.peers("file_server", "1").call(
        DIRECTORY_URL, RENEW_CERTIFICATE, RenewCertificateRequest(renewal_request(identity))
    )
    assert reply.ca_pem == cluster.authority.ca_pem
    assert reply.links_pem == cluster.authority.keys.links_pem != ""
