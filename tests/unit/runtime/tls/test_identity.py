"""Identities on disk: complete, private, renewed in time, made once."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep_store.runtime.tls.contexts import (
    certificate_info,
    client_context,
)
from lockstep_store.runtime.tls.host_names import MAX_HOSTS
from lockstep_store.runtime.tls.identity import (
    days_left,
    ensure_authority,
    ensure_identity,
    renew,
)
from lockstep_store.wire.errors import SetupError
from tests.unit.runtime.tls.joining import days_from_now


def test_an_identity_is_complete_private_and_stable(tmp_path: Path) -> None:
    """Beside the authority an identity is made at once, its secrets 0600; a second start changes nothing."""
    authority = ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "file_server", "1", ["files.example"])
    for file in (identity.key_file, identity.cert_file.with_name("peer.token"), identity.storage_keys_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(identity.key_file.parent.stat().st_mode) == 0o700
    assert authority.verify_peer_token(identity.peer_token).id == "1"
    assert identity.peer_token not in repr(identity)
    before = identity.cert_file.read_bytes()
    assert ensure_identity(tmp_path, "file_server", "1", ["files.example"]) == identity
    assert identity.cert_file.read_bytes() == before


@pytest.mark.parametrize(("role", "id"), [("admin", "1"), ("file_server", "../x"), ("file_server", "")])
def test_a_program_that_does_not_exist_gets_none(tmp_path: Path, role: str, id: str) -> None:
    """A role that is no program, or an id that would leave the folder, is a SetupError."""
    with pytest.raises(SetupError):
        ensure_identity(tmp_path, role, id)


def test_renewal_happens_below_thirty_days_and_not_before(tmp_path: Path) -> None:
    """With 31 days left the certificate stays; with 29 it is replaced, for the same key."""
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "file_server", "1")
    first, key = identity.cert_file.read_bytes(), identity.key_file.read_bytes()
    ensure_identity(tmp_path, "file_server", "1", now=days_from_now(59))
    assert identity.cert_file.read_bytes() == first
    ensure_identity(tmp_path, "file_server", "1", now=days_from_now(61))
    assert identity.cert_file.read_bytes() != first
    assert identity.key_file.read_bytes() == key
    assert days_left(identity, now=days_from_now(61)) == pytest.approx(90, abs=0.01)


def test_a_new_host_is_added_and_old_ones_stay(tmp_path: Path) -> None:
    """A host the certificate lacks has it made again, with the hosts it already had."""
    ensure_authority(tmp_path)
    ensure_identity(tmp_path, "client_proxy", "1", ["one.example"])
    identity = ensure_identity(tmp_path, "client_proxy", "1", ["10.9.8.7"])
    assert {"one.example", "10.9.8.7", "localhost"} <= set(certificate_info(identity.cert_file.read_bytes()).hosts)
    renewed = renew(identity, ["two.example"])
    hosts = set(certificate_info(renewed.cert_file.read_bytes()).hosts)
    assert {"one.example", "10.9.8.7", "two.example"} <= hosts


def test_a_machine_that_keeps_changing_its_name_still_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers do: a certificate has room for so many names, and those asked for longest ago make room."""
    ensure_authority(tmp_path)
    for number in range(40):
        monkeypatch.setattr(socket, "gethostname", lambda number=number: f"container-{number}")
        identity = ensure_identity(tmp_path, "file_server", "1", ["files.example"])
        hosts = certificate_info(identity.cert_file.read_text()).hosts
        assert {"localhost", f"container-{number}", "files.example"} <= set(hosts)
        assert len(hosts) <= MAX_HOSTS
    assert "container-30" in hosts
    assert "container-0" not in hosts


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "peer.token"])
@pytest.mark.parametrize("content", [None, "", "rubbish"])
def test_a_lost_or_broken_file_is_made_again(tmp_path: Path, name: str, content: str | None) -> None:
    """Beside the authority, any file of an identity that is lost or damaged is repaired at the next start."""
    authority = ensure_authority(tmp_path)
    file = ensure_identity(tmp_path, "file_server", "1").cert_file.with_name(name)
    file.unlink() if content is None else file.write_text(content)
    identity = ensure_identity(tmp_path, "file_server", "1")
    client_context(identity)
    assert authority.verify_peer_token(identity.peer_token).role == "file_server"


def test_a_certificate_of_another_cluster_is_replaced(tmp_path: Path) -> None:
    """An identity left over from another authority is certified anew by this machine's."""
    for name in ("a", "b"):
        ensure_authority(tmp_path / name)
    foreign = ensure_identity(tmp_path / "b", "file_server", "1")
    identity = ensure_identity(tmp_path / "a", "file_server", "1")
    identity.cert_file.write_bytes(foreign.cert_file.read_bytes())
    identity.key_file.write_bytes(foreign.key_file.read_bytes())
    ensure_identity(tmp_path / "a", "file_server", "1")
    assert (
        certificate_info(identity.cert_file.read_bytes()).issuer
        != certificate_info(foreign.cert_file.read_bytes()).issuer
    )


def test_programs_starting_at_once_make_one_authority(tmp_path: Path) -> None:
    """Six programs that start in an empty folder at the same time agree on one authority and one key ring."""
    script = (
        "import sys; from pathlib import Path\n"
        "from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity\n"
        "print('ready', flush=True); sys.stdin.readline(); folder = Path(sys.argv[1])\n"
        "token = ensure_authority(folder).peer_token('file_server', '1')\n"
        "ensure_identity(folder, 'file_server', sys.argv[2])\n"
        "print((folder / 'ca.pem').read_text() + token + (folder / 'storage-keys.json').read_text())\n"
    )
    folder = str(tmp_path / "certs")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", script, folder, str(number % 3)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:  # all are waiting: let them go
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    answers = {program.communicate(timeout=120)[0] for program in programs}
    assert {program.returncode for program in programs} == {0}
    assert len(answers) == 1
    assert not list(Path(folder).glob("**/*.tmp"))
