"""Limits requests by class. Classes without a rule have no limiter, so that their requests cost nothing more.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from client_proxy.metrics import RATE_LIMITED
from client_proxy.rate_limits.rules import By, RateClass, RateRule
from lockstep_store.runtime.addresses import counted_as
from lockstep_store.runtime.http.exchange import LIMIT_HEADER
from lockstep_store.wire.errors import RateLimited

Take = Callable[[RateRule, str], tuple[bool, int, int]]
"""Counts a request: see RequestCounts.take."""


class RateStanding(NamedTuple):
    """What is left of a rule for a caller, and the seconds until that changes."""

    policy: str
    limit: int
    window_seconds: int
    left: int
    seconds: int


class ClassLimits:
    """The rules of one class. Every method counts a request, and raises RateLimited when a rule has nothing left."""

    def __init__(self, rules: Iterable[RateRule], take: Take) -> None:
        rules = tuple(rules)
        self._at_address = [rule for rule in rules if rule.by == "address"]
        self._others = [rule for rule in rules if rule.by != "address"]
        self._take = take

    @property
    def by_caller(self) -> bool:
        """Whether there are rules that need to know who calls."""
        return bool(self._others)

    def at_address(self, address: str) -> list[RateStanding]:
        """Judge by the address alone, before anything else is done for the request."""
        return [self._judge(rule, counted_as(address)) for rule in self._at_address]

    def of_caller(self, **whose: str) -> list[RateStanding]:
        """Judge by `account`, `key` and `bucket`; those that are empty are not counted."""
        return [self._judge(rule, whose[rule.by]) for rule in self._others if whose.get(rule.by)]

    def _judge(self, rule: RateRule, whose: str) -> RateStanding:
        allowed, left, seconds = self._take(rule, whose)
        if not allowed:
            RATE_LIMITED.labels(rule.rate_class, rule.by).inc()
            raise RateLimited(
                f"too many {_WHAT[rule.rate_class]}: {_WHOSE[rule.by]} may make {rule.count} a {rule.time}; "
                f"try again in {seconds} s",
                retry_after=seconds,
                policy=rule.name,
                limit=rule.count,
                window_seconds=rule.seconds,
                **{"violated-policies": [rule.name]},
            )
        return RateStanding(rule.name, rule.count, rule.seconds, left, seconds)


_WHAT: Mapping[RateClass, str] = {
    "login": "log-ins",
    "read": "reads",
    "write": "writes",
    "list": "listings",
    "admin": "administrative requests",
    "share": "requests to share links",
}
_WHOSE: Mapping[By, str] = {
    "address": "one address",
    "account": "one account",
    "key": "one key",
    "bucket": "all callers of one bucket together",
}


class RateLimits:
    """The limits of a proxy."""

    def __init__(self, rules: Iterable[RateRule], take: Take) -> None:
        self.rules = tuple(rules)
        self._classes = {
            rate_class: ClassLimits([rule for rule in self.rules if rule.rate_class == rate_class], take)
            for rate_class in {rule.rate_class for rule in self.rules}
        }

    def of(self, rate_class: RateClass | None) -> ClassLimits | None:
        """The limits of a class, or None if it has no rule."""
        return self._classes.get(rate_class) if rate_class else None


def standing_headers(standings: Iterable[RateStanding]) -> list[tuple[str, str]]:
    """The headers of a reply to a request that was counted."""
    found = list(standings)
    if not found:
        return []
    policies = ", ".join(f'"{each.policy}";q={each.limit};w={each.window_seconds}' for each in found)
    limits = ", ".join(f'"{each.policy}";r={each.left};t={each.seconds}' for each in found)
    return [("RateLimit-Policy", policies), (LIMIT_HEADER, limits)]


def refusal_headers(error: RateLimited) -> list[tuple[str, str]]:
    """The headers of the reply to a request that was refused, without Retry-After; none for an error without facts."""
    facts = error.facts
    if not {"policy", "limit", "window_seconds", "retry_after"} <= facts.keys():
        return []
    standing = RateStanding(facts["policy"], facts["limit"], facts["window_seconds"], 0, facts["retry_after"])
    return standing_headers([standing])
