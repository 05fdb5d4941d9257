"""What people read about the certificate authorities."""

from __future__ import annotations

from lockstep_store.client.text.authorities import authorities_text, rotation_lines
from lockstep_store.wire.messages.authorities import AuthorityInfo


def info(id: str, state: str, **more: object) -> AuthorityInfo:
    return AuthorityInfo(id * 16, state, "f" * 64, "CN=CA", 0.0, 1.0, **more)  # type: ignore[arg-type]


def test_what_a_rotation_waits_for_is_said() -> None:
    """Every program that does not trust the next authority, or needs the old one, by name."""
    waiting = info("b", "next", waiting_for=["file server 1 does not trust it yet", "proxy 2 does not trust it yet"])
    text = authorities_text([info("a", "current"), waiting])
    assert "bbbbbbbbbbbbbbbb: file server 1 does not trust it yet" in text
    assert "bbbbbbbbbbbbbbbb: proxy 2 does not trust it yet" in text
    assert rotation_lines([info("a", "current"), waiting]) == [
        "next certificate authority bbbbbbbbbbbbbbbb: file server 1 does not trust it yet"
    ]
    needed = info("a", "old", needed_by=["file server 3 presents a certificate from it"])
    assert "aaaaaaaaaaaaaaaa: needed, because file server 3 presents a certificate from it" in authorities_text(
        [needed]
    )


def test_an_unneeded_authority_says_how_it_goes() -> None:
    """The command; one that was retired is about to go by itself; a single one says nothing."""
    command = "lockstep certs retire-ca aaaaaaaaaaaaaaaa ends the trust in it"
    assert command in authorities_text([info("b", "current"), info("a", "old")])
    assert "about to stop trusting it" in authorities_text([info("b", "current"), info("a", "leaving")])
    assert rotation_lines([info("a", "current")]) == []


def test_an_authority_that_cannot_vouch_is_pointed_out() -> None:
    """People's clients need the new ca.pem at once then."""
    words = "clients that trust only the old authority can no longer connect"
    old = info("a", "old", vouches=False)
    assert words in authorities_text([info("b", "current"), old])
    assert words not in authorities_text([info("b", "current"), info("a", "old")])
    assert words not in authorities_text([info("a", "current", vouches=False)])
