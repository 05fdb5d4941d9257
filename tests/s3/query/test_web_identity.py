"""AssumeRoleWithWebIdentity through boto3: programs whom a provider vouches for take roles that trust it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages import users as um
from tests.fakes.identity_provider import CLIENT, ISSUER, public, rsa_key, signed
from tests.fakes.sign_on import SignOnRig
from tests.s3.calls import DENIED, read, refused
from tests.s3.query.callers import ALL, Caller, account, allow, new_name, policy
from tests.s3.rig import ENDPOINT, S3Rig

HOST = ISSUER.removeprefix("https://")
PROVIDER = f"arn:aws:iam::ann:oidc-provider/{HOST}"
STS_DENIED = (403, "AccessDenied")
INVALID = (400, "InvalidIdentityToken")


@pytest.fixture(scope="module")
def lab(rig: S3Rig) -> Iterator[SignOnRig]:
    """The provider, which signs tokens for `sts.lab.test`, too."""
    lab = SignOnRig(rig.cluster)
    lab.put(audiences=["sts.lab.test", "other"])
    yield lab
    lab.call(sm.REMOVE_SSO_PROVIDER, sm.ProviderRequest(rig.cluster.admin_key, "lab"))


def trust(
    *, effect: str = "Allow", principal: Any = None, action: str = "sts:AssumeRoleWithWebIdentity", **condition: Any
) -> dict[str, Any]:
    """A statement of a trust policy; the condition is on claims, all of which must be equal."""
    found: dict[str, Any] = {"Effect": effect, "Principal": principal or {"Federated": PROVIDER}, "Action": action}
    if condition:
        found["Condition"] = {"StringEquals": {f"{HOST}:{name}": value for name, value in condition.items()}}
    return found


MakeRole = Callable[..., str]


@pytest.fixture
def make_role(ann: Caller) -> MakeRole:
    """Make a role of ann's that these statements say who may take; returns its ARN."""

    def make(*statements: dict[str, Any], seconds: int = 3600, allowed: dict[str, Any] = ALL) -> str:
        name = new_name("robot")
        ann.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(*statements), MaxSessionDuration=seconds)
        ann.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allowed))
        return f"arn:aws:iam::ann:role/{name}"

    return make


def take(ann: Caller, lab: SignOnRig, role: str, token: str | None = None, **more: Any) -> dict[str, Any]:
    token = lab.provider.token(lab.wall, aud="sts.lab.test") if token is None else token
    call = {"RoleArn": role, "RoleSessionName": "job-1", "WebIdentityToken": token, **more}
    reply: dict[str, Any] = ann.sts.assume_role_with_web_identity(**call)
    return reply


def refusal(ann: Caller, lab: SignOnRig, role: str, token: str | None = None, **more: Any) -> tuple[int, str]:
    return refused(lambda: take(ann, lab, role, token, **more))


def test_a_token_gives_a_session_of_the_role(
    rig: S3Rig, ann: Caller, anns: str, lab: SignOnRig, make_role: MakeRole
) -> None:
    """With the role's rights and no more, until its time is over; the reply says what the token said."""
    role = make_role(trust(aud="sts.lab.test", sub="subject-1"), allowed=allow("s3:GetObject", f"{anns}/in/*"))
    reply = take(ann, lab, role, DurationSeconds=900)
    assert reply["SubjectFromWebIdentityToken"] == "subject-1"
    assert (reply["Audience"], reply["Provider"]) == ("sts.lab.test", ISSUER)
    name = role.rpartition("/")[2]
    assert reply["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::ann:assumed-role/{name}/job-1"
    assert reply["AssumedRoleUser"]["AssumedRoleId"].endswith(":job-1")
    robot = ann.of(reply["Credentials"])
    assert robot.arn == reply["AssumedRoleUser"]["Arn"]
    assert read(robot.s3, anns, "in/k") == b"content"
    assert refused(robot.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    assert refused(robot.iam.list_users) == STS_DENIED
    rig.cluster.pass_time(901)
    assert refused(robot.s3.get_object, Bucket=anns, Key="in/k") == (400, "ExpiredToken")


def test_a_session_policy_narrows(ann: Caller, anns: str, lab: SignOnRig, make_role: MakeRole) -> None:
    """As for any other session; one that is none is refused."""
    role = make_role(trust())
    narrow = ann.of(take(ann, lab, role, Policy=policy(allow("s3:GetObject", f"{anns}/in/*")))["Credentials"])
    assert read(narrow.s3, anns, "in/k") == b"content"
    assert refused(narrow.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    assert refusal(ann, lab, role, Policy="{}") == (400, "MalformedPolicyDocument")


def test_the_trust_policy_decides(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """It must name the provider and the action, and every condition must hold; a Deny wins."""
    allowed = (
        [trust()],
        [trust(action="sts:*")],
        [trust(principal={"Federated": f"arn:aws:iam::123456789012:oidc-provider/{HOST}"})],
        [trust(principal={"Federated": ["arn:aws:iam::ann:saml-provider/x", PROVIDER]})],
        [trust(sub=["a", "subject-1"])],
        [trust(team="storage")],
        [trust(), trust(effect="Deny", sub="another")],
    )
    denied = (
        [trust(principal="*")],
        [trust(principal={"AWS": "*"})],
        [trust(principal={"AWS": "ann"})],
        [trust(principal={"Federated": f"{PROVIDER}/"})],
        [trust(principal={"Federated": "arn:aws:iam::ann:oidc-provider/other.test"})],
        [trust(action="sts:AssumeRole")],
        [trust(sub="subject-2")],
        [trust(aud=CLIENT)],
        [trust(sub="subject-1", aud="other")],
        [trust(missing="x")],
        [trust(), trust(effect="Deny", sub="subject-1")],
        [trust(), trust(effect="Deny", principal="*")],
        [{**trust(), "Condition": {"StringEquals": {"sts:RoleSessionName": "job-2"}}}],
    )
    token = lab.provider.token(lab.wall, aud="sts.lab.test", team="storage")
    for statements in allowed:
        assert take(ann, lab, make_role(*statements), token)["Credentials"]["AccessKeyId"], statements
    for statements in denied:
        assert refusal(ann, lab, make_role(*statements), token) == STS_DENIED, statements


def test_not_principal_trusts_no_provider(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """Everybody but somebody is nobody whom a provider vouches for."""
    statement = trust()
    del statement["Principal"]
    role = make_role({**statement, "NotPrincipal": {"AWS": "ann"}})
    assert refusal(ann, lab, role) == STS_DENIED


def test_conditions_see_all_claims(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """Lists and flags too; the audience is the authorized party where there is one, as at AWS."""
    token = lab.provider.token(
        lab.wall, aud=["other", "sts.lab.test"], azp="sts.lab.test", amr=["pwd", "mfa"], email_verified=True, SUB="root"
    )
    role = make_role(
        {
            **trust(),
            "Condition": {
                "StringEquals": {f"{HOST}:aud": "sts.lab.test", f"{HOST}:sub": "subject-1"},
                "ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa", f"{HOST}:oaud": "other"},
                "Bool": {f"{HOST}:email_verified": "true"},
            },
        }
    )
    assert take(ann, lab, role, token)["Audience"] == "sts.lab.test"
    assert refusal(ann, lab, make_role(trust(sub="root")), token) == STS_DENIED
    assert refusal(ann, lab, make_role(trust(aud="other")), token) == STS_DENIED
    claimed = lab.provider.token(lab.wall, aud="other", AZP="sts.lab.test")
    assert refusal(ann, lab, make_role(trust(aud="sts.lab.test")), claimed) == STS_DENIED
    assert take(ann, lab, make_role(trust(aud="other")), claimed)["Audience"] == "other"


def test_a_trust_policy_with_an_unknown_key_is_refused(ann: Caller) -> None:
    """A key that is neither AWS's nor a provider's claim would never hold."""
    for key in ("awss:SourceIp", "sub", "login.lab.test", "login.lab.test:", "http://x.test:sub "):
        wrong = {**trust(), "Condition": {"StringEquals": {key: "x"}}}
        name = new_name("wrong")
        call = {"RoleName": name, "AssumeRolePolicyDocument": policy(wrong)}
        assert refused(ann.iam.create_role, **call) == (400, "MalformedPolicyDocument"), key


def test_only_tokens_of_the_provider_count(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """Expired ones have AWS's own code; all others are invalid."""
    role, wall = make_role(trust()), lab.wall
    good = {"iss": ISSUER, "aud": "sts.lab.test", "sub": "subject-1", "iat": wall, "exp": wall + 300}
    make = lab.provider.token
    assert refusal(ann, lab, role, make(wall, aud="sts.lab.test", exp=wall - 61)) == (400, "ExpiredTokenException")
    for token in (
        make(wall, aud="elsewhere"),
        make(wall, aud="sts.lab.test", iss="https://evil.test"),
        make(wall, aud="sts.lab.test", iat=wall + 3600),
        make(wall, aud="sts.lab.test", sub=None),
        signed(good, rsa_key("forger")),
        signed(good, rsa_key("forger"), None),
        "no.token.here",
        "x" * 2000,
    ):
        assert refusal(ann, lab, role, token) == INVALID, token[:40]


def test_a_login_token_is_good_for_programs_too_only_if_the_role_says_so(
    ann: Caller, lab: SignOnRig, make_role: MakeRole
) -> None:
    """Its audience is the client id, which a condition on `aud` keeps out."""
    token = lab.provider.token(lab.wall)
    assert take(ann, lab, make_role(trust()), token)["Audience"] == CLIENT
    assert refusal(ann, lab, make_role(trust(aud="sts.lab.test")), token) == STS_DENIED


def test_required_claims_hold_for_programs_too(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """A trust policy without conditions admits nobody whom the provider's rules keep out."""
    role, require = make_role(trust()), ["team=storage", "team=backup"]
    lab.put(audiences=["sts.lab.test", "other"], require=require)
    try:
        for claims in ({}, {"team": "sales"}, {"team": {"storage": True}}):
            token = lab.provider.token(lab.wall, aud="sts.lab.test", **claims)
            assert refusal(ann, lab, role, token) == STS_DENIED, claims
        assert take(ann, lab, role, lab.provider.token(lab.wall, aud="sts.lab.test", team=["x", "backup"]))
    finally:
        lab.put(audiences=["sts.lab.test", "other"])


def test_new_keys_are_worth_a_second_try(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """IDPCommunicationError, which SDKs repeat by themselves, while the keys are fetched."""
    role = make_role(trust())
    lab.cluster.pass_time(31)
    lab.provider.keys.append(public(rsa_key("next"), "next"))
    claims = {"iss": ISSUER, "aud": "sts.lab.test", "sub": "subject-1", "iat": lab.wall, "exp": lab.wall + 300}
    token = signed(claims, rsa_key("next"), "next")
    assert refusal(ann, lab, role, token) == (400, "IDPCommunicationError")
    assert take(ann, lab, role, token)


def test_roles_that_nobody_has_are_refused_like_others(ann: Caller, lab: SignOnRig) -> None:
    """And `self` is of accounts only."""
    for role in ("arn:aws:iam::ann:role/missing", "arn:aws:iam::nobody:role/x", "arn:aws:iam::ann:role/self"):
        assert refusal(ann, lab, role) == STS_DENIED
    assert refusal(ann, lab, "arn:aws:s3:::not-a-role") == (400, "ValidationError")


def test_a_provider_that_is_removed_meanwhile_vouches_for_nobody(
    ann: Caller, lab: SignOnRig, make_role: MakeRole
) -> None:
    """No session begins after the removal, also when the token was verified before."""
    role, known = make_role(trust()), lab.providers.named("lab")
    verify = known.verify

    def verify_then_remove(*given: Any) -> Any:
        claims = verify(*given)
        lab.call(sm.REMOVE_SSO_PROVIDER, sm.ProviderRequest(lab.cluster.admin_key, "lab"))
        return claims

    known.verify = verify_then_remove  # type: ignore[method-assign]
    try:
        assert refusal(ann, lab, role) == INVALID
    finally:
        lab.put(audiences=["sts.lab.test", "other"])
    assert take(ann, lab, role)


def test_durations_are_the_roles(ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """An hour unless it allows more."""
    assert refusal(ann, lab, make_role(trust()), DurationSeconds=3601) == (400, "ValidationError")
    assert take(ann, lab, make_role(trust(), seconds=7200), DurationSeconds=7200)


def test_a_session_ends_with_its_role_and_its_account(
    rig: S3Rig, ann: Caller, lab: SignOnRig, make_role: MakeRole
) -> None:
    """At once; and a new role of the name does not revive it."""
    role = make_role(trust())
    robot = ann.of(take(ann, lab, role)["Credentials"])
    assert robot.s3.list_buckets()
    name = role.rpartition("/")[2]

    def again() -> None:
        ann.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust()))
        ann.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(ALL))

    ann.iam.delete_role_policy(RoleName=name, PolicyName="p")
    ann.iam.delete_role(RoleName=name)
    assert refused(robot.s3.list_buckets)[0] == 403
    again()
    assert refused(robot.s3.list_buckets)[0] == 403
    directory = rig.directory
    dora = account(rig, "dora")
    dora.iam.create_role(RoleName="r", AssumeRolePolicyDocument=policy(trust()))
    taken = "arn:aws:iam::dora:role/r"
    assert take(dora, lab, taken)
    directory.call(um.CHANGE_USER, um.ChangeUserRequest(rig.cluster.admin_key, "dora", disabled=True))
    assert refusal(dora, lab, taken) == STS_DENIED


def test_the_request_is_not_signed(rig: S3Rig, lab: SignOnRig, ann: Caller, make_role: MakeRole) -> None:
    """Other operations without a signature stay refused, and this one with one, too."""
    role = make_role(trust())
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": "job-1",
        "WebIdentityToken": lab.provider.token(lab.wall, aud="sts.lab.test"),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def post(form: dict[str, str], **more: str) -> tuple[int, bytes]:
        body = urlencode(form).encode()
        status, _, content = rig.ask(
            "POST", f"{ENDPOINT}/", {**headers, "Content-Length": str(len(body)), **more}, body
        )
        return status, content

    status, content = post(form)
    assert status == 200
    assert b"<SubjectFromWebIdentityToken>subject-1</SubjectFromWebIdentityToken>" in content
    for action in ("GetCallerIdentity", "AssumeRole", "AssumeRoleWithSAML", "CreateUser", "GetFederationToken", ""):
        status, content = post({**form, "Action": action})
        assert (status, b"MissingAuthenticationToken" in content) == (403, True), action
    status, content = post(form, Authorization="AWS4-HMAC-SHA256 nonsense")
    assert status == 400
    status, content = post({**form, "ProviderId": "www.amazon.com"})
    assert (status, b"NotImplemented" in content) == (501, True)


def test_log_ins_and_refusals_are_audited(rig: S3Rig, ann: Caller, lab: SignOnRig, make_role: MakeRole) -> None:
    """With the subject and the provider."""
    role = make_role(trust(sub="subject-7"))
    take(ann, lab, role, lab.provider.token(lab.wall, aud="sts.lab.test", sub="subject-7"))
    rig.cluster.pass_time(6)
    refusal(ann, lab, role)
    events = rig.directory.call(um.AUDIT, um.AuditRequest(rig.cluster.admin_key)).events
    made = [one for one in events if one.kind == "session made" and "subject-7" in one.detail]
    assert [(one.account, one.address) for one in made] == [("ann", "127.0.0.1")]
    assert (events[-1].kind, events[-1].subject) == ("log-in refused", "lab")
    assert json.dumps(role)[1:-1] in events[-1].detail
