"""Conditions of policy statements: operators over condition keys. Pure; the caller supplies the keys' values.

Source of the operators' meanings, also where a key is missing: the IAM reference on condition operators.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from directory_server.access.patterns import filled, matches, plain

Keys = Callable[[str], list[str] | None]
"""The values of a condition key, named in lower case; None when the request has no such key."""
Compare = Callable[[str, str], bool]
"""(the request's value, the policy's value). ValueError when the request's cannot be read, which is no match."""


_SERVICES = ("aws:", "s3:", "sts:")
_CLAIM = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9.-]+|:[0-9]{1,5})(?::[0-9]{1,5})?(?:/[!-~]*)?:[!-~]+")
"""A provider's host, with a dot or a port, its path, and the name of a claim."""


class BadCondition(ValueError):
    """An invalid condition, with the reason."""


@dataclass(frozen=True)
class Condition:
    """One operator over one key. All values are alternatives."""

    operator: str
    key: str
    values: tuple[str, ...]
    negated: bool
    if_exists: bool
    quantifier: str
    compare: Compare
    variables: bool

    def holds(self, keys: Keys) -> bool:
        """Whether the request meets the condition."""
        found = keys(self.key)
        if self.operator == "null":
            return (found is None) == (self.values[0].lower() == "true")
        if not found:
            if self.quantifier:
                return self.quantifier == "forallvalues" or self.if_exists
            return self.if_exists or self.negated
        wanted = [text for text in (self._filled(value, keys) for value in self.values) if text is not None]
        if self.quantifier == "forallvalues":
            return all(self._one(value, wanted) != self.negated for value in found)
        if self.quantifier == "foranyvalue":
            return any(self._one(value, wanted) != self.negated for value in found)
        return any(self._one(value, wanted) for value in found) != self.negated

    def _filled(self, value: str, keys: Keys) -> str | None:
        return filled(value, lambda name: first(keys(name.lower()))) if self.variables else value

    def _one(self, value: str, wanted: Sequence[str]) -> bool:
        for text in wanted:
            try:
                if self.compare(value, text):
                    return True
            except ValueError:
                return False
        return False


def first(values: list[str] | None) -> str | None:
    """Return the only value of a key that has exactly one."""
    return values[0] if values else None


def parse(block: Any, *, variables: bool, federated: bool = False) -> tuple[Condition, ...]:
    """Parse a statement's conditions, all of which must hold. BadCondition names the mistake.

    `federated`: keys may also be claims of OpenID Connect providers, such as `login.example.com/realm:sub`.
    """
    if not isinstance(block, dict):
        raise BadCondition("Condition must be an object")
    found = []
    for name, keys in block.items():
        if not isinstance(keys, dict) or not keys:
            raise BadCondition(f"the condition {name[:40]!r} must be an object of condition keys")
        for key, value in keys.items():
            if not key.lower().startswith(_SERVICES) and not (federated and _CLAIM.fullmatch(key)):
                raise BadCondition(f"Policy has an invalid condition key: {key[:60]}")
            found.append(_condition(name, key, value, variables))
    return tuple(found)


def _condition(name: str, key: str, value: Any, variables: bool) -> Condition:
    quantifier, _, operator = name.lower().rpartition(":")
    if quantifier not in ("", "forallvalues", "foranyvalue"):
        raise BadCondition(f"Invalid Condition type : {name[:60]}")
    if_exists = operator.endswith("ifexists")
    operator = operator.removesuffix("ifexists")
    known = _OPERATORS.get(operator)
    if known is None or (operator == "null" and (if_exists or quantifier)):
        raise BadCondition(f"Invalid Condition type : {name[:60]}")
    compare, negated, check = known
    values = tuple(_text(one) for one in (value if isinstance(value, list) else [value]))
    for one in values:
        if "${" in one and variables and operator.startswith(("string", "arn")):
            continue
        try:
            check(one)
        except ValueError as error:
            raise BadCondition(f"the condition {name} on {key} has the value {one[:60]!r}: {error}") from error
    if operator == "null" and len(values) != 1:
        raise BadCondition("a Null condition must have one value, true or false")
    takes_variables = variables and operator.startswith(("string", "arn"))
    return Condition(operator, key.lower(), values, negated, if_exists, quantifier, compare, takes_variables)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise BadCondition("a condition's values must be strings, numbers or booleans")
    return value


def as_time(text: str) -> float:
    """Return the seconds since 1970 of an ISO 8601 time or of a number."""
    try:
        return float(text)
    except ValueError:
        pass
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("it must be true or false")
    return text.lower() == "true"


def _in_network(address: str, network: str) -> bool:
    """Return the IPv4 address in a mapped IPv6 one, which a listener on `::` sees for IPv4 clients."""
    asked, wanted = ipaddress.ip_address(address), ipaddress.ip_network(network, strict=False)
    mapped = asked.ipv4_mapped if asked.version == 6 else None
    return asked in wanted or (mapped is not None and mapped in wanted)


def _arn_like(value: str, pattern: str) -> bool:
    """Compare part by part, so that a star matches no colon; only the sixth part may contain colons."""
    if pattern == "*":
        return True
    asked, wanted = value.split(":", 5), pattern.split(":", 5)
    return len(asked) == len(wanted) and all(map(matches, wanted, asked))


def _any(text: str) -> None:
    return None


def _number(compare: Callable[[float, float], bool]) -> Compare:
    return lambda value, wanted: compare(float(value), float(wanted))


def _date(compare: Callable[[float, float], bool]) -> Compare:
    return lambda value, wanted: compare(as_time(value), as_time(wanted))


def _equal(a: float, b: float) -> bool:
    return a == b


def _less(a: float, b: float) -> bool:
    return a < b


def _up_to(a: float, b: float) -> bool:
    return a <= b


def _more(a: float, b: float) -> bool:
    return a > b


def _from(a: float, b: float) -> bool:
    return a >= b


_ORDERS = {
    "equals": (_equal, False),
    "notequals": (_equal, True),
    "lessthan": (_less, False),
    "lessthanequals": (_up_to, False),
    "greaterthan": (_more, False),
    "greaterthanequals": (_from, False),
}
_OPERATORS: dict[str, tuple[Compare, bool, Callable[[str], object]]] = {
    "stringequals": (lambda value, wanted: value == plain(wanted), False, _any),
    "stringnotequals": (lambda value, wanted: value == plain(wanted), True, _any),
    "stringequalsignorecase": (lambda value, wanted: value.casefold() == plain(wanted).casefold(), False, _any),
    "stringnotequalsignorecase": (lambda value, wanted: value.casefold() == plain(wanted).casefold(), True, _any),
    "stringlike": (lambda value, wanted: matches(wanted, value), False, _any),
    "stringnotlike": (lambda value, wanted: matches(wanted, value), True, _any),
    "binaryequals": (lambda value, wanted: value == wanted, False, _any),
    "bool": (lambda value, wanted: _boolean(value) == _boolean(wanted), False, _boolean),
    "ipaddress": (_in_network, False, lambda text: ipaddress.ip_network(text, strict=False)),
    "notipaddress": (_in_network, True, lambda text: ipaddress.ip_network(text, strict=False)),
    "arnequals": (_arn_like, False, _any),
    "arnlike": (_arn_like, False, _any),
    "arnnotequals": (_arn_like, True, _any),
    "arnnotlike": (_arn_like, True, _any),
    "null": (lambda value, wanted: False, False, _boolean),
    **{f"numeric{name}": (_number(order), negated, float) for name, (order, negated) in _ORDERS.items()},
    **{f"date{name}": (_date(order), negated, as_time) for name, (order, negated) in _ORDERS.items()},
}
