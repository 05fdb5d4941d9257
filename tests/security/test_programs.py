"""Programs are members until they are removed, and are who they were invited as."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.peers.proofs import ProofMaker
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tls.contexts import certificate_info
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity, new_key_and_request, renew
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden, NotFound, PeerRefused, SetupError
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import programs as pm
from lockstep_store.wire.messages.servers import MISSING_CHUNKS, MissingChunksRequest
from tests.fakes.whole_cluster import DIRECTORY_URL, LocalPeers, WholeCluster, server_url

ANY_CHUNK = MissingChunksRequest([chunk_digest(b"anything")])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=3, proxies=2) as cluster:
        yield cluster


def invite(cluster: WholeCluster, role: str = "file_server", id: str = "", hosts: list[str] | None = None) -> str:
    """An administrator's invitation; its secret. Raises what the directory raises."""
    request = cm.JoinSecretRequest(cluster.admin_key, 600.0, role, id, hosts or [])  # type: ignore[arg-type]
    secret: str = cluster.peers("client_proxy", "1").call(DIRECTORY_URL, cm.JOIN_SECRET, request).secret
    return secret


def enrol(cluster: WholeCluster, secret: str, role: str, id: str, csr_names: tuple[str, ...] = ()) -> cm.EnrolReply:
    """Join with a secret, and a request that asks for other names."""
    return enrol_with(cluster, secret, role, id, new_key_and_request(role, id, csr_names)[1])


def enrol_with(cluster: WholeCluster, secret: str, role: str, id: str, csr: str) -> cm.EnrolReply:
    request = cm.EnrolRequest(secret, role, id, csr)  # type: ignore[arg-type]
    reply: cm.EnrolReply = cluster.peers("client_proxy", "1").call(DIRECTORY_URL, cm.ENROL, request)
    return reply


def names(reply: cm.EnrolReply) -> set[str]:
    return set(certificate_info(reply.cert_pem).hosts)


# ---------------------------------------------------------------- removal


def test_a_removed_file_server_is_out_at_once(cluster: WholeCluster) -> None:
    """Its token is refused from the answer on, and its proof by other file servers after their next heartbeat."""
    removed = cluster.peers("file_server", "3")
    assert removed.call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK).missing == ANY_CHUNK.digests
    assert cluster.ask("DELETE", "/cluster/servers/3").status == 204
    with pytest.raises(PeerRefused, match="was removed"):
        removed.call(DIRECTORY_URL, cm.RENEW_CERTIFICATE, cm.RenewCertificateRequest(""))
    cluster.stop_server("3")
    cluster.pass_time(1.0)
    for id in ("1", "2"):
        with pytest.raises(PeerRefused, match="was removed"):
            removed.call(server_url(id), MISSING_CHUNKS, ANY_CHUNK)


def test_a_removal_survives_restarts(cluster: WholeCluster) -> None:
    """The directory and a file server that start again still refuse the removed program, before any heartbeat."""
    removed = cluster.peers("client_proxy", "2")
    assert cluster.ask("DELETE", "/cluster/proxies/2").status == 204
    cluster.pass_time(1.0)
    cluster.stop_directory()
    cluster.start_directory()
    with pytest.raises(PeerRefused, match="was removed"):
        removed.call(DIRECTORY_URL, pm.PROXIES, cm.CredentialRequest(cluster.admin_key))
    certs = cluster.settings.certs
    membership = KeptMembership(certs, server_url("1"), certs / "file_server-1" / "cert.pem")
    with pytest.raises(PeerRefused, match="was removed"):
        membership.verify(removed.shown_to(server_url("1")))


def test_a_restored_backup_brings_no_program_back(cluster: WholeCluster, tmp_path: Path) -> None:
    """Removals lie with the authority: with the metadata of before, the program is still refused."""
    before = cluster.ask("GET", "/cluster/backup").body
    removed = cluster.peers("client_proxy", "2")
    assert cluster.ask("DELETE", "/cluster/proxies/2").status == 204
    assert before
    cluster.stop_directory()
    cluster.settings.metadata_file.unlink()
    for extra in cluster.settings.data.glob("metadata.db-*"):
        extra.unlink()
    (cluster.settings.data / "metadata.db").touch()
    cluster.start_directory()
    with pytest.raises(PeerRefused, match="was removed"):
        removed.call(DIRECTORY_URL, pm.PROXIES, cm.CredentialRequest(cluster.admin_key))


def test_a_running_removed_program_gets_no_certificate(cluster: WholeCluster) -> None:
    """Neither through the directory nor, on its machine, from the authority itself."""
    identity = ensure_identity(cluster.settings.certs, "client_proxy", "2")
    assert cluster.ask("POST", "/cluster/programs/client_proxy/2/revoke").status == 204
    with pytest.raises(SetupError, match="was removed"):
        renew(identity)


def test_a_removal_wins_against_a_renewal_under_way(cluster: WholeCluster) -> None:
    """Its token was good when the request came, but no certificate is given out that the list would not have."""
    _, csr = new_key_and_request("file_server", "3")
    assert cluster.ask("DELETE", "/cluster/servers/3").status == 204
    with pytest.raises(PeerRefused, match="gets no certificate"):
        cluster.directory.enrolment.renew(PeerIdentity("file_server", "3"), cm.RenewCertificateRequest(csr))


def test_a_program_comes_back_in_a_new_generation(cluster: WholeCluster) -> None:
    """After a new invitation its new token works; the old one stays void for good."""
    old = cluster.peers("client_proxy", "2")
    assert cluster.ask("DELETE", "/cluster/proxies/2").status == 204
    reply = enrol(cluster, invite(cluster, "client_proxy", "2"), "client_proxy", "2")
    assert cluster.authority.verify_peer_token(reply.peer_token).generation == 2
    with pytest.raises(PeerRefused, match="was removed"):
        old.call(DIRECTORY_URL, pm.PROXIES, cm.CredentialRequest(cluster.admin_key))


def test_only_administrators_remove(cluster: WholeCluster) -> None:
    """A member is refused, and nothing is revoked. Unknown programs are not found."""
    eve = cluster.log_in("eve")
    for method, target in (("DELETE", "/cluster/proxies/2"), ("POST", "/cluster/programs/file_server/1/revoke")):
        assert cluster.ask_with(eve, method, target).status == 403
    assert cluster.ask_with(eve, "GET", "/cluster/proxies").status == 403
    cluster.peers("client_proxy", "2").call(DIRECTORY_URL, pm.PROXIES, cm.CredentialRequest(cluster.admin_key))
    assert cluster.ask("DELETE", "/cluster/proxies/77").status == 404
    assert cluster.ask("POST", "/cluster/programs/directory_server/1/revoke").status == 400


def test_proxies_are_listed(cluster: WholeCluster) -> None:
    """With the state that their heartbeats show, also after they were removed."""
    beat = pm.ProxyHeartbeatRequest("https://127.0.0.1:5000", "1.0")
    first = cluster.peers("client_proxy", "1").call(DIRECTORY_URL, pm.PROXY_HEARTBEAT, beat)
    assert x509.load_pem_x509_crl(first.revoked_pem.encode()) is not None
    cluster.ask("DELETE", "/cluster/proxies/2")
    listed = {one["id"]: one for one in cluster.ask("GET", "/cluster/proxies").json["proxies"]}
    assert (listed["1"]["state"], listed["1"]["url"]) == ("up", "https://127.0.0.1:5000")
    assert listed["2"]["state"] == "removed"
    cluster.clock.advance(60.0)
    assert cluster.ask("GET", "/cluster/proxies").json["proxies"][0]["state"] == "down"


# ---------------------------------------------------------------- invitations


@pytest.mark.parametrize(("role", "id"), [("file_server", "8"), ("client_proxy", "7"), ("client_proxy", "8")])
def test_an_invitation_is_for_one_program(cluster: WholeCluster, role: str, id: str) -> None:
    """Another role or id is refused, and does not use it up."""
    secret = invite(cluster, "file_server", "7")
    with pytest.raises(Forbidden, match="is for file_server 7"):
        enrol(cluster, secret, role, id)
    assert enrol(cluster, secret, "file_server", "7").peer_token
    with pytest.raises(Forbidden, match="already used"):
        enrol(cluster, secret, "file_server", "7")


def test_an_invitation_returns_no_running_programs_token(cluster: WholeCluster) -> None:
    """A member's id is refused when inviting, and when joining with an invitation for any file server."""
    with pytest.raises(Conflict, match="file_server 1 is a member"):
        invite(cluster, "file_server", "1")
    secret = invite(cluster)
    with pytest.raises(Conflict, match="file_server 1 is a member"):
        enrol(cluster, secret, "file_server", "1")
    assert enrol(cluster, secret, "file_server", "9").peer_token
    with pytest.raises(BadRequest, match="must name its id"):
        invite(cluster, "client_proxy")


def test_joining_is_a_security_event(cluster: WholeCluster) -> None:
    """Who was let in, and who tried to come in, is in the journal beside who was invited and removed."""
    secret = invite(cluster, "file_server", "7")
    with pytest.raises(Forbidden):
        enrol(cluster, secret, "file_server", "8")
    enrol(cluster, secret, "file_server", "7")
    with pytest.raises(Forbidden):
        enrol(cluster, "lsj_a guess", "client_proxy", "9")
    events = [(event["kind"], event["subject"]) for event in cluster.ask("GET", "/audit").json["events"]]
    assert events[-4:] == [
        ("program invited", "file_server 7"),
        ("join refused", "file_server 8"),
        ("program joined", "file_server 7"),
        ("join refused", "client_proxy 9"),
    ]


def test_names_are_those_that_were_invited(cluster: WholeCluster) -> None:
    """What a program asks for changes nothing, neither when it joins nor when it renews; wildcards are refused."""
    local = {"localhost", "127.0.0.1", "::1"}
    wanted = ("bank.example", "*.bank.example", "proxy.example")
    _, csr = new_key_and_request("file_server", "7", wanted)
    reply = enrol_with(cluster, invite(cluster, "file_server", "7", ["room7.example"]), "file_server", "7", csr)
    assert names(reply) == {"room7.example", *local}
    joined = LocalPeers.with_token(cluster.programs, reply.peer_token)
    renewed = joined.call(DIRECTORY_URL, cm.RENEW_CERTIFICATE, cm.RenewCertificateRequest(csr))
    assert names(renewed) == {"room7.example", *local}
    assert renewed.peer_token == reply.peer_token
    for bad in ("*.example", "*", "a.*.example"):
        with pytest.raises(BadRequest):
            invite(cluster, "file_server", "8", [bad])


def test_a_renewal_keeps_the_programs_key(cluster: WholeCluster) -> None:
    """A program's token gives nobody else a certificate: not with a key that the program never had."""
    _, csr = new_key_and_request("client_proxy", "7")
    token = enrol_with(cluster, invite(cluster, "client_proxy", "7"), "client_proxy", "7", csr).peer_token
    thief = LocalPeers.with_token(cluster.programs, token)
    _, other = new_key_and_request("client_proxy", "7")
    with pytest.raises(PeerRefused, match="no certificate for this key"):
        thief.call(DIRECTORY_URL, cm.RENEW_CERTIFICATE, cm.RenewCertificateRequest(other))
    assert thief.call(DIRECTORY_URL, cm.RENEW_CERTIFICATE, cm.RenewCertificateRequest(csr)).cert_pem


def test_storage_keys_go_to_programs_that_unseal(cluster: WholeCluster) -> None:
    """File servers get them; a proxy gets none, neither when it joins nor when it renews."""
    assert '"keys"' in enrol(cluster, invite(cluster), "file_server", "9").storage_keys_json
    _, csr = new_key_and_request("client_proxy", "9")
    reply = enrol_with(cluster, invite(cluster, "client_proxy", "9"), "client_proxy", "9", csr)
    assert reply.storage_keys_json == ""
    proxy = LocalPeers.with_token(cluster.programs, reply.peer_token)
    renewed = proxy.call(DIRECTORY_URL, cm.RENEW_CERTIFICATE, cm.RenewCertificateRequest(csr))
    assert renewed.storage_keys_json == ""


# ---------------------------------------------------------------- who may read chunks


def _ask(cluster: WholeCluster, header: str) -> Any:
    return LocalPeers.with_token(cluster.programs, header).call(server_url("1"), MISSING_CHUNKS, ANY_CHUNK)


def test_chunks_are_for_programs_that_prove_their_role(cluster: WholeCluster, tmp_path: Path) -> None:
    """Nothing, a peer token, a proof for another address, a directory's proof and a stranger's are refused."""
    certs = cluster.settings.certs
    proxy = ensure_identity(certs, "client_proxy", "1")
    ensure_authority(tmp_path / "other")
    stranger = ensure_identity(tmp_path / "other", "client_proxy", "1")
    directory = ensure_identity(certs, "directory_server", "1")
    good = ProofMaker(proxy).proof_for(server_url("1"))
    assert _ask(cluster, good).missing
    certificate, signature = good.removeprefix("proof.").split(".")
    other = ProofMaker(ensure_identity(certs, "client_proxy", "2")).proof_for(server_url("1"))
    for header in (
        "",
        proxy.peer_token,
        ProofMaker(proxy).proof_for(server_url("2")),
        ProofMaker(directory).proof_for(server_url("1")),
        ProofMaker(stranger).proof_for(server_url("1")),
        f"proof.{certificate}.{other.split('.')[2]}",
        f"proof.{certificate}.{signature[:-4]}",
        f"proof.{certificate}",
        "proof.é.é",
    ):
        with pytest.raises(PeerRefused):
            _ask(cluster, header)


def test_a_peer_token_is_shown_to_the_directory_alone(cluster: WholeCluster) -> None:
    """A file server that keeps what callers show cannot call the directory as one of them."""
    shown = cluster.peers("client_proxy", "1").shown_to(server_url("1"))
    with pytest.raises(PeerRefused):
        LocalPeers.with_token(cluster.programs, shown).call(
            DIRECTORY_URL, pm.PROXIES, cm.CredentialRequest(cluster.admin_key)
        )


def test_a_file_server_that_never_was_is_not_revoked(cluster: WholeCluster) -> None:
    """The list of programs holds members only."""
    with pytest.raises(NotFound):
        cluster.directory.programs.revoke("file_server", "77")
    listed = json.loads((cluster.settings.certs / "authority" / "programs.json").read_bytes())["programs"]
    assert "file_server-77" not in listed
