"""Policies, evaluated for requests. Pure; `policy_documents` parses them.

Source: the IAM reference's grammar of the policy language, and the S3 user guide for what makes a policy public.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from directory_server.access import vocabulary
from directory_server.access.conditions import Condition, Keys, first
from directory_server.access.patterns import filled, matches

Effect = Literal["Allow", "Deny"]

# With one of these fixed, a grant to everybody is a grant to somebody.
_NARROWING = frozenset(
    {
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceowner",
        "aws:sourceaccount",
        "aws:principalorgid",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:userid",
        "aws:username",
        "aws:sourceip",
    }
)
_FIXING = frozenset({"stringequals", "stringlike", "arnequals", "arnlike", "ipaddress", "stringequalsignorecase"})
# The widest network that still counts as a fixed one.
_WIDEST = {4: 8, 6: 32}


_NO_GROUPS: frozenset[str] = frozenset()


class BadPolicy(ValueError):
    """An invalid document, with the reason."""


@dataclass(frozen=True)
class Question:
    """A request that a policy is evaluated for. `account` is empty for an anonymous one.

    `resource` follows the last colon of the ARN: a bucket, or a bucket and a key. For another service than S3 it is the
    whole ARN. `principal` is the user or role of the account as in `Principals`; empty for the account itself.
    `federated` is the provider that vouches for somebody without an account, as in `Principals`. `groups` returns the
    groups that the account is in, as in `Principals`; only rules that name groups ask.
    """

    account: str
    action: str
    resource: str
    keys: Keys
    principal: str = ""
    federated: str = ""
    groups: Callable[[], frozenset[str]] = lambda: _NO_GROUPS


@dataclass(frozen=True)
class Principals:
    """The people a statement applies to. `everybody` includes anonymous people.

    `accounts` are names of accounts, and of their users and roles, such as `ann:user/backup`. `federated` are OpenID
    Connect providers: issuers without `https://`. `groups` are groups of accounts, such as `group:editors`.
    """

    everybody: bool
    accounts: frozenset[str]
    inverted: bool
    federated: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def has(self, question: Question) -> bool:
        """Whether they include the question's account, a user or role of it, or whom its provider vouches for."""
        return (self.everybody or self._named(question)) != self.inverted

    def _named(self, question: Question) -> bool:
        if question.federated:
            return question.federated in self.federated
        if question.account in self.accounts or (bool(question.principal) and question.principal in self.accounts):
            return True
        return bool(self.groups) and not self.groups.isdisjoint(question.groups())

    def name(self, principal: str) -> bool:
        """Whether they include everybody, or name this user or role."""
        return not self.inverted and (self.everybody or principal in self.accounts)

    @property
    def open(self) -> bool:
        """Whether the statement applies to people it does not name."""
        return self.everybody or self.inverted


@dataclass(frozen=True)
class PolicyStatement:
    effect: Effect
    principals: Principals
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]
    variables: bool

    def applies(self, question: Question) -> bool:
        """Whether the statement applies to this request."""
        action = question.action.lower()
        return (
            self.principals.has(question)
            and any(matches(one, action) for one in self.actions) != self.not_actions
            and any(self._names(one, question) for one in self.resources) != self.not_resources
            and all(one.holds(question.keys) for one in self.conditions)
        )

    def _names(self, pattern: str, question: Question) -> bool:
        if self.variables:
            done = filled(pattern, lambda name: first(question.keys(name.lower())))
            if done is None:
                return False
            pattern = done
        return matches(pattern, question.resource)

    @property
    def kinds(self) -> set[vocabulary.Kind]:
        """The kinds of its resources. A star or a variable may span the slash between bucket and key."""
        buckets = any("/" not in one for one in self.resources)
        objects = any(not {"/", "*", "?", "$"}.isdisjoint(one) for one in self.resources)
        return {*(("bucket",) if buckets else ()), *(("object",) if objects else ())}

    @property
    def public(self) -> bool:
        """Whether the statement grants public access, as S3's user guide defines it."""
        return self.effect == "Allow" and self.principals.open and not any(map(_narrows, self.conditions))


@dataclass(frozen=True)
class Policy:
    statements: tuple[PolicyStatement, ...]

    def verdict(self, question: Question) -> Effect | None:
        """Deny when any statement denies, else Allow when any allows, else None."""
        found: Effect | None = None
        for statement in self.statements:
            if (found is None or statement.effect == "Deny") and statement.applies(question):
                if statement.effect == "Deny":
                    return "Deny"
                found = "Allow"
        return found

    def names(self, question: Question) -> bool:
        """Whether an Allow is for everybody, or names the question's user or role itself, not only its account."""
        return any(
            one.effect == "Allow" and one.principals.name(question.principal) and one.applies(question)
            for one in self.statements
        )

    def federates(self, question: Question) -> bool:
        """Whether the action is allowed to whom the question's provider vouches for.

        An Allow must name the provider: "everybody" means everybody here, not everybody whom anyone vouches for.
        """
        named = any(
            one.effect == "Allow"
            and not one.principals.inverted
            and question.federated in one.principals.federated
            and one.applies(question)
            for one in self.statements
        )
        return named and self.verdict(question) == "Allow"

    @property
    def public(self) -> bool:
        return any(statement.public for statement in self.statements)


def _narrows(condition: Condition) -> bool:
    if condition.operator not in _FIXING or condition.if_exists or condition.quantifier == "forallvalues":
        return False
    if condition.key not in _NARROWING or not condition.values:
        return False
    if condition.operator == "ipaddress":
        networks = [ipaddress.ip_network(value, strict=False) for value in condition.values]
        return all(network.prefixlen >= _WIDEST[network.version] for network in networks)
    return not any("*" in value or "?" in value or "${" in value for value in condition.values)
