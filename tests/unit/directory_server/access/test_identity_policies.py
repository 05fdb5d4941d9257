"""Policies of identities and trust policies: what they may say, and how they add up with limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from directory_server.access import limits
from directory_server.access.policy import BadPolicy, Question
from directory_server.access.policy_documents import check_identity_words, parse, parse_identity, parse_trust
from directory_server.people.limits import Limits

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
NO_READ = {"Effect": "Deny", "Action": "s3:Get*", "Resource": "*"}


def text_of(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def question(action: str = "s3:GetObject", resource: str = "b/k") -> Question:
    return Question("ann", action, resource, lambda _: None, "ann:user/bob")


def of(own: tuple[dict[str, Any], ...] | None, *session: dict[str, Any]) -> Limits:
    documents = None if own is None else tuple(text_of(one) for one in own)
    return Limits("ann", False, "key", "user/bob", own=documents, session=tuple(text_of(one) for one in session))


@pytest.mark.parametrize(
    ("found", "named", "allowed"),
    [
        (of(None), False, True),
        (of(()), False, False),
        (of(()), True, True),
        (of((READ,)), False, True),
        (of((READ, NO_READ)), False, False),
        (of((READ, NO_READ)), True, False),
        (of((READ,), READ), False, True),
        (of((READ,), READ, NO_READ), False, False),
        (of((READ,), READ | {"Resource": "arn:aws:s3:::c/*"}), False, False),
        (of((), READ), True, True),
        (of((EVERYTHING,), READ, EVERYTHING), False, True),
        (of(None, NO_READ, EVERYTHING), False, False),
        (of(None, READ), False, True),
    ],
)
def test_layers_of_policies(found: Limits, named: bool, allowed: bool) -> None:
    """One of the identity's policies and each of the session's must allow; a Deny anywhere wins."""
    assert limits.allow(found, question(), named=named) == allowed


def test_other_services_are_allowed_and_never_apply() -> None:
    """A policy from elsewhere has statements about them; a star means S3, too."""
    mixed = text_of(
        {"Effect": "Allow", "Action": ["kms:Decrypt", "iam:*"], "Resource": "arn:aws:kms:eu-west-1:1:key/x"},
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::ann:role/r*"},
    )
    found = parse_identity(mixed)
    check_identity_words(found)
    assert found.verdict(question()) is None
    assert found.verdict(question("sts:AssumeRole", "arn:aws:iam::ann:role/reader")) == "Allow"
    assert found.verdict(question("sts:AssumeRole", "arn:aws:iam::ann:role/writer")) is None
    assert parse_identity(text_of(EVERYTHING)).verdict(question()) == "Allow"


@pytest.mark.parametrize(
    "statement",
    [
        READ | {"Principal": "*"},
        READ | {"Action": "GetObject"},
        READ | {"Action": "s3:Fly"},
        READ | {"Action": "*:GetObject"},
        READ | {"Resource": "b/*"},
        READ | {"Resource": "arn:aws:s3"},
        READ | {"Resource": "arn:aws:*:::b/*"},
        READ | {"Condition": {"StringEquals": {"s3:colour": "red"}}},
        {"Effect": "Allow", "Action": "s3:GetObject"},
    ],
)
def test_documents_that_could_not_mean_what_they_say_are_refused(statement: dict[str, Any]) -> None:
    """Whoever wrote them is told, instead of being protected by half."""
    with pytest.raises(BadPolicy):
        check_identity_words(parse_identity(text_of(statement)))


def test_a_trust_policy_names_who_may_take_the_role() -> None:
    """An account, a user, a role or everybody; it has no resource."""
    who = ["carol", "arn:aws:iam::dan:user/team/eve", "arn:aws:iam::dan:role/r", "arn:aws:iam::fay:root"]
    found = parse_trust(text_of({"Effect": "Allow", "Principal": {"AWS": who}, "Action": "sts:AssumeRole"}))
    assert found.statements[0].principals.accounts == {"carol", "dan:user/eve", "dan:role/r", "fay"}
    with pytest.raises(BadPolicy):
        parse_trust(text_of({"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Resource": "*"}))
    with pytest.raises(BadPolicy):
        parse_trust(text_of({"Effect": "Allow", "Action": "sts:AssumeRole"}))


def test_a_bucket_policy_tells_an_account_from_its_users() -> None:
    """A grant to the account does not name the user; one to everybody includes it; NotPrincipal names nobody."""
    allow = READ | {"Resource": "arn:aws:s3:::b/*"}

    def named(**principal: Any) -> tuple[bool, bool]:
        found = parse(text_of(allow | principal), "b")
        return found.verdict(question()) == "Allow", found.names(question())

    assert named(Principal={"AWS": "ann"}) == (True, False)
    assert named(Principal={"AWS": "arn:aws:iam::ann:user/bob"}) == (True, True)
    assert named(Principal={"AWS": "arn:aws:iam::ann:user/ann"}) == (True, False)
    assert named(Principal={"AWS": "arn:aws:iam::eve:user/bob"}) == (False, False)
    assert named(Principal="*") == (True, True)
    assert named(NotPrincipal={"AWS": "eve"}) == (True, False)
