"""How a person's client follows a rotation of the certificate authority."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lockstep_store.client.api.trust_follower import TrustFollower
from lockstep_store.client.credentials import Profile, authority_of
from lockstep_store.client.trust import learn
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, pem_of
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.errors import PeerUnreachable, SetupError
from lockstep_store.wire.messages.authorities import TrustNews
from tests.unit.client.foreign_authority import foreign_certificate


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return ensure_authority(tmp_path / "certs")


@pytest.fixture
def own(tmp_path: Path, authority: CertificateAuthority) -> Path:
    (tmp_path / "person").mkdir()
    shutil.copy(tmp_path / "certs" / "ca.pem", tmp_path / "person" / "ca.pem")
    return tmp_path / "person" / "ca.pem"


def named(authority: CertificateAuthority) -> str:
    return " ".join(one.id for one in authority.keys.authorities)


def test_the_file_follows_what_replies_name(own: Path, authority: CertificateAuthority) -> None:
    """It is fetched once for each change, and never while nothing has changed."""
    asked = []

    def ask() -> TrustNews:
        asked.append(named(authority))
        follower.note(named(authority))  # fetching is a request, too
        return authority.trust_news()

    follower = TrustFollower(own, ask)
    for name in ("", named(authority), named(authority)):
        follower.note(name)
    assert asked == []
    authority.introduce()
    for _ in range(3):
        follower.note(named(authority))
    assert asked == [named(authority)]
    assert " ".join(TrustedAuthorities.load(own).ids) == named(authority)


def test_a_problem_is_logged_once_and_ends_no_request(
    own: Path, authority: CertificateAuthority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy that names a stranger's authority, or does not answer."""
    stranger = ensure_authority(tmp_path / "stranger")
    before = own.read_bytes()

    def unreachable() -> TrustNews:
        raise PeerUnreachable("it is gone")

    with caplog.at_level(logging.WARNING, "lockstep.client"):
        for ask in (stranger.trust_news, unreachable, lambda: TrustNews("rubbish")):
            follower = TrustFollower(own, ask)
            follower.note(named(stranger))
            follower.note(named(stranger))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "no authority in" in caplog.text
    assert own.read_bytes() == before


def test_files_with_other_authorities_are_left_alone(
    own: Path, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """A company's CA file, in which a cluster's is one of many, and the system's."""
    other = foreign_certificate(ec.generate_private_key(ec.SECP256R1()))
    own.write_text(own.read_text() + pem_of([other]))
    before = own.read_bytes()
    authority.introduce()

    def ask() -> TrustNews:
        raise AssertionError("nothing is fetched")

    TrustFollower(own, ask).note(named(authority))
    with pytest.raises(SetupError, match="by hand"):
        learn(own, authority.trust_news())
    assert own.read_bytes() == before


def test_the_directorys_own_file_is_not_written(tmp_path: Path, authority: CertificateAuthority) -> None:
    """A client beside the cluster uses the original."""
    news = authority.trust_news()
    authority.introduce()
    assert not learn(tmp_path / "certs" / "ca.pem", news)
    assert len(TrustedAuthorities.load(tmp_path / "certs" / "ca.pem").ids) == 2


def test_the_file_keeps_its_mode(own: Path, authority: CertificateAuthority) -> None:
    """A file that others may not read stays so."""
    own.chmod(0o600)
    authority.introduce()
    assert learn(own, authority.trust_news())
    assert own.stat().st_mode & 0o777 == 0o600


def test_a_log_in_lasts_through_a_rotation(own: Path, authority: CertificateAuthority, tmp_path: Path) -> None:
    """As long as one authority of before is in the file; it is sent to no proxy of another authority."""
    profile = Profile("https://one", str(own), authority_of(own), "ann", "token")
    authority.introduce()
    learn(own, authority.trust_news())
    assert profile.token_for("https://other", authority_of(own)) == "token"
    ensure_authority(tmp_path / "stranger")
    assert profile.token_for("https://one", authority_of(tmp_path / "stranger" / "ca.pem")) == ""
    assert profile.token_for("https://one", "") == "token"
    assert profile.token_for("https://other", "") == ""
