"""Commands about a bucket's policy: show, try, set, remove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.client.cli.command_shell import Shell

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::album/open/*"}
    ],
}


@pytest.fixture
def olga(shell: Shell) -> Shell:
    shell.login("olga")
    return shell


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "policy.json"
    found.write_text(json.dumps(POLICY), "utf-8")
    return found


def test_a_policy_is_set_shown_and_removed(olga: Shell, file: Path) -> None:
    """As the file has it."""
    assert "has no policy" in olga.run("policy", "show", "album").stdout
    olga.run("policy", "set", "album", file)
    assert json.loads(olga.server.core.settings["album", "policy"]) == POLICY
    assert json.loads(olga.run("policy", "show", "album").stdout) == POLICY
    assert olga.json("policy", "show", "album") == {"policy": POLICY}
    olga.run("policy", "remove", "album")
    assert ("album", "policy") not in olga.server.core.settings


def test_a_policy_is_tried_without_being_set(olga: Shell, file: Path) -> None:
    """Who could do what is shown as for the policy that is set."""
    olga.run("access", "grant", "album:open/", "ben", "read")
    text = olga.run("policy", "try", "album", file, "--path", "open/").stdout
    assert text.startswith("album:open/, not public\n")
    assert "ben" in text
    (asked,) = olga.server.core.previews
    assert (asked.bucket, asked.path, json.loads(asked.policy or "")) == ("album", "open/", POLICY)
    assert ("album", "policy") not in olga.server.core.settings


@pytest.mark.parametrize(("content", "said"), [("{", "not a policy document in JSON"), ("[]", "must be a JSON object")])
def test_what_is_no_policy_is_refused(olga: Shell, file: Path, content: str, said: str) -> None:
    """The policy before stays."""
    olga.run("policy", "set", "album", file)
    file.write_text(content, "utf-8")
    for command in ("set", "try"):
        assert said in olga.run("policy", command, "album", file, code=2).stderr
    olga.run("policy", "set", "album", file.parent / "missing", code=2)
    assert json.loads(olga.server.core.settings["album", "policy"]) == POLICY
