"""Counts of requests that never expire, so that a test's refusals do not depend on when it runs."""

from __future__ import annotations

import threading
from collections import Counter

from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.rate_limits.rules import RateRule, parse_rules


class LastingCounts:
    """`taken` counts requests by (rule, whose)."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()
        self._guard = threading.Lock()

    def take(self, rule: RateRule, whose: str) -> tuple[bool, int, int]:
        with self._guard:
            have = self.taken[str(rule), whose]
            if have >= rule.count:
                return False, 0, 7
            self.taken[str(rule), whose] += 1
            return True, rule.count - have - 1, 7


def lasting_limits(*rules: str) -> tuple[RateLimits, LastingCounts]:
    """The limits that a proxy with these rules has, and their counts."""
    counts = LastingCounts()
    return RateLimits(parse_rules(rules), counts.take), counts
