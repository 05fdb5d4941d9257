"""Attacks on single sign-on: log-ins that were under way when something ended, and what a role must not reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert

from directory_server.identity_providers.attempts import Attempt, Attempts
from directory_server.metadata.schema_totals import stored_total
from directory_server.metadata.statement import Statement
from lockstep_store.wire.errors import AlreadyExists, Forbidden, NotLoggedIn
from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages import users as um
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import LOGIN, WHO_AM_I, PasswordRequest
from tests.fakes.identity_provider import ISSUER
from tests.fakes.sign_on import CALLBACK, SignOnRig, asked_of
from tests.fakes.whole_cluster import WholeCluster


@pytest.fixture
def rig(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOnRig]:
    certs = tmp_path_factory.getbasetemp() / "sign-on-certs"
    with WholeCluster(tmp_path, certs, file_servers=0, copies=1) as cluster:
        yield SignOnRig(cluster)


def names(rig: SignOnRig) -> set[str]:
    return {one.name for one in rig.call(um.USERS, CredentialRequest(rig.cluster.admin_key)).users}


def verified(rig: SignOnRig, **claims: Any) -> sm.SignOn:
    """A log-in whose token the directory has verified, and that nobody has asked for yet."""
    started = rig.start()
    rig.answer(started, preferred_username="ann", **claims)
    return started


def test_a_provider_that_was_removed_logs_nobody_in(rig: SignOnRig) -> None:
    """Neither a person with an account nor a new one, who does not get one either."""
    rig.put()
    rig.log_in("bob", "subject-2")
    new, known = verified(rig), verified(rig, sub="subject-2")
    rig.call(sm.REMOVE_SSO_PROVIDER, sm.ProviderRequest(rig.cluster.admin_key, "lab"))
    for started in (new, known):
        with pytest.raises(NotLoggedIn, match="removed or changed"):
            rig.go_on(started)
    assert "ann" not in names(rig)


def test_rules_that_changed_count_for_log_ins_under_way(rig: SignOnRig) -> None:
    """A person whom the new rules refuse is not let in by the old ones; settings that did not change stop nobody."""
    rig.put(secret="one")
    started = verified(rig)
    rig.put(secret="one")
    assert rig.go_on(started).state == "done"
    for settings in ({"require": ["groups=staff"]}, {"read_only": ["groups=guests"]}, {"client_id": "another"}):
        started = verified(rig)
        rig.put(secret="one", **settings)  # type: ignore[arg-type]
        with pytest.raises(NotLoggedIn, match="removed or changed"):
            rig.go_on(started)
        rig.put(secret="one")


def test_an_account_that_is_unlinked_meanwhile_is_not_logged_in_to(
    rig: SignOnRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is read again in the transaction of the token."""
    rig.put()
    rig.log_in("ann")
    log_ins = rig.cluster.directory.log_ins
    open_session = log_ins.open_session

    def unlink_first(*given: Any) -> Any:
        rig.call(sm.UNLINK_IDENTITY, sm.UnlinkIdentityRequest(rig.cluster.admin_key, ISSUER, "subject-1"))
        return open_session(*given)

    started = verified(rig)
    monkeypatch.setattr(log_ins, "open_session", unlink_first)
    with pytest.raises(NotLoggedIn, match="was changed"):
        rig.go_on(started)


def test_a_role_from_a_provider_makes_no_administrator_of_a_password(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where administrators need a second factor: a log-in with the password alone ends when the role comes."""
    certs = tmp_path_factory.getbasetemp() / "sign-on-certs"
    settings = {"file_servers": 0, "copies": 1, "require_second_factor": "administrators"}
    with WholeCluster(tmp_path, certs, **settings) as cluster:  # type: ignore[arg-type]
        rig = SignOnRig(cluster)
        rig.put(administrators=["groups=ops"])
        thief = rig.call(LOGIN, PasswordRequest("ann", "a secret word", "must")).token
        link = sm.LinkIdentityRequest(cluster.admin_key, "lab", "subject-1", "ann")
        rig.call(sm.LINK_IDENTITY, link)
        owner = rig.log_in("ann", groups=["ops"])
        assert owner.admin
        assert rig.call(WHO_AM_I, CredentialRequest(owner.token)).admin
        with pytest.raises(NotLoggedIn):
            rig.call(WHO_AM_I, CredentialRequest(thief))
        rig.log_in("ann", groups=["ops"])
        assert rig.call(WHO_AM_I, CredentialRequest(owner.token)).admin  # nothing changed, so nothing ends


def test_an_address_that_is_not_verified_names_no_account(rig: SignOnRig) -> None:
    """However the provider writes that."""
    rig.put(username_claim="email")
    for word in (False, "false", "False"):
        with pytest.raises(Forbidden, match="not verified"):
            rig.log_in("ann", email="boss@lab.test", email_verified=word)
    assert rig.log_in("ann", email="boss@lab.test", email_verified="true").created


@pytest.mark.parametrize("separator", ["\\", "\N{FULLWIDTH REVERSE SOLIDUS}", "\u4e36"])
def test_no_provider_makes_an_account_in_a_tenant(rig: SignOnRig, separator: str) -> None:
    """Neither with the separator of tenants, nor with what is stored as one or looks like one."""
    rig.put()
    with pytest.raises(Forbidden, match="the user name is invalid"):
        rig.log_in(f"acme{separator}ann")


def test_no_provider_makes_an_account_that_files_have_as_their_author(rig: SignOnRig) -> None:
    """They are a deleted account's, and would be the new one's."""
    rig.put()
    total = {"bucket": "files", "kind": "", "month": "", "files": 0, "file_bytes": 0, "versions": 1, "version_bytes": 1}
    wrote = Statement(insert(stored_total).values(author="ann", **total))
    rig.cluster.directory.store.write(lambda tx: tx.run(wrote))
    with pytest.raises(AlreadyExists, match="belonged to an account that was deleted"):
        rig.log_in("ann")
    assert rig.log_in("bob", "subject-2").created


def test_a_log_in_shows_its_secrets_in_no_log(rig: SignOnRig) -> None:
    """Whoever has its id collects the token; the addresses carry state and code."""
    rig.put()
    browser, device = rig.start(), rig.go_on(rig.start("device"))
    device.verification_uri_complete = "https://login.lab.test/activate?code=ABCD-EFGH"
    for shown in (repr(browser), repr(device), repr(sm.ContinueSignOnRequest(browser.id, "code=c"))):
        for secret in (browser.id, device.id, "code_challenge", "ABCD-EFGH", "code=c"):
            assert secret not in shown


def begun(rig: SignOnRig, **settings: Any) -> tuple[Attempts, Attempt, dict[str, str]]:
    """A log-in that a directory has begun, and what the provider is asked for it."""
    rig.put(**settings)
    attempts = Attempts(rig.cluster.directory.clock)
    started = attempts.start(rig.providers.named("lab"), "browser", CALLBACK, "test")
    return attempts, attempts.find(started.id), asked_of(started)


def test_two_requests_at_once_get_one_log_in(rig: SignOnRig) -> None:
    """Both have found it; the second to be answered is refused."""
    attempts, attempt, asked = begun(rig)
    token = rig.provider.token(rig.wall, nonce=asked["nonce"], preferred_username="ann")
    rig.provider.token_replies.append((200, {"id_token": token}))
    attempts.go_on(attempt, urlencode({"code": "c", "state": asked["state"]}))
    claims = attempts.go_on(attempt, "")
    assert not isinstance(claims, sm.SignOn)
    with pytest.raises(NotLoggedIn, match="ended already"):
        attempts.go_on(attempt, "")


def test_an_answer_that_is_no_query_is_refused(rig: SignOnRig) -> None:
    """Too many arguments, or bytes that are not UTF-8; the log-in goes on with the right answer."""
    attempts, attempt, asked = begun(rig)
    for answer in ("&".join(f"a{number}=1" for number in range(21)), f"state={asked['state']}&code=%ff"):
        with pytest.raises(NotLoggedIn, match="cannot be read"):
            attempts.go_on(attempt, answer)
    assert rig.provider.token_replies == []
    rig.provider.token_replies.append((200, {"id_token": rig.provider.token(rig.wall, nonce=asked["nonce"])}))
    attempts.go_on(attempt, urlencode({"code": "c", "state": asked["state"]}))
    assert not isinstance(attempts.go_on(attempt, ""), sm.SignOn)


def test_a_log_in_keeps_only_the_claims_that_decide(rig: SignOnRig) -> None:
    """Thousands of log-ins may wait to be asked for, and a provider's people decide how long their profiles are."""
    attempts, attempt, asked = begun(rig, require=["realm.roles=staff"], username_claim="email")
    used = {"sub": "subject-1", "email": "ann@lab.test", "email_verified": True, "realm": {"roles": ["staff"]}}
    token = rig.provider.token(rig.wall, nonce=asked["nonce"], picture="x" * 9000, **used)
    rig.provider.token_replies.append((200, {"id_token": token}))
    attempts.go_on(attempt, urlencode({"code": "c", "state": asked["state"]}))
    assert attempt.claims == used
