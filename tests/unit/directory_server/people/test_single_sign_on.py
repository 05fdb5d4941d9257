"""Single sign-on: whom a provider vouches for, which account it is, and what ends a log-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from directory_server.identity_providers.exchanges import challenge_of
from directory_server.metadata.schema import join_secret
from directory_server.metadata.statement import Statement
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotLoggedIn,
    Unavailable,
)
from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages import users as um
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import JOIN_SECRET, JoinSecretRequest
from lockstep_store.wire.messages.people import LOGIN, WHO_AM_I, AccountInfo, PasswordRequest
from tests.fakes.identity_provider import ISSUER
from tests.fakes.sign_on import SignOnRig, asked_of
from tests.fakes.whole_cluster import WholeCluster

_INVITATIONS = Statement(select(join_secret.c.program))


@pytest.fixture
def rig(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOnRig]:
    certs = tmp_path_factory.getbasetemp() / "sign-on-certs"
    with WholeCluster(tmp_path, certs, file_servers=0, copies=1) as cluster:
        yield SignOnRig(cluster)


def who(rig: SignOnRig, token: str) -> AccountInfo:
    found: AccountInfo = rig.call(WHO_AM_I, CredentialRequest(token))
    return found


def admin(rig: SignOnRig, call: Any, kind: Any, **members: Any) -> Any:
    return rig.call(call, kind(rig.cluster.admin_key, **members))


def users(rig: SignOnRig) -> dict[str, um.UserInfo]:
    return {one.name: one for one in rig.call(um.USERS, CredentialRequest(rig.cluster.admin_key)).users}


def link(rig: SignOnRig, account: str, subject: str = "subject-1") -> sm.LinkedIdentity:
    found: sm.LinkedIdentity = admin(
        rig, sm.LINK_IDENTITY, sm.LinkIdentityRequest, provider="lab", subject=subject, account=account
    )
    return found


def events(rig: SignOnRig) -> list[tuple[str, str, str]]:
    found = admin(rig, um.AUDIT, um.AuditRequest).events
    return [(one.kind, one.account, one.subject) for one in found]


def test_the_first_log_in_makes_the_account(rig: SignOnRig) -> None:
    """With the provider's name for the person; the next one finds it, whatever the name is by then."""
    rig.put()
    first = rig.log_in("Ann")
    assert (first.account, first.created, first.admin) == ("ann", True, False)
    assert who(rig, first.token).name == "ann"
    second = rig.log_in("ann-married")
    assert (second.account, second.created) == ("ann", False)
    assert "ann-married" not in users(rig)
    assert ("account made", "ann", "ann") in events(rig)
    assert ("log-in", "ann", "") in events(rig)


def test_a_name_that_exists_is_never_taken_over(rig: SignOnRig) -> None:
    """Neither an account with a password, nor another person's at the provider, nor one that looks alike."""
    rig.put()
    rig.call(LOGIN, PasswordRequest("bob", "a secret word", "must"))
    with pytest.raises(AlreadyExists, match="subject 'subject-1' of lab"):
        rig.log_in("bob")
    with pytest.raises(AlreadyExists):
        rig.log_in("BOB")
    with pytest.raises(AlreadyExists, match="looks like"):
        rig.log_in("b\N{GREEK SMALL LETTER OMICRON}b")
    assert rig.log_in("ann").created
    with pytest.raises(AlreadyExists):
        rig.log_in("ann", "subject-2")
    assert users(rig)["bob"].identities == 0


def test_an_administrator_links_accounts(rig: SignOnRig) -> None:
    """A linked account keeps its password; a link goes to one account, and its end ends log-ins."""
    rig.put(create_accounts=False)
    rig.call(LOGIN, PasswordRequest("bob", "a secret word", "must"))
    rig.call(LOGIN, PasswordRequest("eve", "a secret word", "must"))
    with pytest.raises(Forbidden, match="no account here"):
        rig.log_in("bob")
    assert link(rig, "bob").issuer == ISSUER
    assert link(rig, "bob").account == "bob"
    with pytest.raises(Conflict, match="'bob'"):
        link(rig, "eve")
    with pytest.raises(NotFound):
        link(rig, "nobody", "subject-9")
    token = rig.log_in("anything").token
    assert who(rig, token).name == "bob"
    assert rig.call(LOGIN, PasswordRequest("bob", "a secret word", "never")).account == "bob"
    assert (users(rig)["bob"].identities, users(rig)["bob"].has_password) == (1, True)
    links = rig.call(sm.SSO_LINKS, CredentialRequest(rig.cluster.admin_key)).identities
    assert [(one.issuer, one.subject, one.account) for one in links] == [(ISSUER, "subject-1", "bob")]
    admin(rig, sm.UNLINK_IDENTITY, sm.UnlinkIdentityRequest, issuer=ISSUER, subject="subject-1")
    with pytest.raises(NotLoggedIn):
        who(rig, token)
    with pytest.raises(NotFound):
        admin(rig, sm.UNLINK_IDENTITY, sm.UnlinkIdentityRequest, issuer=ISSUER, subject="subject-1")
    with pytest.raises(Forbidden):
        rig.log_in("bob")


def test_such_an_account_has_no_password(rig: SignOnRig) -> None:
    """No password opens it, and none is given to it while it is linked."""
    rig.put()
    rig.log_in("ann")
    assert (users(rig)["ann"].has_password, users(rig)["ann"].identities) == (False, 1)
    for password in ("x", "\0", "password"):
        with pytest.raises(NotLoggedIn):
            rig.call(LOGIN, PasswordRequest("ann", password, "never"))
    with pytest.raises(Conflict, match="single sign-on"):
        admin(rig, um.RESET_PASSWORD, um.UserRequest, name="ann")
    admin(rig, sm.UNLINK_IDENTITY, sm.UnlinkIdentityRequest, issuer=ISSUER, subject="subject-1")
    assert admin(rig, um.RESET_PASSWORD, um.UserRequest, name="ann").password


def test_the_life_of_an_account_is_that_of_any_other(rig: SignOnRig) -> None:
    """Disabled, it cannot log in; deleted, its subject is a new person."""
    rig.put()
    token = rig.log_in("ann").token
    admin(rig, um.CHANGE_USER, um.ChangeUserRequest, name="ann", disabled=True)
    with pytest.raises(NotLoggedIn):
        who(rig, token)
    with pytest.raises(NotLoggedIn, match="disabled"):
        rig.log_in("ann")
    admin(rig, um.DELETE_USER, um.DeleteUserRequest, name="ann")
    again = rig.log_in("anna")
    assert (again.account, again.created) == ("anna", True)
    admin(rig, um.DELETE_USER, um.DeleteUserRequest, name="anna")
    rig.put(create_accounts=False)
    with pytest.raises(Forbidden):
        rig.log_in("ann")
    assert {"ann", "anna"}.isdisjoint(users(rig))


def test_required_claims_decide(rig: SignOnRig) -> None:
    """One value of every required claim; a missing claim, or one of another form, does not do."""
    rig.put(require=["groups=staff", "groups=guests", "email_verified=true", "realm.roles=store"])
    good: dict[str, Any] = {"groups": ["x", "guests"], "email_verified": True, "realm": {"roles": ["store"]}}
    for name, value in (
        ("groups", None),
        ("groups", ["other"]),
        ("groups", "staff,guests"),
        ("groups", {"staff": True}),
        ("email_verified", False),
        ("email_verified", None),
        ("realm", {"roles": {"store": 1}}),
        ("realm", "store"),
    ):
        with pytest.raises(Forbidden, match="you may not log in here"):
            rig.log_in("ann", **{**good, name: value})
    assert users(rig).keys() == {"admin"}
    assert rig.log_in("ann", **good).created


def test_claims_decide_about_roles(rig: SignOnRig) -> None:
    """At each log-in, for the log-ins and keys that the account has already, too."""
    rig.put(administrators=["groups=ops"], read_only=["groups=guests"])
    first = rig.log_in("ann", groups=["ops"])
    assert first.admin
    assert who(rig, first.token).admin
    second = rig.log_in("ann", groups=["guests"])
    assert not second.admin
    for token in (first.token, second.token):
        assert (who(rig, token).admin, who(rig, token).read_only) == (False, True)
    rig.log_in("ann")
    assert users(rig)["ann"].role == "member"
    rig.put()
    rig.log_in("ann", groups=["ops"])
    assert users(rig)["ann"].role == "member"


def test_the_last_administrator_stays_one(rig: SignOnRig) -> None:
    """Whatever the provider says."""
    rig.put(administrators=["groups=ops"])
    link(rig, "admin")
    assert rig.log_in("x").admin


def test_an_administrator_less_leaves_no_invitation(rig: SignOnRig) -> None:
    """A program that joins gets the storage keys."""
    rig.put(administrators=["groups=ops"])
    token = rig.log_in("ann", groups=["ops"]).token
    rig.call(JOIN_SECRET, JoinSecretRequest(token))

    def invitations() -> int:
        with rig.cluster.directory.store.read() as reader:
            return len(reader.all(_INVITATIONS))

    assert invitations() == 1
    rig.log_in("ann")
    assert invitations() == 0


def test_the_name_comes_from_the_claim_that_was_chosen(rig: SignOnRig) -> None:
    """A name that no account may have, none, several, or an address that is not verified makes none."""
    rig.put()
    for name in (None, "", "a/b", "a\nb", ["ann", "bob"], {"n": 1}, "x" * 300):
        with pytest.raises(Forbidden):
            rig.log_in(name)  # type: ignore[arg-type]
    rig.put(username_claim="email")
    with pytest.raises(Forbidden, match="not verified"):
        rig.log_in("ann", email="ann@lab.test", email_verified=False)
    assert rig.log_in("ann", email="ann@lab.test").account == "ann@lab.test"


def test_claims_that_are_not_in_the_token_are_asked_for(rig: SignOnRig) -> None:
    """Of the same person only; what the token says counts."""
    rig.put(require=["groups=staff"])
    rig.provider.userinfo = {"sub": "subject-1", "preferred_username": "ann", "groups": ["staff"]}
    assert rig.log_in(None).account == "ann"
    assert rig.provider.asked[-1] == "me"
    with pytest.raises(Forbidden):
        rig.log_in(None, groups=["none"])
    rig.provider.userinfo["sub"] = "subject-2"
    with pytest.raises(Unavailable, match="another person"):
        rig.log_in(None)


def test_the_browser_is_sent_with_all_that_protects_the_log_in(rig: SignOnRig) -> None:
    """State, nonce and an S256 challenge, whose verifier the directory keeps; never twice the same."""
    rig.put(scopes=["groups"])
    first, second = rig.start(), rig.start()
    asked = asked_of(first)
    assert first.authorization_url.startswith(f"{ISSUER}/auth?")
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid profile email groups"
    for name in ("state", "nonce", "code_challenge"):
        assert asked[name] != asked_of(second)[name]
    rig.answer(first, preferred_username="ann")
    form = rig.provider.forms[-1]
    assert challenge_of(form["code_verifier"]) == asked["code_challenge"]
    assert (form["client_id"], form["redirect_uri"], form["code"]) == (
        "lockstep",
        asked["redirect_uri"],
        "code-1",
    )
    assert "authorization" not in form
    assert "client_secret" not in form


def test_the_secret_goes_where_the_provider_wants_it(rig: SignOnRig) -> None:
    """In the Authorization header, or in the form if that is the only way; never into what administrators see."""
    rig.put(secret="a:b c")
    rig.log_in()
    assert rig.provider.forms[-1]["authorization"] == "Basic bG9ja3N0ZXA6YSUzQWIrYw=="
    rig.provider.more = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    made = rig.put(secret="a:b c")
    assert made.confidential
    assert "a:b" not in repr(made)
    rig.cluster.pass_time(31)
    rig.providers.step()
    rig.log_in()
    assert rig.provider.forms[-1]["client_secret"] == "a:b c"


def test_a_wrong_answer_is_refused(rig: SignOnRig) -> None:
    """Another state, another issuer, an argument twice, no code; the right one still works after that."""
    rig.put()
    started = rig.start()
    state = asked_of(started)["state"]
    for answer in (
        {"code": "c"},
        {"code": "c", "state": "other"},
        {"state": state},
        {"code": "c", "state": state, "iss": "https://evil.test"},
    ):
        with pytest.raises(NotLoggedIn):
            rig.go_on(started, **answer)
    with pytest.raises(NotLoggedIn, match="twice"):
        rig.call(sm.CONTINUE_SIGN_ON, sm.ContinueSignOnRequest(started.id, f"code=a&code=b&state={state}"))
    assert rig.provider.forms == []
    rig.answer(started, preferred_username="ann")
    assert rig.go_on(started).state == "done"


def test_a_provider_that_names_itself_in_answers_must_do_so(rig: SignOnRig) -> None:
    """RFC 9207: an answer without the issuer may come from another provider."""
    rig.provider.more = {"authorization_response_iss_parameter_supported": True}
    rig.put()
    started = rig.start()
    asked = asked_of(started)
    with pytest.raises(NotLoggedIn, match="another provider"):
        rig.go_on(started, code="c", state=asked["state"])
    token = rig.provider.token(rig.wall, nonce=asked["nonce"], preferred_username="ann")
    rig.provider.token_replies.append((200, {"id_token": token}))
    rig.go_on(started, code="c", state=asked["state"], iss=ISSUER)
    assert rig.go_on(started).state == "done"


def test_a_log_in_is_used_once(rig: SignOnRig) -> None:
    """Neither its code nor its result can be had again; nor can an unknown or refused log-in go on."""
    rig.put()
    started = rig.start()
    rig.answer(started, preferred_username="ann")
    assert rig.go_on(started).state == "done"
    for again in (started, sm.SignOn("unknown")):
        with pytest.raises(NotLoggedIn, match="ended already"):
            rig.go_on(again)
    refused = rig.start()
    with pytest.raises(NotLoggedIn, match="not log you in: no"):
        rig.go_on(refused, error="access_denied", error_description="no", state=asked_of(refused)["state"])
    with pytest.raises(NotLoggedIn, match="not log you in: no"):
        rig.go_on(refused)


def test_a_log_in_ends_after_five_minutes(rig: SignOnRig) -> None:
    """Whatever the browser says then."""
    rig.put()
    started = rig.start()
    assert started.seconds_left == 300
    rig.cluster.pass_time(300)
    with pytest.raises(NotLoggedIn, match="too long"):
        rig.answer(started, preferred_username="ann")


def test_a_token_for_another_log_in_is_refused(rig: SignOnRig) -> None:
    """A stolen id token has another nonce; one of another application, another audience."""
    rig.put(audiences=["programs"])
    for claims in ({"nonce": "stolen"}, {"nonce": None}, {"aud": "programs"}, {"iss": "https://evil.test"}):
        started = rig.start()
        rig.answer(started, preferred_username="ann", **claims)
        with pytest.raises(NotLoggedIn, match="is not accepted"):
            rig.go_on(started)
    assert "ann" not in users(rig)
    assert events(rig)[-1] == ("log-in refused", "", "lab")


def test_a_device_without_a_browser_logs_in(rig: SignOnRig) -> None:
    """The person gets an address and a code; the provider is asked as often as it allows."""
    rig.put()
    assert rig.offers() == [sm.SignOnOffer("lab", ISSUER, device=True)]
    started = rig.start("device")
    assert (started.user_code, started.verification_uri) == ("ABCD-EFGH", f"{ISSUER}/activate")
    assert "device-secret" not in repr(started)
    asked = len(rig.provider.asked)
    assert rig.go_on(started).state == "waiting"
    assert len(rig.provider.asked) == asked, "before the interval has passed"
    rig.cluster.pass_time(5)
    rig.provider.token_replies.append((400, {"error": "authorization_pending"}))
    assert rig.go_on(started).poll_seconds == 5
    rig.cluster.pass_time(5)
    rig.provider.token_replies.append((400, {"error": "slow_down"}))
    assert rig.go_on(started).poll_seconds == 10
    rig.cluster.pass_time(10)
    rig.provider.down = "cut"
    assert rig.go_on(started).poll_seconds == 20
    rig.provider.down = ""
    rig.cluster.pass_time(20)
    token = rig.provider.token(rig.wall, preferred_username="ann")
    rig.provider.token_replies.append((200, {"id_token": token}))
    assert rig.go_on(started).state == "asking"
    login = rig.go_on(started).login
    assert login is not None
    assert login.account == "ann"


def test_a_refused_device_is_told(rig: SignOnRig) -> None:
    """By the person, or because the code expired."""
    rig.put()
    for error, words in (("access_denied", "refused"), ("expired_token", "too long"), ("invalid_grant", "begin again")):
        started = rig.start("device")
        rig.cluster.pass_time(5)
        rig.provider.token_replies.append((400, {"error": error}))
        rig.go_on(started)
        with pytest.raises(NotLoggedIn, match=words):
            rig.go_on(started)


def test_a_provider_that_is_away_is_no_wrong_log_in(rig: SignOnRig) -> None:
    """503, with the reason; and nothing is offered where nothing is set up."""
    with pytest.raises(NotFound, match="not set up"):
        rig.start()
    assert rig.offers() == []
    rig.provider.down = "cannot connect"
    rig.put()
    with pytest.raises(Unavailable, match="cannot connect"):
        rig.start()
    assert rig.info().problem == "cannot connect"
    rig.provider.down = ""
    rig.cluster.pass_time(31)
    rig.providers.step()
    started = rig.start()
    rig.provider.token_replies.append((401, {"error": "invalid_client"}))
    rig.go_on(started, code="c", state=asked_of(started)["state"])
    for _ in range(2):
        with pytest.raises(Conflict, match="administrator must"):
            rig.go_on(started)


def test_one_of_several_providers_is_named(rig: SignOnRig) -> None:
    """A provider that only vouches for programs does not count."""
    rig.put()
    other = SignOnRig(rig.cluster, "programs", "https://ci.lab.test")
    other.put(client_id="", audiences=["sts"])
    assert [one.name for one in rig.offers()] == ["lab"]
    other.put()
    with pytest.raises(BadRequest, match="lab, programs"):
        rig.start()
    assert rig.start(provider="programs").authorization_url.startswith("https://ci.lab.test/auth")
    with pytest.raises(NotFound):
        rig.start(provider="nobody")


def test_too_many_log_ins_at_once_are_refused(rig: SignOnRig) -> None:
    """Each has a thread while the provider works; the refusal is immediate, and leaves the log-in as it was."""
    rig.put()
    held: list[Any] = []
    known = rig.providers.named("lab")
    known._spawn = lambda _, work: held.append(work)
    waiting = [rig.start() for _ in range(9)]
    for started in waiting[:8]:
        assert rig.go_on(started, code="c", state=asked_of(started)["state"]).state == "asking"
    with pytest.raises(Unavailable, match="too many people"):
        rig.go_on(waiting[8], code="c", state=asked_of(waiting[8])["state"])
    rig.provider.token_replies += [(400, {"error": "invalid_grant"})] * 8
    for work in held[:8]:
        work()
    known._spawn = lambda _, work: work()
    rig.answer(waiting[8], preferred_username="ann")
    assert rig.go_on(waiting[8]).state == "done"
