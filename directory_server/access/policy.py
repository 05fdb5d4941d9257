"""Bucket policies: parses documents of the policy language and evaluates them for requests. Pure.

A document with anything unknown in it is rejected when it is stored, because half a policy protects nothing.
Source: the IAM reference's grammar of the policy language, and the S3 user guide for what makes a policy public.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from directory_server.access import conditions, vocabulary
from directory_server.access.conditions import BadCondition, Condition, Keys, first
from directory_server.access.patterns import filled, matches

MAX_BYTES = 20 * 1024
MAX_STATEMENTS = 500
VERSIONS = ("2012-10-17", "2008-10-17")
Effect = Literal["Allow", "Deny"]

_ACTION = re.compile(r"\*|s3:[A-Za-z0-9*?]+", re.IGNORECASE)
_USER = re.compile(r"arn:aws[a-z-]*:iam::([^:]*):(root|user/(.+))")
_ANY_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[^:]*:.+")
_RESOURCE = re.compile(r"arn:(?:aws[a-z-]*|\*):s3:[^:]*:[^:]*:(.+)", re.DOTALL)
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


class BadPolicy(ValueError):
    """An invalid document, with the reason."""


@dataclass(frozen=True)
class Question:
    """A request that a policy is evaluated for. `account` is empty for an anonymous one.

    `resource` follows the last colon of the ARN: a bucket, or a bucket and a key.
    """

    account: str
    action: str
    resource: str
    keys: Keys


@dataclass(frozen=True)
class Principals:
    """The people a statement applies to. `accounts` are names; `everybody` includes anonymous people."""

    everybody: bool
    accounts: frozenset[str]
    inverted: bool

    def has(self, account: str) -> bool:
        return (self.everybody or account in self.accounts) != self.inverted

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
            self.principals.has(question.account)
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

    @property
    def public(self) -> bool:
        return any(statement.public for statement in self.statements)


def parse(text: str, bucket: str) -> Policy:
    """Parse the policy document of `bucket`. BadPolicy names the mistake."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BadPolicy(f"Policy is larger than {MAX_BYTES} bytes")
    if not text.startswith("{"):
        raise BadPolicy("Policies must be valid JSON and the first byte must be '{'")
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
    except (ValueError, RecursionError) as error:
        raise BadPolicy(f"This policy contains invalid Json: {error}") from error
    unknown = set(document) - {"Version", "Id", "Statement"}
    if unknown:
        raise BadPolicy(f"Unknown field {min(unknown)[:40]}")
    version = document.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise BadPolicy(f"The policy must contain a valid version string: {' or '.join(VERSIONS)}")
    if not isinstance(document.get("Id", ""), str):
        raise BadPolicy("Id must be a string")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise BadPolicy("Missing required field Statement")
    if len(statements) > MAX_STATEMENTS:
        raise BadPolicy(f"a policy may have at most {MAX_STATEMENTS} statements")
    return Policy(tuple(_statement(one, bucket, version == VERSIONS[0]) for one in statements))


def check_words(found: Policy, is_account: Callable[[str], bool]) -> None:
    """Raise BadPolicy if part of the policy can never apply.

    That is: an unknown action, an action that does not apply to any of the statement's resources, a missing account, or
    a condition key that S3 does not have. `parse` does not check this, because it also reads older stored policies.
    """
    for statement in found.statements:
        for account in sorted(statement.principals.accounts):
            if not is_account(account):
                raise BadPolicy(f"Invalid principal in policy: there is no account {account[:60]!r}")
        for condition in statement.conditions:
            if not vocabulary.is_key(condition.key):
                raise BadPolicy(f"Policy has an invalid condition key: {condition.key[:60]}")
        for action in statement.actions:
            kinds = {kind for kind, names in vocabulary.ACTIONS.items() if any(matches(action, one) for one in names)}
            if not kinds:
                raise BadPolicy(f"Policy has invalid action: {action[:60]}")
            if not statement.not_actions and not statement.not_resources and not kinds & statement.kinds:
                raise BadPolicy(f"Action does not apply to any resource(s) in statement: {action[:60]}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _statement(given: Any, bucket: str, variables: bool) -> PolicyStatement:
    if not isinstance(given, dict):
        raise BadPolicy("a Statement must be an object")
    known = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource"}
    unknown = set(given) - known - {"Condition"}
    if unknown:
        raise BadPolicy(f"Unknown field {min(unknown)[:40]}")
    if not isinstance(given.get("Sid", ""), str):
        raise BadPolicy("Sid must be a string")
    effect = given.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise BadPolicy("Invalid effect: it must be Allow or Deny")
    who, inverted = _either(given, "Principal")
    actions, not_actions = _either(given, "Action")
    resources, not_resources = _either(given, "Resource")
    try:
        found = conditions.parse(given.get("Condition", {}), variables=variables)
    except BadCondition as error:
        raise BadPolicy(str(error)) from error
    return PolicyStatement(
        effect,
        _principals(who, inverted),
        tuple(_action(one) for one in _texts(actions, "Action")),
        not_actions,
        tuple(_resource(one, bucket) for one in _texts(resources, "Resource")),
        not_resources,
        found,
        variables,
    )


def _either(given: dict[str, Any], name: str) -> tuple[Any, bool]:
    """Return the value of `name` or of `Not` + `name`, and whether it was the latter."""
    if (name in given) == (f"Not{name}" in given):
        raise BadPolicy(f"a Statement must have exactly one of {name} and Not{name}")
    return (given[name], False) if name in given else (given[f"Not{name}"], True)


def _texts(given: Any, name: str) -> list[str]:
    found = given if isinstance(given, list) else [given]
    if not found or not all(isinstance(one, str) and one for one in found):
        raise BadPolicy(f"{name} must be a string or a list of strings")
    return found


def _action(text: str) -> str:
    if not _ACTION.fullmatch(text):
        raise BadPolicy(f"Policy has invalid action: {text[:60]}")
    return text.lower()


def _resource(text: str, bucket: str) -> str:
    if text == "*":
        return text
    found = _RESOURCE.fullmatch(text)
    if found is None:
        raise BadPolicy(f"Policy has invalid resource: {text[:80]}")
    name = found[1]
    # A star may span the slash, so the bucket's part of a pattern is tried with what could follow it.
    part = name.partition("/")[0]
    if "${" not in part and not (matches(part, bucket) or (part.endswith("*") and matches(part, f"{bucket}/"))):
        raise BadPolicy(f"Policy has invalid resource: {text[:80]} is not in bucket {bucket}")
    return name


def _principals(given: Any, inverted: bool) -> Principals:
    if given == "*":
        return Principals(True, frozenset(), inverted)
    if not isinstance(given, dict) or not given:
        raise BadPolicy("Invalid principal in policy")
    everybody, accounts = False, set()
    for kind, names in given.items():
        for name in _texts(names, "Principal"):
            if kind in ("Service", "Federated"):
                continue  # nobody here is one
            if kind not in ("AWS", "CanonicalUser"):
                raise BadPolicy(f"Invalid principal in policy: {kind[:40]}")
            if name == "*" and kind == "AWS":
                everybody = True
            else:
                accounts.update(_accounts(name, kind))
    return Principals(everybody, frozenset(accounts), inverted)


def _accounts(name: str, kind: str) -> list[str]:
    """Return the account that a principal names; none for an ARN without a counterpart here, such as a role."""
    if kind == "CanonicalUser" or not name.startswith("arn:"):
        if "*" in name or "/" in name:
            raise BadPolicy(f"Invalid principal in policy: {name[:60]}")
        return [name]
    found = _USER.fullmatch(name)
    if found is None:
        if not _ANY_ARN.fullmatch(name) or "*" in name:
            raise BadPolicy(f"Invalid principal in policy: {name[:60]}")
        return []
    owner, what, path = found.groups()
    if "*" in name:
        raise BadPolicy(f"Invalid principal in policy: {name[:60]}; wildcards are for conditions on aws:PrincipalArn")
    if what == "root":
        return [owner] if owner else []
    user = path.rsplit("/", 1)[-1]
    # An account here has one user, of its own name; a number is what other systems call the account.
    return [user] if owner in ("", user) or owner.isdecimal() else []


def _narrows(condition: Condition) -> bool:
    if condition.operator not in _FIXING or condition.if_exists or condition.quantifier == "forallvalues":
        return False
    if condition.key not in _NARROWING or not condition.values:
        return False
    if condition.operator == "ipaddress":
        networks = [ipaddress.ip_network(value, strict=False) for value in condition.values]
        return all(network.prefixlen >= _WIDEST[network.version] for network in networks)
    return not any("*" in value or "?" in value or "${" in value for value in condition.values)
