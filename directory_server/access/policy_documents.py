"""Parses documents of the policy language. Pure.

A bucket's policy names principals and that bucket. An identity's policy names neither itself nor one bucket, and may
have statements about other services, about which nothing asks here. A role's trust policy says who may take the role.
A document with anything unknown in it is rejected when it is stored, because half a policy protects nothing.
Source: the IAM reference's grammar of the policy language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from directory_server.access import conditions, vocabulary
from directory_server.access.conditions import BadCondition
from directory_server.access.patterns import matches
from directory_server.access.policy import BadPolicy, Policy, PolicyStatement, Principals
from directory_server.metadata.principals import principal_of
from lockstep_store.wire.messages.groups import GROUP_PREFIX, is_group

MAX_BYTES = 20 * 1024
MAX_STATEMENTS = 500
VERSIONS = ("2012-10-17", "2008-10-17")

_STATEMENT = frozenset({"Sid", "Effect", "Action", "NotAction", "Condition"})
_ACTION = re.compile(r"\*|s3:[A-Za-z0-9*?]+", re.IGNORECASE)
_ANY_ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+", re.IGNORECASE)
_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::[^:]*:oidc-provider/(.+)")
_ANY_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[^:]*:.+")
_RESOURCE = re.compile(r"arn:(?:aws[a-z-]*|\*):s3:[^:]*:[^:]*:(.+)", re.DOTALL)
_ANY_RESOURCE = re.compile(r"arn:[^:]*:([^:]+):[^:]*:[^:]*:.+", re.DOTALL)
_EVERYBODY = Principals(True, frozenset(), False)


def check_size(text: str) -> str:
    """Return the document. BadPolicy if it is too large to be stored.

    `parse` and `parse_trust` do not check this: a stored document may grow when an account that it names is deleted.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BadPolicy(f"Policy is larger than {MAX_BYTES} bytes")
    return text


def parse(text: str, bucket: str) -> Policy:
    """Parse the policy document of `bucket`. BadPolicy names the mistake."""
    return _parse(text, lambda given, variables: _bucket_statement(given, bucket, variables))


@lru_cache(maxsize=1024)
def parse_identity(text: str) -> Policy:
    """Parse the policy document of a user, role, group or session. Cached by its text."""
    return _parse(check_size(text), _identity_statement)


@lru_cache(maxsize=256)
def parse_trust(text: str) -> Policy:
    """Parse the trust policy of a role. Cached by its text."""
    return _parse(text, _trust_statement)


def _parse(text: str, parse_statement: Callable[[Any, bool], PolicyStatement]) -> Policy:
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
    return Policy(tuple(parse_statement(one, version == VERSIONS[0]) for one in statements))


def check_words(found: Policy, is_account: Callable[[str], bool]) -> None:
    """Raise BadPolicy if part of the policy can never apply.

    That is: an unknown action, an action that does not apply to any of the statement's resources, a missing account, or
    a condition key that S3 does not have. `parse` does not check this, because it also reads older stored policies.
    """
    for statement in found.statements:
        check_principals(statement, is_account)
        _check_keys(statement)
        for action in statement.actions:
            kinds = {kind for kind, names in vocabulary.ACTIONS.items() if any(matches(action, one) for one in names)}
            if not kinds:
                raise BadPolicy(f"Policy has invalid action: {action[:60]}")
            if not statement.not_actions and not statement.not_resources and not kinds & statement.kinds:
                raise BadPolicy(f"Action does not apply to any resource(s) in statement: {action[:60]}")


def check_principals(statement: PolicyStatement, is_account: Callable[[str], bool]) -> None:
    """Raise BadPolicy for a principal that does not exist."""
    for account in sorted(statement.principals.accounts | statement.principals.groups):
        if not is_account(account):
            kind, name = ("group", account[len(GROUP_PREFIX) :]) if is_group(account) else ("account", account)
            raise BadPolicy(f"Invalid principal in policy: there is no {kind} {name[:60]!r}")


def check_identity_words(found: Policy) -> None:
    """Raise BadPolicy if an identity's policy has an S3 action or a condition key that does not exist."""
    for statement in found.statements:
        _check_keys(statement)
        for action in statement.actions:
            if action.startswith("s3:") and not any(matches(action, one) for one in vocabulary.IDENTITY_ACTIONS):
                raise BadPolicy(f"Policy has invalid action: {action[:60]}")


def _check_keys(statement: PolicyStatement) -> None:
    for condition in statement.conditions:
        if not vocabulary.is_key(condition.key):
            raise BadPolicy(f"Policy has an invalid condition key: {condition.key[:60]}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bucket_statement(given: Any, bucket: str, variables: bool) -> PolicyStatement:
    _check_members(given, _STATEMENT | {"Principal", "NotPrincipal", "Resource", "NotResource"})
    who, inverted = _either(given, "Principal")
    resources, not_resources = _either(given, "Resource")
    named = tuple(_resource(one, bucket) for one in _texts(resources, "Resource"))
    return _statement(given, _ACTION, _principals(who, inverted), named, not_resources, variables)


def _identity_statement(given: Any, variables: bool) -> PolicyStatement:
    _check_members(given, _STATEMENT | {"Resource", "NotResource"})
    resources, not_resources = _either(given, "Resource")
    named = tuple(_any_resource(one) for one in _texts(resources, "Resource"))
    return _statement(given, _ANY_ACTION, _EVERYBODY, named, not_resources, variables)


def _trust_statement(given: Any, variables: bool) -> PolicyStatement:
    _check_members(given, _STATEMENT | {"Principal", "NotPrincipal"})
    who, inverted = _either(given, "Principal")
    return _statement(given, _ANY_ACTION, _principals(who, inverted), ("*",), False, variables, federated=True)


def _check_members(given: Any, known: frozenset[str] | set[str]) -> None:
    if not isinstance(given, dict):
        raise BadPolicy("a Statement must be an object")
    unknown = set(given) - known
    if unknown:
        raise BadPolicy(f"Unknown field {min(unknown)[:40]}")


def _statement(
    given: Any,
    pattern: re.Pattern[str],
    principals: Principals,
    resources: tuple[str, ...],
    not_resources: bool,
    variables: bool,
    *,
    federated: bool = False,
) -> PolicyStatement:
    if not isinstance(given.get("Sid", ""), str):
        raise BadPolicy("Sid must be a string")
    effect = given.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise BadPolicy("Invalid effect: it must be Allow or Deny")
    actions, not_actions = _either(given, "Action")
    try:
        found = conditions.parse(given.get("Condition", {}), variables=variables, federated=federated)
    except BadCondition as error:
        raise BadPolicy(str(error)) from error
    return PolicyStatement(
        effect,
        principals,
        tuple(_action(one, pattern) for one in _texts(actions, "Action")),
        not_actions,
        resources,
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


def _action(text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
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


def _any_resource(text: str) -> str:
    """Return the pattern of an identity's policy: the name after S3's ARN, or the whole ARN of another service."""
    found = _RESOURCE.fullmatch(text)
    if found is not None:
        return found[1]
    other = _ANY_RESOURCE.fullmatch(text)
    if text != "*" and other is None:
        raise BadPolicy(f"Policy has invalid resource: {text[:80]}")
    if other is not None and not {"*", "?"}.isdisjoint(other[1]):
        raise BadPolicy(f"Policy has invalid resource: {text[:80]} must name one service")
    return text


def _principals(given: Any, inverted: bool) -> Principals:
    if given == "*":
        return Principals(True, frozenset(), inverted)
    if not isinstance(given, dict) or not given:
        raise BadPolicy("Invalid principal in policy")
    everybody, accounts, federated = False, set(), set()
    for kind, names in given.items():
        for name in _texts(names, "Principal"):
            if kind == "Service":
                continue  # nobody here is one
            if kind == "Federated":
                federated.add(_provider(name))
                continue
            if kind not in ("AWS", "CanonicalUser"):
                raise BadPolicy(f"Invalid principal in policy: {kind[:40]}")
            if name == "*" and kind == "AWS":
                everybody = True
            else:
                accounts.update(_accounts(name, kind))
    groups = frozenset(filter(is_group, accounts))
    return Principals(everybody, frozenset(accounts) - groups, inverted, frozenset(federated), groups)


def _provider(name: str) -> str:
    """Return the provider that a federated principal names by its ARN, or as AWS names the few that it knows itself.

    Providers are the cluster's, so whose account the ARN names does not matter.
    """
    found = _PROVIDER.fullmatch(name)
    return found[1] if found is not None else name


def _accounts(name: str, kind: str) -> list[str]:
    """Return the account, group, user or role that a principal names; none for an ARN without a counterpart here."""
    if kind == "CanonicalUser" or not name.startswith("arn:"):
        if "*" in name or "/" in name:
            raise BadPolicy(f"Invalid principal in policy: {name[:60]}")
        return [name]
    if not _ANY_ARN.fullmatch(name):
        raise BadPolicy(f"Invalid principal in policy: {name[:60]}")
    if "*" in name:
        raise BadPolicy(f"Invalid principal in policy: {name[:60]}; wildcards are for conditions on aws:PrincipalArn")
    found = principal_of(name)
    return [] if found is None else [found]
