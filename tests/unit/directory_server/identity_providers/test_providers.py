"""Providers: their settings, their keys over time, and what is stored of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.identity_providers.known_provider import (
    CALLS_AT_ONCE,
    FRESH_SECONDS,
    RETRY_SECONDS,
    USABLE_SECONDS,
)
from lockstep_store.wire.errors import BadRequest, Conflict, NotFound, NotLoggedIn, Overloaded, Unavailable
from lockstep_store.wire.messages import single_sign_on as sm
from tests.fakes.identity_provider import CLIENT, ISSUER, public, rsa_key, signed
from tests.fakes.sign_on import SignOnRig, at_once
from tests.fakes.whole_cluster import WholeCluster


@pytest.fixture
def rig(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOnRig]:
    certs = tmp_path_factory.getbasetemp() / "sign-on-certs"
    with WholeCluster(tmp_path, certs, file_servers=0, copies=1) as cluster:
        yield SignOnRig(cluster)


def verify(rig: SignOnRig, token: str) -> Any:
    return rig.providers.named("lab").verify(token, (CLIENT,))


def token(rig: SignOnRig, key: Any = None, id: str = "1") -> str:
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": "s", "iat": rig.wall, "exp": rig.wall + 300}
    return signed(claims, key or rig.provider.key, id)


def test_settings_that_cannot_work_are_refused(rig: SignOnRig) -> None:
    """Each with the reason; nothing is stored."""
    for wrong, words in (
        ({"issuer": "http://login.lab.test"}, "https|address such as"),
        ({"issuer": "login.lab.test"}, "address such as"),
        ({"issuer": "https://"}, "address such as"),
        ({"issuer": "https://login.lab.test/?a=1"}, "query"),
        ({"issuer": "https://u@login.lab.test"}, "user"),
        ({"issuer": "https://login.lab.test/#x"}, "fragment"),
        ({"issuer": "https://login.lab.test/ x"}, "address such as"),
        ({"issuer": "https://login.lab.test:99999"}, "address such as"),
        ({"issuer": "https://login.lab.test:x"}, "address such as"),
        ({"issuer": "https://[::1"}, "address such as"),
        ({"client_id": ""}, "client id"),
        ({"client_id": "", "audiences": ["a"], "secret": "s"}, "secret"),
        ({"require": ["staff"]}, "CLAIM=VALUE"),
        ({"administrators": ["=x"]}, "CLAIM=VALUE"),
        ({"read_only": ["groups="]}, "CLAIM=VALUE"),
        ({"ca_pem": "nothing"}, "PEM"),
    ):
        with pytest.raises(BadRequest, match=words):
            rig.put(**wrong)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        rig.info()


def test_settings_survive_a_restart_sealed(rig: SignOnRig) -> None:
    """The client secret is nowhere in the metadata's files, and works after the restart."""
    rig.put(secret="s3cr3t-of-the-client", scopes=["groups"], require=["groups=staff"])
    rig.cluster.stop_directory()
    rig.cluster.start_directory()
    again = SignOnRig(rig.cluster)
    again.providers.step()
    found = again.info()
    assert (found.confidential, found.scopes, found.require, found.keys) == (True, ["groups"], ["groups=staff"], 1)
    assert again.providers.named("lab").settings.client_secret == "s3cr3t-of-the-client"
    for file in (rig.cluster.folder / "directory").rglob("*"):
        assert not file.is_file() or b"s3cr3t-of-the-client" not in file.read_bytes()


def test_an_issuer_has_one_provider(rig: SignOnRig) -> None:
    """A second one would decide differently about the same people; a removed one is gone."""
    rig.put()
    with pytest.raises(Conflict, match="'lab'"):
        SignOnRig(rig.cluster, "other").put()
    rig.call(sm.REMOVE_SSO_PROVIDER, sm.ProviderRequest(rig.cluster.admin_key, "lab"))
    with pytest.raises(NotFound):
        rig.call(sm.REMOVE_SSO_PROVIDER, sm.ProviderRequest(rig.cluster.admin_key, "lab"))
    with pytest.raises(NotLoggedIn, match="no identity provider"):
        rig.providers.of_token(rig.provider.token(rig.wall))
    SignOnRig(rig.cluster, "other").put()


def test_a_new_key_is_fetched_when_a_token_names_it(rig: SignOnRig) -> None:
    """The first token that does is told to try again; a withdrawn key ends."""
    rig.put()
    rig.cluster.pass_time(int(RETRY_SECONDS) + 1)
    rig.provider.keys = [public(rsa_key("next"), "2")]
    old = token(rig)
    assert verify(rig, old)["sub"] == "s"
    with pytest.raises(Unavailable, match="new signing keys"):
        verify(rig, token(rig, rsa_key("next"), "2"))
    assert verify(rig, token(rig, rsa_key("next"), "2"))["sub"] == "s"
    with pytest.raises(NotLoggedIn):
        verify(rig, old)


def test_made_up_keys_do_not_make_requests(rig: SignOnRig) -> None:
    """At most one in half a minute, whatever tokens name."""
    rig.put()
    asked = len(rig.provider.asked)
    for number in range(50):
        with pytest.raises(NotLoggedIn):
            verify(rig, token(rig, rsa_key("forger"), f"forged-{number}"))
    assert len(rig.provider.asked) == asked
    rig.cluster.pass_time(int(RETRY_SECONDS))
    for number in range(50):
        with pytest.raises((NotLoggedIn, Unavailable)):
            verify(rig, token(rig, rsa_key("forger"), f"forged-{number}"))
    assert len(rig.provider.asked) == asked + 2, "its description and its keys, once"


def test_keys_are_fetched_again_and_end(rig: SignOnRig) -> None:
    """Every ten minutes; while the provider is away, they are good for an hour."""
    rig.put()
    asked = len(rig.provider.asked)
    rig.cluster.pass_time(int(FRESH_SECONDS) - 1)
    assert rig.providers.step() == pytest.approx(1.0)
    assert len(rig.provider.asked) == asked
    rig.cluster.pass_time(1)
    rig.providers.step()
    assert len(rig.provider.asked) == asked + 2
    rig.provider.down = "cut"
    rig.cluster.pass_time(int(USABLE_SECONDS) - 1)
    rig.providers.step()
    assert verify(rig, token(rig))
    rig.cluster.pass_time(1)
    with pytest.raises(Unavailable, match="cut"):
        verify(rig, token(rig))
    rig.provider.down = ""
    rig.cluster.pass_time(int(RETRY_SECONDS))
    rig.providers.step()
    assert verify(rig, token(rig))


def test_a_description_that_cannot_be_trusted_is_not_used(rig: SignOnRig) -> None:
    """Another issuer, an address without TLS, no keys, no JSON."""
    for more, words in (
        ({"issuer": f"{ISSUER}/"}, "calls itself"),
        ({"issuer": None}, "calls itself"),
        ({"jwks_uri": ""}, "signing keys"),
        ({"jwks_uri": "http://login.lab.test/jwks"}, "https"),
        ({"token_endpoint": "ftp://login.lab.test"}, "https"),
        ({"authorization_endpoint": ["x"]}, "not an address"),
        ({"userinfo_endpoint": "https://login.lab.test/a b"}, "not an address"),
    ):
        rig.provider.more = more  # type: ignore[assignment]
        rig.put()
        problem = rig.info().problem
        assert any(word in problem for word in words.split("|")), (more, problem)
        with pytest.raises((Unavailable, Conflict)):
            rig.start()
        rig.cluster.pass_time(int(RETRY_SECONDS) + 1)
    rig.provider.more, rig.provider.keys = {}, []
    rig.put()
    assert "keys" in rig.info().problem


def test_addresses_that_are_none_are_a_reason_of_the_provider(rig: SignOnRig) -> None:
    """Not a failure of this program, which nobody would see."""
    for wrong in ("https://login.lab.test:99999/jwks", "https://login.lab.test:x/jwks", "https://[::1/jwks"):
        rig.provider.more = {"jwks_uri": wrong}
        rig.put()
        assert "jwks_uri is not an address" in rig.info().problem


def test_a_machine_without_threads_can_ask_later(rig: SignOnRig) -> None:
    """A thread that does not start leaves nothing behind that waits for it."""
    rig.put()

    def no_thread(_: str, work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    known = rig.providers.named("lab")
    known._spawn = no_thread
    started = rig.start()
    for _ in range(CALLS_AT_ONCE + 1):
        with pytest.raises(Overloaded, match="threads"):
            rig.answer(started)
    rig.cluster.pass_time(USABLE_SECONDS)
    with pytest.raises(Unavailable, match="threads"):
        known.endpoints()
    known._spawn = at_once
    rig.cluster.pass_time(RETRY_SECONDS)
    assert known.refresh()
    assert known.endpoints()
    again = rig.start()
    rig.provider.token_replies.clear()
    rig.answer(again, preferred_username="ann")
    assert rig.go_on(again).state == "done"
