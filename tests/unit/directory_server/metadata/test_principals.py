"""Whom a principal of a policy names."""

from __future__ import annotations

import pytest

from directory_server.metadata.principals import is_of_account, principal_of

ARN = "arn:aws:iam::"
NAMED = {
    "ann": "ann",
    "acme\\ann": "acme\\ann",
    "group:editors": "group:editors",
    f"{ARN}ann:root": "ann",
    f"{ARN}:user/ann": "ann",
    f"{ARN}123:user/path/ann": "ann",
    f"{ARN}ann:user/ann": "ann",
    f"{ARN}ann:user/path/backup": "ann:user/backup",
    f"{ARN}ann:role/path/deploy": "ann:role/deploy",
    f"{ARN}:group/editors": "group:editors",
    "arn:aws-cn:iam::acme\\ann:user/backup": "acme\\ann:user/backup",
}
NOBODY = (
    *(f"{ARN}:root", f"{ARN}123:role/deploy", f"{ARN}:role/deploy", f"{ARN}ann:group/editors", f"{ARN}:group/a/b"),
    *("arn:aws:sts::ann:assumed-role/deploy/session", "arn:aws:iam::ann:policy/x", "arn:"),
)


@pytest.mark.parametrize("name", NAMED)
def test_accounts_groups_users_and_roles_are_named(name: str) -> None:
    """By a name or by an ARN, whatever the path in it; a number stands for any account."""
    assert principal_of(name) == NAMED[name]


@pytest.mark.parametrize("name", NOBODY)
def test_other_arns_name_nobody_here(name: str) -> None:
    assert principal_of(name) is None
    assert not is_of_account(name, "ann")


def test_an_account_has_its_users_and_roles() -> None:
    """And no group, whatever the account is called."""
    of_ann = {name for name in NAMED if is_of_account(name, "ann")}
    assert of_ann == {name for name, found in NAMED.items() if found.partition(":")[0] == "ann"}
    assert is_of_account(f"{ARN}group:user/x", "group")
    assert not is_of_account("group:editors", "group")
