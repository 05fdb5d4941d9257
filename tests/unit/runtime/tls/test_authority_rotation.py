"""A rotation of the authority, step by step: what is on disk, what each step trusts, and what a crash leaves."""

from __future__ import annotations

import base64
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from lockstep_store.runtime.tls.authorities import (
    TrustedAuthorities,
    adopted,
    issuer_id,
    load_links,
    parse_certificates,
    parse_links,
    store_trust,
)
from lockstep_store.runtime.tls.authority_keys import AuthorityKeys, vouches
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import (
    Identity,
    LatestToken,
    drop_old_links,
    ensure_authority,
    ensure_identity,
    renew,
)
from lockstep_store.runtime.tls.revocation import RevocationList, split_lists
from lockstep_store.wire.authority_ids import ids_in
from lockstep_store.wire.errors import Conflict, NotFound, PeerRefused, SetupError
from lockstep_store.wire.messages.authorities import TrustNews
from tests.unit.runtime.tls.joining import join


class Killed(Exception):
    """Stands for a kill at a crash point."""


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return ensure_authority(tmp_path / "certs")


@pytest.fixture
def folder(tmp_path: Path, authority: CertificateAuthority) -> Path:
    return tmp_path / "certs"


def ids(folder: Path) -> list[str]:
    return [*TrustedAuthorities.load(folder / "ca.pem").ids]


def issuer(identity: Identity) -> str:
    return issuer_id(identity.ca_file, identity.cert_file)


def test_the_steps_of_a_rotation(folder: Path, authority: CertificateAuthority) -> None:
    """The old authority issues until the new one is promoted; the directory keeps the old one until it is retired; in
    the end its key and its certificate are gone, and the link remains."""
    (old,) = ids(folder)
    authority.introduce()
    assert ids(folder)[0] == old
    new = ids(folder)[1]
    proxy = ensure_identity(folder, "client_proxy", "1")
    assert issuer(proxy) == old
    authority.promote()
    assert ids(folder) == [new, old]
    directory = ensure_identity(folder, "directory_server", "1")
    proxy = ensure_identity(folder, "client_proxy", "1")
    assert (issuer(directory), issuer(proxy)) == (old, new)
    authority.retire(old)
    assert ids(folder) == [new, old]
    assert issuer(ensure_identity(folder, "directory_server", "1")) == new
    authority.forget_retired()
    assert ids(folder) == [new]
    assert (folder / "authority" / "ca.key").read_text().count("PRIVATE KEY-----") == 2  # one key: begin and end
    assert len(parse_links(load_links(folder))) == 1
    assert stat.S_IMODE((folder / "authority" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ca-links.pem").stat().st_mode) == 0o644
    again = CertificateAuthority.load(folder)
    assert [one.id for one in again.keys.authorities] == [new]
    assert again.peer_token("file_server", "1") == authority.peer_token("file_server", "1")


def test_the_key_of_peer_tokens_rotates_with_the_authority(folder: Path, authority: CertificateAuthority) -> None:
    """Both make valid tokens until the old authority is retired. Then neither a token nor the stolen key is of use, and
    no file has it."""
    first = ensure_identity(folder, "client_proxy", "1")
    stolen = (folder / "authority" / "peer.key").read_text().strip()
    old = ids(folder)[0]
    authority.introduce()
    assert authority.peer_token("client_proxy", "1") == first.peer_token
    assert stolen not in repr(authority.keys)
    authority.promote()
    token = authority.peer_token("client_proxy", "1")
    assert token != first.peer_token
    assert authority.verify_peer_token(first.peer_token).by_old_authority
    assert not authority.verify_peer_token(token).by_old_authority
    latest = LatestToken(first)
    assert latest.text() == first.peer_token
    renew(first)
    assert latest.text() == token
    authority.retire(old)
    again = CertificateAuthority.load(folder)
    for one in (authority, again):
        assert one.verify_peer_token(token).id == "1"
        with pytest.raises(PeerRefused, match="was retired"):
            one.verify_peer_token(first.peer_token)
    assert not (folder / "authority" / "peer.key").exists()
    assert CertificateAuthority.exists(folder)
    assert base64.b64encode(bytes.fromhex(stolen)) not in (folder / "authority" / "ca.key").read_bytes()
    assert set(again.derive_keys("x")) == {ids(folder)[0]}


def test_a_start_takes_over_the_new_token_and_keeps_the_key(folder: Path, authority: CertificateAuthority) -> None:
    """A rotation ends no membership; who has a token of a retired authority gets another key."""
    before = ensure_identity(folder, "file_server", "1").key_file.read_bytes()
    old = ids(folder)[0]
    authority.introduce()
    authority.promote()
    shutil.copytree(folder / "file_server-1", folder / "away")
    after = ensure_identity(folder, "file_server", "1")
    assert after.peer_token == authority.peer_token("file_server", "1")
    assert after.key_file.read_bytes() == before
    authority.retire(old)
    shutil.rmtree(folder / "file_server-1")
    (folder / "away").rename(folder / "file_server-1")
    back = ensure_identity(folder, "file_server", "1")
    assert back.peer_token == after.peer_token
    assert back.key_file.read_bytes() != before


def test_a_rotation_that_an_earlier_version_began_is_finished(folder: Path, authority: CertificateAuthority) -> None:
    """Its key file has no peer keys: that of before the rotation is both authorities', until the next rotation."""
    token = authority.peer_token("file_server", "1")
    peer_key = (folder / "authority" / "peer.key").read_bytes()
    old = ids(folder)[0]
    authority.introduce()
    key_file = folder / "authority" / "ca.key"
    blocks = re.compile(rb"-+BEGIN LOCKSTEP PEER KEY-+.+?-+END LOCKSTEP PEER KEY-+\n", re.DOTALL)
    key_file.write_bytes(blocks.sub(b"", key_file.read_bytes()))
    (folder / "authority" / "peer.key").write_bytes(peer_key)
    finished = CertificateAuthority.load(folder)
    finished.promote()
    finished.retire(old)
    finished.forget_retired()
    assert not CertificateAuthority.load(folder).verify_peer_token(token).by_old_authority


def test_a_second_rotation_follows_the_first(folder: Path, authority: CertificateAuthority) -> None:
    """Each new authority can vouch for the next."""
    for _ in range(2):
        before = ids(folder)[0]
        authority.introduce()
        authority.promote()
        authority.retire(before)
        authority.forget_retired()
        assert ids(folder) != [before]
    assert vouches(authority.certificate)
    assert len(parse_links(load_links(folder))) == 2


def test_steps_in_the_wrong_order_are_refused(folder: Path, authority: CertificateAuthority) -> None:
    """A rotation within a rotation, retiring the one that issues or the next one, unknown ids; nothing changes."""
    (old,) = ids(folder)
    with pytest.raises(Conflict, match="rotate first"):
        authority.retire(old)
    with pytest.raises(NotFound):
        authority.retire("0" * 16)
    authority.promote()
    authority.forget_retired()
    assert ids(folder) == [old]
    authority.introduce()
    with pytest.raises(Conflict, match="under way"):
        authority.introduce()
    with pytest.raises(Conflict, match="is the next one"):
        authority.retire(ids(folder)[1])
    assert len(ids(folder)) == 2


@pytest.mark.parametrize("lost", ["the list and ca.pem", "ca.pem"])
@pytest.mark.parametrize("step", ["introduce", "promote", "retire", "forget_retired"])
def test_a_step_that_was_cut_short_is_finished(
    folder: Path, authority: CertificateAuthority, lost: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind the key file or between the public files: the next start publishes what the key file says, with a
    revocation list of every authority and a number no lower."""
    (old,) = ids(folder)
    steps = ["introduce", "promote", "retire", "forget_retired"]
    arguments = {"retire": [old]}
    for earlier in steps[: steps.index(step)]:
        getattr(authority, earlier)(*arguments.get(earlier, []))
    number = RevocationList.load(folder).number

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if lost == "ca.pem":
            patch.setattr(AuthorityKeys, "publish", kill)
        else:
            patch.setattr(CertificateAuthority, "_publish", kill)
        with suppress(Killed):  # retiring publishes nothing: the certificate stays until it is forgotten
            getattr(authority, step)(*arguments.get(step, []))
    after = CertificateAuthority.load(folder)
    expected = {"introduce": 2, "promote": 2, "retire": 2, "forget_retired": 1}[step]
    assert len(after.keys.authorities) == expected
    assert ids(folder) == [one.id for one in after.keys.authorities]
    assert [one.key is None for one in after.keys.authorities] == [False, step == "retire"][:expected]
    found = RevocationList.load(folder)
    assert found.signers == expected
    assert found.number >= number


def test_old_clients_follow_the_link(folder: Path, authority: CertificateAuthority) -> None:
    """A proxy's certificate file has the link, which the old authority signed, until that is retired."""
    old_file = folder / "old.pem"
    shutil.copy(folder / "ca.pem", old_file)
    old = ids(folder)[0]
    authority.introduce()
    authority.promote()
    proxy = ensure_identity(folder, "client_proxy", "1")
    leaf, link = parse_certificates(proxy.cert_file.read_bytes())
    assert leaf.issuer == link.subject
    assert TrustedAuthorities.load(old_file).issuer_of(link) is not None
    assert len(parse_certificates(ensure_identity(folder, "file_server", "1").cert_file.read_bytes())) == 1
    drop_old_links(proxy)
    assert len(parse_certificates(proxy.cert_file.read_bytes())) == 2
    authority.retire(old)
    authority.forget_retired()
    drop_old_links(proxy)
    assert parse_certificates(proxy.cert_file.read_bytes()) == [leaf]


def test_every_authority_signs_the_list_of_revoked_certificates(folder: Path, authority: CertificateAuthority) -> None:
    """So certificates of both can be revoked meanwhile, also while the old key is gone and its list is the last one."""
    old = ids(folder)[0]
    ensure_identity(folder, "file_server", "1")
    authority.introduce()
    authority.promote()
    authority.revoke("file_server", "1")
    lists = split_lists((folder / "revoked.pem").read_text())
    assert len(lists) == 2
    found = RevocationList.load(folder)
    assert (found.signers, len(found.serials)) == (2, 1)
    authority.retire(old)
    ensure_identity(folder, "file_server", "2")
    authority.revoke("file_server", "2")
    assert RevocationList.load(folder).signers == 2
    authority.forget_retired()
    assert len(split_lists((folder / "revoked.pem").read_text())) == 1


def test_keys_of_before_a_rotation_do_not_fit(tmp_path: Path, folder: Path, authority: CertificateAuthority) -> None:
    """authority/ restored from an old copy, beside the newer ca.pem, is refused in words."""
    shutil.copytree(folder / "authority", tmp_path / "copy")
    old = ids(folder)[0]
    authority.introduce()
    authority.promote()
    authority.retire(old)
    authority.forget_retired()
    shutil.rmtree(folder / "authority")
    shutil.copytree(tmp_path / "copy", folder / "authority")
    with pytest.raises(SetupError, match="do not match one another"):
        CertificateAuthority.load(folder)


def test_a_renewal_here_follows_the_rotation(folder: Path, authority: CertificateAuthority) -> None:
    """On the authority's machine a program renews under the authority that issues now."""
    server = ensure_identity(folder, "file_server", "1")
    key = server.key_file.read_bytes()
    authority.introduce()
    authority.promote()
    renew(server)
    assert issuer(server) == ids(folder)[0]
    assert server.key_file.read_bytes() == key


# ---------------------------------------------------------------- other machines


def test_another_machine_takes_over_what_it_can_verify(
    tmp_path: Path, folder: Path, authority: CertificateAuthority
) -> None:
    """A new authority needs a link from a known one; a stranger's authority is refused, with or without one."""
    here = tmp_path / "here"
    join(authority, folder, here)
    authority.introduce()
    assert store_trust(here, authority.trust_news())
    assert ids(here) == ids(folder)
    assert RevocationList.load(here).signers == 2
    assert not store_trust(here, authority.trust_news())
    stranger = ensure_authority(tmp_path / "stranger")
    before = (here / "ca.pem").read_bytes()
    for news in (
        stranger.trust_news(),
        TrustNews(authority.ca_pem + stranger.ca_pem, authority.keys.links_pem),
        TrustNews("rubbish"),
    ):
        with pytest.raises(SetupError):
            store_trust(here, news)
    assert (here / "ca.pem").read_bytes() == before


def test_an_older_answer_changes_nothing(tmp_path: Path, folder: Path, authority: CertificateAuthority) -> None:
    """Two programs share a folder, and the reply to one of them comes late."""
    here = tmp_path / "here"
    join(authority, folder, here)
    old = ids(folder)[0]
    authority.introduce()
    late = authority.trust_news()
    authority.promote()
    authority.retire(old)
    authority.forget_retired()
    assert store_trust(here, authority.trust_news())
    assert not store_trust(here, late)
    assert ids(here) == ids(folder)


def test_joining_again_after_a_whole_rotation(tmp_path: Path, folder: Path, authority: CertificateAuthority) -> None:
    """The links show that the folder belongs to this cluster, although its authority is not there any more."""
    here = tmp_path / "here"
    identity = join(authority, folder, here)
    old = ids(folder)[0]
    authority.introduce()
    authority.promote()
    authority.retire(old)
    authority.forget_retired()
    with pytest.raises(SetupError, match="another cluster"):
        join(authority, folder, here)
    assert ids(here) == [old]
    again = join(authority, folder, here, links_pem=authority.keys.links_pem)
    assert ids(here) == ids(folder)
    assert again.key_file == identity.key_file
    assert ensure_identity(here, "file_server", "3") == again


def test_the_authoritys_own_folder_is_never_overwritten(folder: Path, authority: CertificateAuthority) -> None:
    """A program on the directory's machine that hears an older answer leaves the original alone."""
    before = authority.trust_news()
    authority.introduce()
    assert not store_trust(folder, before)
    assert len(ids(folder)) == 2


def test_a_chain_of_links_is_followed_and_a_forged_one_is_not(tmp_path: Path, authority: CertificateAuthority) -> None:
    """From the first authority to the third; not with a link that a stranger signed."""
    folder = tmp_path / "certs"
    first = parse_certificates(authority.ca_pem)
    for _ in range(2):
        before = ids(folder)[0]
        authority.introduce()
        authority.promote()
        authority.retire(before)
        authority.forget_retired()
    third, links = parse_certificates(authority.ca_pem), parse_links(authority.keys.links_pem)
    assert adopted(first, third, links)
    assert not adopted(first, third, links[1:])
    assert not adopted(third, first, links)
    stranger = ensure_authority(tmp_path / "stranger")
    stranger.introduce()
    forged = parse_links(stranger.keys.links_pem)
    assert not adopted(first, parse_certificates(stranger.ca_pem), [*links, *forged])


def test_ids_are_read_without_a_parser(folder: Path, authority: CertificateAuthority) -> None:
    """The cheap reading gives the same ids, in the same order, and nothing for what is no certificate."""
    authority.introduce()
    text = (folder / "ca.pem").read_text()
    assert ids_in(f"a comment\n{text}") == ids(folder)
    assert ids_in("") == []
    assert ids_in("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n") == []


def test_an_authority_of_an_earlier_version_cannot_vouch(authority: CertificateAuthority) -> None:
    """Its certificate leaves no room for a link, like a link itself; the next one does."""
    authority.introduce()
    assert vouches(authority.certificate)
    assert not vouches(parse_links(authority.keys.links_pem)[0])
