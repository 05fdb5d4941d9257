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


OWN_KEYS: dict[str, Callable[[Person, float], list[str] | None]] = {
    "aws:username": lambda person, at: _named(person.account),
    "aws:userid": lambda person, at: _named(person.account),
    "aws:principalaccount": lambda person, at: _named(person.account),
    "aws:principalarn": lambda person, at: _named(
        person.account and f"arn:aws:iam::{person.account}:user/{person.account}"
    ),
    "aws:principaltype": lambda person, at: ["User" if person.account else "Anonymous"],
    "aws:currenttime": lambda person, at: [_iso(at)],
    "aws:epochtime": lambda person, at: [str(int(at))],
}
