from __future__ import annotations

import pytest

from client_proxy.rate_limits.rules import DEFAULTS, parse_rules

LOGIN, SHARE = DEFAULTS.values()


def test_by_default_only_strangers_are_limited() -> None:
    """Without any rule, an address may log in 100 times a minute and use share links 600 times; all else is free."""
    rules = [str(rule) for rule in parse_rules([])]
    assert rules == [LOGIN, SHARE] == ["login=100/minute/address", "share=600/minute/address"]


def test_a_rule_for_log_ins_replaces_the_default_and_off_ends_it() -> None:
    """The default is one rule like any other: another one for log-ins takes its place, and `off` removes it."""
    assert [str(rule) for rule in parse_rules(["login=5/hour/address"])] == [SHARE, "login=5/hour/address"]
    assert [str(rule) for rule in parse_rules(["login=off"])] == [SHARE]
    assert parse_rules(["login=off", "share=off"]) == ()
    assert [str(rule) for rule in parse_rules(["write=9/day/key"])] == [LOGIN, SHARE, "write=9/day/key"]


def test_a_class_may_have_several_rules() -> None:
    """A burst and a long time, an account and a bucket can be limited beside each other, each under its own name."""
    texts = ["write=50/second/account", "write=1000/hour/account", "write=500/second/bucket", "login=off", "share=off"]
    rules = parse_rules(texts)
    assert [str(rule) for rule in rules] == texts[:3]
    assert len({rule.name for rule in rules}) == 3


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["write=50"], "is no rate limit"),
        (["write=50/second"], "is no rate limit"),
        (["write=50/fortnight/account"], "second, minute, hour or day"),
        (["upload=50/second/account"], "login, read, write, list, admin or share"),
        (["write=-1/second/account"], "is no rate limit"),
        (["write=0/second/account"], "from 1 to"),
        (["write=9999999999/second/account"], "from 1 to"),
        (["login=5/minute/account"], "only be limited by address"),
        (["share=5/minute/bucket"], "only be limited by address"),
        (["write=off", "write=1/second/key"], "contradict"),
        (["read=1/second/key", "read=2/second/key"], "two rules for read by key"),
        (["read=1/second/key "], "is no rate limit"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(texts: list[str], reason: str) -> None:
    """A rule that cannot be meant as written stops the start, and the error says how to write it."""
    with pytest.raises(ValueError, match=reason):
        parse_rules(texts)
