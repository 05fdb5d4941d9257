"""The certificate authority of a real cluster rotates while people work, whoever is killed or away meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

import lockstep_store as lockstep_sdk
from local_cluster.records import save_record
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.storage.redo_files import RedoFile
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, issuer_id
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import Identity, accept_bundle, new_key_and_request
from lockstep_store.wire.errors import LockstepError, PeerRefused, PeerUnreachable
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.programs import PROXIES
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.people import Person
from tests.cluster.test_kms import lockstep
from tests.cluster.test_storage_key_rotation import Crowd
from tests.waiting import wait_until


def authorities(person: Person) -> list[dict[str, Any]]:
    answer = person.patiently("GET", "/cluster/authorities")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["authorities"]
    return found


def states(person: Person) -> list[str]:
    return [one["state"] for one in authorities(person)]


def wait_until_free(person: Person) -> str:
    """Until the new authority issues and no program needs the old one; the old one's id."""

    def is_free() -> bool:
        found = authorities(person)
        return [one["state"] for one in found] == ["current", "old"] and not found[1].get("needed_by")

    wait_until(is_free, 120, "programs with certificates of the new authority")
    return str(authorities(person)[1]["id"])


def wait_until_needed_by(person: Person, program: str) -> None:
    """Until one program alone still needs the old authority."""

    def is_last() -> bool:
        old = authorities(person)[1]
        needed = old.get("needed_by", [])
        return old["state"] == "old" and len(needed) == 1 and needed[0].startswith(program)

    wait_until(is_last, 120, f"{program} as the last program with the old authority")


def retire(cluster: ClusterHarness, home: Path, person: Person, *more: str) -> None:
    """Retire the old authority, and wait until no file has it."""
    lockstep(cluster, home, "certs", "retire-ca", authorities(person)[1]["id"], *more)
    wait_until(lambda: states(person) == ["current"], 60, "the end of the old authority")
    wait_until(lambda: len(TrustedAuthorities.load(cluster.ca_file).ids) == 1, what="ca.pem with the new one alone")


@contextmanager
def calls_with_stolen_key(cluster: ClusterHarness, stolen: Path, folder: Path) -> Iterator[PeerClient]:
    """Calls of somebody who copied the authority's folder: a certificate for a proxy of the cluster, made with the
    stolen key, the real peer token, and trust in whatever the cluster shows now."""
    (folder / "ca.pem").unlink(missing_ok=True)  # of the try before
    thief = CertificateAuthority.load(stolen)
    key_pem, csr_pem = new_key_and_request("client_proxy", "1")
    signed = thief.sign_request(csr_pem, "client_proxy", "1", [])
    made = accept_bundle(
        folder, "client_proxy", "1", thief.ca_pem, signed, key_pem, thief.peer_token("client_proxy", "1"), ""
    )
    shutil.copy(cluster.ca_file, made.ca_file)
    identity = Identity("client_proxy", "1", made.ca_file, made.cert_file, made.key_file, made.peer_token, folder)
    client = PeerClient(identity, directory=cluster.directory_url)
    try:
        yield client
    finally:
        client.close()


def is_served(cluster: ClusterHarness, stolen: Path, folder: Path) -> bool:
    with calls_with_stolen_key(cluster, stolen, folder) as client:
        try:
            client.call(cluster.directory_url, PROXIES, CredentialRequest("none"))
        except PeerUnreachable:
            return False
        except LockstepError:
            return True
    return True


def refusal(cluster: ClusterHarness, proxy: int, ca_file: Path) -> str:
    """Why a client with a copy of this ca.pem cannot connect; empty while it can."""
    copied = ca_file.with_name("copy.pem")  # a client that still gets through takes over the new one
    shutil.copy(ca_file, copied)
    with lockstep_sdk.connect(cluster.proxy_urls[proxy], ca=copied) as client:
        try:
            client.health()
        except PeerUnreachable as error:
            return str(error)
    return ""


def refused_token(cluster: ClusterHarness, stolen: Path) -> str:
    """Why the directory refuses a token made with the stolen key, shown with a real program's certificate; empty while
    it accepts it."""
    own = cluster.folder.certs_dir / "client_proxy-1"
    shown = CertificateAuthority.load(stolen).peer_token("client_proxy", "1")
    identity = Identity("client_proxy", "1", cluster.ca_file, own / "cert.pem", own / "key.pem", shown, own)
    client = PeerClient(identity, directory=cluster.directory_url)
    try:
        client.call(cluster.directory_url, PROXIES, CredentialRequest(cluster.admin_key))
    except PeerRefused as error:
        return str(error)
    finally:
        client.close()
    return ""


def sealers(cluster: ClusterHarness) -> set[str]:
    """The authorities whose keys seal the redo records on the file servers' disks."""
    files = sorted(cluster.folder.data.glob("**/redo/redo-*.log"))
    assert len({file.parent for file in files}) == 3
    return {batch.sealed_by for file in files for batch in RedoFile(file).batches()}


def test_the_authority_rotates_while_people_work(make_cluster: MakeCluster, tmp_path: Path, seed: int) -> None:
    """Reads and writes go on without an error while a file server, the directory and a proxy are killed in the middle;
    clients with the old ca.pem alone work until the end; then a stolen copy of the old key is worth nothing, also after
    a restart of all."""
    cluster = make_cluster()
    certs = cluster.folder.certs_dir
    (tmp_path / "stolen").mkdir()
    shutil.copytree(certs / "authority", tmp_path / "stolen" / "authority")
    shutil.copy(certs / "ca.pem", tmp_path / "stolen" / "ca.pem")
    assert is_served(cluster, tmp_path / "stolen", tmp_path / "thief-1")
    assert not refused_token(cluster, tmp_path / "stolen")
    old_ca, own_ca = tmp_path / "old" / "ca.pem", tmp_path / "own" / "ca.pem"
    for file in (old_ca, own_ca):
        file.parent.mkdir()
        shutil.copy(cluster.ca_file, file)
    with Person(cluster) as person, Crowd(cluster, seed) as crowd:
        (first,) = authorities(person)
        lockstep(cluster, tmp_path, "certs", "rotate-ca")
        cluster.kill("file_server", 1)
        cluster.start("file_server", 1, wait=False)
        crowd.wait_for(10)
        cluster.kill("directory_server")
        cluster.start("directory_server", wait=False)
        cluster.wait_healthy()
        crowd.wait_for(10)
        cluster.kill("client_proxy", 2)
        cluster.start("client_proxy", 2)
        assert wait_until_free(person) == first["id"]
        assert "no program needs it" in lockstep(cluster, tmp_path, "certs", "authorities")
        assert "under way" in lockstep(cluster, tmp_path, "certs", "rotate-ca", fails=True)
        with Person(cluster) as late:
            late.session.verify = str(old_ca)
            late.put("with the old ca.pem", b"content")
        with lockstep_sdk.connect(cluster.proxy_urls[1], ca=own_ca, api_key=cluster.admin_key) as client:
            client.put("from the SDK", b"content")
            assert len(TrustedAuthorities.load(own_ca).ids) == 2
            retire(cluster, tmp_path, person)
            crowd.wait_for(10)
            assert client.get("from the SDK") == b"content"
            wait_until(lambda: client.health().healthy and len(TrustedAuthorities.load(own_ca).ids) == 1, what="own CA")
    assert not crowd.failures
    new_id = TrustedAuthorities.load(cluster.ca_file).ids[0]
    own = [file for file in certs.glob("*-*/cert.pem")]
    assert len(own) == 6
    assert {issuer_id(cluster.ca_file, file) for file in own} == {new_id}
    wait_until(lambda: "get the new ca.pem" in refusal(cluster, 0, old_ca), what="the refusal of the old ca.pem")
    wait_until(lambda: not is_served(cluster, tmp_path / "stolen", tmp_path / "thief-2"), what="the refusal")
    cluster.stop()
    cluster.start_all()
    assert not is_served(cluster, tmp_path / "stolen", tmp_path / "thief-3")
    assert "was retired" in refused_token(cluster, tmp_path / "stolen")
    assert sealers(cluster) == {new_id}
    with Person(cluster) as person:
        for path, data in crowd.content.items():
            assert person.get(path) == data
        assert states(person) == ["current"]


class OneTry(Person):
    """A person who never tries again."""

    def patiently(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.ask(method, path, **options)


class StrictCrowd(Crowd):
    person = OneTry


def test_a_rotation_refuses_no_request(make_cluster: MakeCluster, tmp_path: Path, seed: int) -> None:
    """While nobody is killed, not one request fails, from the first step to the last."""
    cluster = make_cluster()
    with Person(cluster) as person, StrictCrowd(cluster, seed) as crowd:
        crowd.wait_for(10)
        lockstep(cluster, tmp_path, "certs", "rotate-ca")
        wait_until_free(person)
        crowd.wait_for(10)
        retire(cluster, tmp_path, person)
        crowd.wait_for(40)
    assert not crowd.failures


def own_machine(cluster: ClusterHarness, id: int, folder: Path) -> None:
    """Give a stopped file server a certs folder of its own, as on another machine."""
    certs, name = cluster.folder.certs_dir, f"file_server-{id}"
    folder.mkdir()
    for file in ("ca.pem", "revoked.pem", "storage-keys.json"):
        shutil.copy(certs / file, folder / file)
    shutil.copytree(certs / name, folder / name)
    record = cluster.record("file_server", id)
    record.command[record.command.index("--certs") + 1] = str(folder)
    save_record(cluster.folder, record)


def log_of(cluster: ClusterHarness, id: int) -> str:
    return Path(cluster.record("file_server", id).log_file).read_text("utf-8")


def test_a_file_server_that_was_away_comes_back(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """Before the retirement by itself. After it, it says what to do, and an invitation brings it back with its data."""
    cluster = make_cluster()
    elsewhere = tmp_path / "elsewhere"
    with Person(cluster) as person:
        person.put("f", b"content" * 1000)
        cluster.terminate("file_server", 3)
        own_machine(cluster, 3, elsewhere)
        lockstep(cluster, tmp_path, "certs", "rotate-ca")
        wait_until_needed_by(person, "file server 3")
        refused = lockstep(cluster, tmp_path, "certs", "retire-ca", authorities(person)[1]["id"], fails=True)
        assert "still needed: file server 3" in refused
        cluster.start("file_server", 3)
        wait_until_free(person)
        assert len(TrustedAuthorities.load(elsewhere / "ca.pem").ids) == 2

        retire(cluster, tmp_path, person)
        wait_until(lambda: len(TrustedAuthorities.load(elsewhere / "ca.pem").ids) == 1, what="the end of the old one")

        cluster.terminate("file_server", 3)
        lockstep(cluster, tmp_path, "certs", "rotate-ca")
        wait_until_needed_by(person, "file server 3")
        retire(cluster, tmp_path, person, "--without", "file-server", "3")
        cluster.start("file_server", 3, wait=False)
        wait_until(lambda: "was rotated while this program was away" in log_of(cluster, 3), what="the clear sentence")
        cluster.terminate("file_server", 3)
        token = lockstep(cluster, tmp_path, "invite", "--id", "3", "--host", "127.0.0.1").split()[0]
        assert "joined as file_server 3" in lockstep(cluster, tmp_path, "join", token, "--certs", elsewhere)
        cluster.start("file_server", 3)
        servers = person.patiently("GET", "/cluster/servers").json()["file_servers"]
        assert {one["id"]: one["state"] for one in servers}["3"] == "up"
        assert person.get("f") == b"content" * 1000
