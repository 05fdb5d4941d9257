"""The rules of rate limits, as an operator writes them: `CLASS=COUNT/TIME/BY`, such as `login=100/minute/address`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

RateClass = Literal["login", "read", "write", "list", "admin", "share"]
By = Literal["address", "account", "key", "bucket"]

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
DEFAULTS = {"login": "login=100/minute/address", "share": "share=600/minute/address"}
"""Each holds unless a rule for its class is given. The other classes are unlimited by default."""
MAX_COUNT = 10**9
IN_MEMORY = "memory"
"""The storage of counts that needs no other program."""
_CLASSES: tuple[RateClass, ...] = get_args(RateClass)
_BYS: tuple[By, ...] = get_args(By)
_RULE = re.compile(rf"({'|'.join(_CLASSES)})=([0-9]{{1,10}})/({'|'.join(SECONDS)})/({'|'.join(_BYS)})")
_OFF = re.compile(rf"({'|'.join(_CLASSES)})=off")


@dataclass(frozen=True)
class RateRule:
    """At most `count` requests of a class in `seconds`, for each address, account, key or bucket by itself."""

    rate_class: RateClass
    count: int
    seconds: int
    by: By

    @property
    def name(self) -> str:
        """The policy's name in the RateLimit headers: a time may have a second rule beside it."""
        return f"{self.rate_class}-{self.by}-{self.time}"

    @property
    def time(self) -> str:
        """The word for `seconds`."""
        return next(name for name, seconds in SECONDS.items() if seconds == self.seconds)

    def __str__(self) -> str:
        return f"{self.rate_class}={self.count}/{self.time}/{self.by}"


def parse_rules(texts: Iterable[str]) -> tuple[RateRule, ...]:
    """The rules that `texts` and the default make. ValueError for a text that is no rule, or two that contradict."""
    rules: list[RateRule] = []
    off: set[str] = set()
    for text in texts:
        if found := _OFF.fullmatch(text):
            off.add(found[1])
        else:
            rules.append(_parse(text))
    for rule in rules:
        if rule.rate_class in off:
            raise ValueError(f"{rule} and {rule.rate_class}=off contradict each other")
    names = [rule.name for rule in rules]
    for rule in rules:
        if names.count(rule.name) > 1:
            raise ValueError(f"there are two rules for {rule.rate_class} by {rule.by} in the same time, one is {rule}")
    given = off.union(rule.rate_class for rule in rules)
    return (*(_parse(text) for name, text in DEFAULTS.items() if name not in given), *rules)


def _parse(text: str) -> RateRule:
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no rate limit: write CLASS=COUNT/TIME/BY, such as {DEFAULTS['login']}, or CLASS=off. "
            f"CLASS is {_either(_CLASSES)}, TIME {_either(SECONDS)}, BY {_either(_BYS)}"
        )
    rate_class = next(each for each in _CLASSES if each == found[1])
    by = next(each for each in _BYS if each == found[4])
    count = int(found[2])
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"{text!r} must allow from 1 to {MAX_COUNT} requests")
    if rate_class in DEFAULTS and by != "address":
        what = "log-ins" if rate_class == "login" else "share links"
        raise ValueError(f"{text!r}: {what} can only be limited by address, because nobody is logged in")
    return RateRule(rate_class, count, SECONDS[found[3]], by)


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"
