"""Condition keys whose values the directory adds: the person, the time, and values derived from the request's.

The request brings its own condition keys (`lockstep_store.wire.messages.s3_access`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from directory_server.access.conditions import as_time
from directory_server.people.person import Person

DAY_SECONDS = 86_400.0


def days_until(asked: list[str] | None, at: float) -> list[str] | None:
    """Return the days that a requested retention would last, rounded up; None without a date."""
    try:
        return None if not asked else [str(math.ceil((as_time(asked[0]) - at) / DAY_SECONDS))]
    except (ValueError, OverflowError):  # the header's value is unchecked: it may be "inf"
        return None


def _named(value: str) -> list[str] | None:
    return [value] if value else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def user_name(person: Person) -> str:
    """The name of the user, which a role does not have; that of the account itself without one."""
    identity = person.limits.identity if person.limits is not None else ""
    kind, _, name = identity.partition("/")
    return person.account if not kind else name if kind == "user" else ""


def user_id(person: Person) -> str:
    """The unique id of the user, or of the role with its session's name; the account's name without one."""
    limits = person.limits
    if limits is None or not limits.identity:
        return person.account
    return limits.id if limits.identity.startswith("user/") else f"{limits.id}:{limits.session_name}"


def principal_arn(person: Person) -> str:
    """The ARN of the account, user or role that policies compare."""
    limits = person.limits
    if limits is None or not limits.identity:
        return f"arn:aws:iam::{person.account}:user/{person.account}"
    kind, _, name = limits.identity.partition("/")
    return f"arn:aws:iam::{person.account}:{kind}{limits.path}{name}"


def _principal_type(person: Person) -> str:
    if not person.account:
        return "Anonymous"
    return "AssumedRole" if person.limits is not None and person.limits.identity.startswith("role/") else "User"


OWN_KEYS: dict[str, Callable[[Person, float], list[str] | None]] = {
    "aws:username": lambda person, at: _named(user_name(person)),
    "aws:userid": lambda person, at: _named(user_id(person)),
    "aws:principalaccount": lambda person, at: _named(person.account),
    "aws:principalarn": lambda person, at: _named(person.account and principal_arn(person)),
    "aws:principaltype": lambda person, at: [_principal_type(person)],
    "aws:currenttime": lambda person, at: [_iso(at)],
    "aws:epochtime": lambda person, at: [str(int(at))],
}
TIME_KEYS = frozenset({"aws:currenttime", "aws:epochtime"})
"""Those of them that change by themselves."""
