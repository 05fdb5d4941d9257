"""Commands about a bucket's lifecycle: show, add, remove."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def olga(shell: Shell) -> Shell:
    shell.login("olga")
    return shell


def _stored(shell: Shell, bucket: str = "album") -> list[dict[str, Any]]:
    text = shell.server.core.settings.get((bucket, "lifecycle"))
    rules: list[dict[str, Any]] = [] if text is None else json.loads(text)["Rules"]
    return rules


def test_rules_are_added_and_removed(olga: Shell) -> None:
    """One at a time; the others stay as they are."""
    assert "deletes nothing" in olga.run("lifecycle", "show", "album").stdout
    olga.run("lifecycle", "add", "album", "--prefix", "logs/", "--expire-days", "30")
    shown = olga.run(
        "lifecycle", "add", "album", "--noncurrent-days", "7", "--keep-newer", "3", "--abort-uploads-days", "1"
    ).stdout
    assert ("logs/…" in shown, "deletes them after 30 days" in shown) == (True, True)
    assert "all files" in shown
    assert "removes old versions after 7 days, except the newest 3; aborts uploads after 1 day" in shown
    first, second = olga.json("lifecycle", "show", "album")["rules"]
    assert (first["prefix"], first["expire_days"]) == ("logs/", 30)
    assert (second["noncurrent_days"], second["keep_newer"], second["abort_uploads_days"]) == (7, 3, 1)
    assert [rule["ID"] for rule in _stored(olga)] == [first["id"], second["id"]]
    olga.run("lifecycle", "remove", "album", first["id"])
    assert [rule["ID"] for rule in _stored(olga)] == [second["id"]]
    olga.run("lifecycle", "remove", "album", second["id"])
    assert ("album", "lifecycle") not in olga.server.core.settings


def test_a_rule_has_conditions(olga: Shell) -> None:
    """As the S3 door stores them."""
    words = ("--tag", "kind=draft", "--tag", "to=", "--larger-than", "1MiB", "--smaller-than", "2MiB", "--off")
    shown = olga.run("lifecycle", "add", "album", "--expire-on", "2027-01-01", *words).stdout
    assert "deletes them on 2027-01-01" in shown
    assert "kind=draft, to=, larger than 1.0 MiB, smaller than 2.0 MiB" in shown
    (rule,) = _stored(olga)
    assert rule["Status"] == "Disabled"
    assert rule["Expiration"] == {"Date": 1_798_761_600}
    assert rule["Filter"]["And"]["Tags"] == [{"Key": "kind", "Value": "draft"}, {"Key": "to", "Value": ""}]
    assert (rule["Filter"]["And"]["ObjectSizeGreaterThan"], rule["Filter"]["And"]["ObjectSizeLessThan"]) == (
        2**20,
        2**21,
    )
    assert "removes lone delete markers" in olga.run("lifecycle", "add", "album", "--drop-markers").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "album"), 2, "must delete something"),
        (("add", "album", "--expire-days", "0"), 2, "--expire-days"),
        (("add", "album", "--expire-days", "1", "--expire-on", "2027-01-01"), 2, "only one of"),
        (("add", "album", "--expire-on", "tomorrow"), 2, "--expire-on"),
        (("add", "album", "--expire-days", "1", "--tag", "draft"), 2, "KEY=VALUE"),
        (("add", "album", "--expire-days", "1", "--larger-than", "big"), 2, "not a size"),
        (("add", "album", "--expire-days", "1", "--keep-newer", "3"), 2, "keep_newer needs noncurrent_days"),
        (("add", "No Bucket", "--expire-days", "1"), 2, "bucket"),
        (("remove", "album", "weekly"), 3, "no rule 'weekly'"),
    ],
)
def test_what_is_no_rule_is_refused(olga: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    """Nothing is stored."""
    assert said in olga.run("lifecycle", *words, code=code).stderr
    assert _stored(olga) == []
