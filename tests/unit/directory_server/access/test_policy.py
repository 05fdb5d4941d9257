"""Bucket policies as pure rules: what a document must be, whom it lets do what, and what makes it public."""

from __future__ import annotations

import fnmatch
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory_server.access import acl
from directory_server.access.conditions import parse as parse_conditions
from directory_server.access.patterns import filled, matches
from tests.unit.directory_server.access.policy_texts import ask, statement, text_of


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], None),
        (["Allow"], "Allow"),
        (["Deny"], "Deny"),
        (["Allow", "Deny"], "Deny"),
        (["Deny", "Allow"], "Deny"),
        (["Allow", "other"], "Allow"),
        (["other"], None),
    ],
)
def test_a_deny_wins_then_an_allow_then_nothing(statements: list[str], expected: str | None) -> None:
    """Whatever the order of the statements."""
    made = [statement(Action="s3:PutObject") if e == "other" else statement(Effect=e) for e in statements]
    if made:
        assert ask(text_of(*made)) == expected
    else:
        assert ask(text_of(statement(Action="s3:PutObject"))) is expected


@pytest.mark.parametrize(
    ("principal", "ann", "bob", "nobody"),
    [
        ("*", True, True, True),
        ({"AWS": "*"}, True, True, True),
        ({"AWS": "ann"}, True, False, False),
        ({"AWS": ["ann", "bob"]}, True, True, False),
        ({"AWS": "arn:aws:iam::ann:user/ann"}, True, False, False),
        ({"AWS": "arn:aws:iam:::user/ann"}, True, False, False),
        ({"AWS": "arn:aws:iam::123456789012:user/ann"}, True, False, False),
        ({"AWS": "arn:aws:iam::bob:user/ann"}, False, False, False),
        ({"AWS": "arn:aws:iam::ann:root"}, True, False, False),
        ({"AWS": "arn:aws:iam::ann:role/ann"}, False, False, False),
        ({"CanonicalUser": "bob"}, False, True, False),
        ({"Service": "logging.s3.amazonaws.com"}, False, False, False),
    ],
)
def test_whom_a_principal_names(principal: Any, ann: bool, bob: bool, nobody: bool) -> None:
    """Accounts by name or ARN, everybody by a star; NotPrincipal is all the others."""
    expected = {"ann": ann, "bob": bob, "": nobody}
    for account, meant in expected.items():
        assert (ask(text_of(statement(Principal=principal)), account) == "Allow") == meant
        inverted = text_of(statement(Principal=None, NotPrincipal=principal, Effect="Deny"))
        assert (ask(inverted, account) == "Deny") != meant


@pytest.mark.parametrize(
    ("pattern", "action", "meant"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:getobject", "s3:GetObject", True),
        ("s3:GetObject", "s3:GetObjectVersion", False),
        ("s3:GetObject*", "s3:GetObjectVersion", True),
        ("s3:*Object", "s3:PutObject", True),
        ("s3:?etObject", "s3:GetObject", True),
        ("s3:*", "s3:DeleteBucket", True),
        ("*", "s3:DeleteBucket", True),
    ],
)
def test_which_actions_a_pattern_names(pattern: str, action: str, meant: bool) -> None:
    """Without regard to case; NotAction is all the others."""
    anything = {"Resource": "*"}
    assert (ask(text_of(statement(Action=pattern, **anything)), action=action) == "Allow") == meant
    assert (ask(text_of(statement(Action=None, NotAction=[pattern], **anything)), action=action) is None) == meant


@pytest.mark.parametrize(
    ("resource", "key", "meant"),
    [
        ("arn:aws:s3:::box", "", True),
        ("arn:aws:s3:::box", "k", False),
        ("arn:aws:s3:::box/*", "", False),
        ("arn:aws:s3:::box/*", "a/b/c", True),
        ("arn:aws:s3:::box/a*", "ab", True),
        ("arn:aws:s3:::box/a*", "b", False),
        ("arn:aws:s3:::box/?", "a", True),
        ("arn:aws:s3:::box/?", "ab", False),
        ("arn:aws:s3:::box*", "a", True),
        ("arn:aws:s3:::*", "a", True),
        ("arn:aws:s3:::*/*", "", False),
        ("*", "", True),
        ("arn:aws:s3:::box/home/${aws:username}/*", "home/ann/x", True),
        ("arn:aws:s3:::box/home/${aws:username}/*", "home/bob/x", False),
        ("arn:aws:s3:::box/${aws:nothing}*", "x", False),
        ("arn:aws:s3:::box/${aws:nothing, 'x'}", "x", True),
        ("arn:aws:s3:::box/${*}", "*", True),
        ("arn:aws:s3:::box/${*}", "a", False),
    ],
)
def test_which_resources_a_pattern_names(resource: str, key: str, meant: bool) -> None:
    """Stars reach over slashes; variables are what the request's keys say; NotResource is all the others."""
    assert (ask(text_of(statement(Resource=resource)), key=key) == "Allow") == meant
    assert (ask(text_of(statement(Resource=None, NotResource=resource)), key=key) is None) == meant


def test_a_variable_brings_no_wildcards_along() -> None:
    """An account whose name has a star gets its own folder, not all of them."""
    text = text_of(statement(Resource="arn:aws:s3:::box/${aws:username}/*"))
    assert ask(text, "*", key="*/x") == "Allow"
    assert ask(text, "*", key="bob/x") is None


def test_old_documents_have_no_variables() -> None:
    """In the version of 2008 `${…}` is text like any other."""
    text = text_of(statement(Resource="arn:aws:s3:::box/${aws:username}"), version="2008-10-17")
    assert ask(text, key="ann") is None
    assert ask(text, key="${aws:username}") == "Allow"


HAVE = {
    "aws:sourceip": ["10.1.2.3"],
    "s3:prefix": ["home/ann/"],
    "s3:max-keys": ["10"],
    "aws:currenttime": ["2026-11-21T12:00:00+00:00"],
    "aws:epochtime": ["1795262400"],
    "aws:securetransport": ["true"],
    "aws:principalarn": ["arn:aws:iam::ann:user/ann"],
    "s3:requestobjecttagkeys": ["a", "b"],
}


@pytest.mark.parametrize(
    ("operator", "key", "value", "holds"),
    [
        ("StringEquals", "s3:prefix", "home/ann/", True),
        ("StringEquals", "s3:prefix", ["x", "home/ann/"], True),
        ("StringEquals", "s3:prefix", "HOME/ann/", False),
        ("StringEquals", "s3:prefix", "home/*", False),
        ("StringEquals", "S3:Prefix", "home/ann/", True),
        ("StringNotEquals", "s3:prefix", ["x", "y"], True),
        ("StringNotEquals", "s3:prefix", ["x", "home/ann/"], False),
        ("StringEqualsIgnoreCase", "s3:prefix", "HOME/Ann/", True),
        ("StringNotEqualsIgnoreCase", "s3:prefix", "HOME/Ann/", False),
        ("StringLike", "s3:prefix", "home/*/", True),
        ("StringLike", "s3:prefix", "home/??/", False),
        ("StringNotLike", "s3:prefix", "home/*", False),
        ("StringEquals", "s3:none", "x", False),
        ("StringNotEquals", "s3:none", "x", True),
        ("StringEqualsIfExists", "s3:none", "x", True),
        ("StringEqualsIfExists", "s3:prefix", "x", False),
        ("NumericEquals", "s3:max-keys", "10.0", True),
        ("NumericNotEquals", "s3:max-keys", 10, False),
        ("NumericLessThan", "s3:max-keys", 10, False),
        ("NumericLessThanEquals", "s3:max-keys", 10, True),
        ("NumericGreaterThan", "s3:max-keys", "9", True),
        ("NumericGreaterThanEquals", "s3:max-keys", "11", False),
        ("NumericLessThan", "s3:prefix", 10, False),
        ("DateLessThan", "aws:CurrentTime", "2026-11-21T12:00:01Z", True),
        ("DateGreaterThan", "aws:CurrentTime", "2026-11-21", True),
        ("DateGreaterThanEquals", "aws:EpochTime", "1795262400", True),
        ("DateEquals", "aws:CurrentTime", "2026-11-21T13:00:00+01:00", True),
        ("Bool", "aws:SecureTransport", True, True),
        ("Bool", "aws:SecureTransport", "false", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.1.2.3"], True),
        ("IpAddress", "aws:SourceIp", "::/0", False),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("NotIpAddress", "aws:none", "10.0.0.0/8", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/a*", True),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::ann:user/bob", False),
        ("ArnLike", "aws:PrincipalArn", "arn:*:user/ann", False),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:user/a*", False),
        ("Null", "s3:none", "true", True),
        ("Null", "s3:prefix", "true", False),
        ("Null", "s3:prefix", False, True),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "a", True),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "c", False),
        ("ForAnyValue:StringEquals", "s3:none", "c", False),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b", "c"], True),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a"], False),
        ("ForAllValues:StringEquals", "s3:none", ["a"], True),
        ("ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", ["c"], True),
        ("ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", ["a"], True),
    ],
)
def test_what_conditions_mean(operator: str, key: str, value: Any, holds: bool) -> None:
    """Each operator, also where the key is missing or has several values."""
    (condition,) = parse_conditions({operator: {key: value}}, variables=True)
    assert condition.holds(HAVE.get) == holds


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.1.2.3"])
def test_an_address_is_the_same_however_a_listener_on_all_networks_writes_it(network: str) -> None:
    """One that listens on `::` sees who comes by IPv4 as a mapped address, and a Deny must know them all the same."""
    (condition,) = parse_conditions({"IpAddress": {"aws:SourceIp": network}}, variables=True)
    for address in ("10.1.2.3", "::ffff:10.1.2.3"):
        assert condition.holds({"aws:sourceip": [address]}.get)
    assert not condition.holds({"aws:sourceip": ["::ffff:11.1.2.3"]}.get)


def test_all_conditions_of_a_statement_must_hold() -> None:
    """Operators and keys are joined by and, values by or."""
    text = text_of(statement(Condition={"StringEquals": {"s3:a": ["1", "2"], "s3:b": "3"}, "Bool": {"aws:c": "true"}}))
    assert ask(text, s3__a="2", s3__b="3", aws__c="true") == "Allow"
    assert ask(text, s3__a="2", s3__b="4", aws__c="true") is None
    assert ask(text, s3__a="2", s3__b="3", aws__c="false") is None


_TEXT = st.text("ab*?", max_size=8)


@given(pattern=_TEXT, text=st.text("ab", max_size=8))
def test_patterns_match_as_the_obvious_way_does(pattern: str, text: str) -> None:
    """The same answer as a regular expression gives."""
    assert matches(pattern, text) == bool(re.fullmatch(fnmatch.translate(pattern), text))


def test_no_pattern_takes_long() -> None:
    """One that a regular expression would try for ages is answered at once."""
    started = time.process_time()
    assert not matches("*a" * 5_000 + "b", "a" * 1_024)
    assert matches("*a" * 1_024 + "*", "a" * 1_024)
    assert time.process_time() - started < 10.0


@given(value=st.text("ab*?${}", max_size=6))
def test_a_filled_pattern_matches_just_its_value(value: str) -> None:
    """Whatever signs the value has."""
    pattern = filled("x${v}y", lambda name: value)
    assert pattern is not None
    assert matches(pattern, f"x{value}y")
    assert not matches(pattern, f"x{value}ay")


_STATEMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "Effect": st.sampled_from(["Allow", "Deny"]),
            "Principal": st.sampled_from(["*", {"AWS": "ann"}, {"AWS": ["bob", "ann"]}, {"AWS": "bob"}]),
            "Action": st.lists(st.sampled_from(["s3:*", "s3:Get*", "s3:PutObject", "s3:GetObject"]), min_size=1),
            "Resource": st.lists(st.sampled_from(["box", "box/*", "box/a*", "box/a"]), min_size=1),
            "Condition": st.sampled_from([{}, {"StringEquals": {"s3:x": "1"}}, {"StringNotEquals": {"s3:x": "1"}}]),
        }
    ),
    min_size=1,
    max_size=5,
)


@given(
    statements=_STATEMENTS,
    account=st.sampled_from(["ann", "bob", "eve", ""]),
    action=st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:ListBucket"]),
    key=st.sampled_from(["", "a", "ab", "b"]),
    x=st.sampled_from([None, "1", "2"]),
)
def test_verdicts_are_those_of_the_plainest_reading(
    statements: list[dict[str, Any]], account: str, action: str, key: str, x: str | None
) -> None:
    """Statement by statement, as one would with pencil and paper."""
    found = set()
    for one in statements:
        who = one["Principal"]
        named = who == "*" or account in ([who["AWS"]] if isinstance(who["AWS"], str) else who["AWS"])
        does = any(fnmatch.fnmatchcase(action, pattern) for pattern in one["Action"])
        on = any(fnmatch.fnmatchcase(f"box/{key}" if key else "box", pattern) for pattern in one["Resource"])
        when = {(): True, ("StringEquals",): x == "1", ("StringNotEquals",): x != "1"}[tuple(one["Condition"])]
        if named and does and on and when:
            found.add(one["Effect"])
    expected = "Deny" if "Deny" in found else "Allow" if found else None
    made = [one | {"Resource": [f"arn:aws:s3:::{name}" for name in one["Resource"]]} for one in statements]
    assert ask(text_of(*made), account, action, key, **({} if x is None else {"s3__x": x})) == expected


@given(
    permission=st.sampled_from(acl.PERMISSIONS),
    grantee=st.sampled_from(["eve", acl.ALL_USERS, acl.AUTHENTICATED]),
    account=st.sampled_from(["ann", "eve", "bob", ""]),
    action=st.sampled_from(["s3:ListBucket", "s3:PutObject", "s3:GetBucketAcl", "s3:PutBucketAcl", "s3:DeleteBucket"]),
)
def test_a_grant_gives_just_what_it_says(permission: str, grantee: str, account: str, action: str) -> None:
    """For a bucket of ann's with one grant to somebody; ann can always reach the list."""
    kind = {"Type": "Group", "URI": grantee} if grantee.startswith("http") else {"Type": "CanonicalUser", "ID": grantee}
    asked = json.dumps({"Grants": [{"Grantee": kind, "Permission": permission}]})
    found = acl.settled(asked, "bucket", "ann", "ann", lambda name: name == "eve")
    needs = {"s3:ListBucket": "READ", "s3:PutObject": "WRITE", "s3:GetBucketAcl": "READ_ACP"}
    needed = (needs | {"s3:PutBucketAcl": "WRITE_ACP"}).get(action)
    meant = account == grantee or grantee == acl.ALL_USERS or (grantee == acl.AUTHENTICATED and account != "")
    expected = meant and needed is not None and permission in (needed, "FULL_CONTROL")
    expected = expected or (account == "ann" and action.endswith("Acl"))
    assert acl.allows(found, "bucket", account, action) == expected


@pytest.mark.parametrize(
    "asked",
    [
        *("", "1", "[]", "null", '"private"', "[" * 5000, '{"canned": 1}', '{"canned": []}', '{"Owner": "ann"}'),
        *('{"Grants": {}}', '{"Grants": [1]}', '{"Grants": [{"Permission": []}]}'),
        *('{"Grants": [{"Permission": "READ", "Grantee": 1}]}', '{"Owner": {"ID": 1}}'),
        *('{"Grants": [{"Permission": "READ", "Grantee": {"ID": {}}}]}',),
        *('{"Grants": [{"Permission": "READ", "Grantee": {"Type": "Group", "URI": 1}}]}',),
    ],
)
def test_a_list_of_any_other_shape_is_refused(asked: str) -> None:
    """Whatever a proxy passes on."""
    assert not acl.is_private(asked)
    with pytest.raises(acl.BadAcl):
        acl.settled(asked, "object", "ann", "olga", lambda name: True)
