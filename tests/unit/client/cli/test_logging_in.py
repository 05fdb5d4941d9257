"""Logging in, profiles, S3 keys and API keys."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.fakes.rest import RestServer
from tests.unit.client.cli.command_shell import Shell
from tests.unit.people import start_server


def test_log_in_is_remembered_for_its_owner_only(new_shell: Callable[[str], Shell]) -> None:
    """The token lies in a file of mode 0600 and is used by the next command; logging out ends it."""
    shell = new_shell("ann")
    result = shell.run("login", "ann", input="secret\n")
    assert "new account created" in result.stdout
    file = shell.config / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    assert "ann at" in shell.run("whoami").stdout
    token = next(iter(shell.server.core.tokens))
    shell.run("logout")
    assert token not in shell.server.core.tokens
    assert token not in file.read_text()
    assert "run `lockstep login` first" in shell.run("whoami", code=4).stderr
    assert "does not match" in shell.run("login", "ann", input="wrong\n", code=4).stderr
    assert "new account" not in shell.run("login", input="ann\nsecret\n").stdout


def test_a_token_is_not_shown_to_another_cluster(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same token goes to a proxy of the same authority, and never to one of another."""
    from tests.fakes.rest import make_identity

    stranger = RestServer(make_identity(tmp_path_factory.mktemp("stranger")))
    try:
        stranger.core.tokens |= shell.server.core.tokens
        shell.run("ls", "--url", stranger.url, "--ca", stranger.ca_file, code=4)
    finally:
        stranger.close()
    sibling = start_server(tmp_path_factory)
    try:
        sibling.core.tokens |= shell.server.core.tokens
        shell.run("ls", "--url", sibling.url)
    finally:
        sibling.close()


def test_profiles_live_side_by_side(shell: Shell) -> None:
    """A second log-in under another profile leaves the first alone."""
    shell.run("login", "bob", "--profile", "work", input="secret\n")
    assert "ann" in shell.run("whoami").stdout
    assert "bob" in shell.run("whoami", "--profile", "work").stdout


def test_a_running_cluster_is_found_and_its_administrator_logs_in_from_the_file(shell: Shell, tmp_path: Path) -> None:
    """Without --url and --ca, cluster.json says where to go; --credentials reads the file beside it."""
    shell.environment |= {"LOCKSTEP_URL": None, "LOCKSTEP_CA": None}
    shell.environment["LOCKSTEP_CLUSTER_FILE"] = str(tmp_path / "cluster.json")
    shell.environment["LOCKSTEP_CONFIG_DIR"] = str(tmp_path / "fresh")
    shell.run("ls", code=8)
    (tmp_path / "cluster.json").write_text(
        json.dumps(
            {
                "ca_file": str(shell.server.ca_file),
                "admin_credentials_file": "admin.json",
                "programs": [{"program": "client_proxy", "id": "1", "url": shell.server.url}],
            }
        )
    )
    (tmp_path / "admin.json").write_text(json.dumps({"username": ADMIN, "password": ADMIN_PASSWORD, "api_key": ""}))
    assert "administrator" in shell.run("login", "--credentials", tmp_path / "admin.json").stdout
    (tmp_path / "cluster.json").unlink()
    shell.run("ls")


def test_s3_keys_are_made_listed_rotated_and_revoked(shell: Shell) -> None:
    """The secret is shown once; a rotated key is another one under the same name."""
    made = shell.run("keys", "create", "laptop", "--s3")
    assert "aws_access_key_id = LS" in made.stdout
    assert "aws_secret_access_key = secret of LS" in made.stdout
    first = shell.json("keys", "list")["s3_keys"][0]
    assert "secret of" not in shell.run("keys", "list").output
    rotated = shell.json("keys", "rotate", "laptop")
    assert rotated["access_key_id"] != first["access_key_id"]
    assert "aws_session_token = session" in shell.run("keys", "create", "job", "--s3", "--valid", "600").stdout
    shell.run("keys", "revoke", "laptop")
    assert [key["name"] for key in shell.json("keys", "list")["s3_keys"]] == ["job"]
    shell.run("keys", "create", "x", "--valid", "600", code=2)


def test_api_keys_stand_in_for_a_log_in(shell: Shell) -> None:
    """A key is printed once, works from LOCKSTEP_API_KEY, and stops working when it is revoked."""
    secret = shell.run("keys", "create", "script").stdout.strip()
    assert secret.startswith("lsk_")
    assert secret not in shell.run("keys", "list").output
    shell.run("logout")
    shell.environment["LOCKSTEP_API_KEY"] = secret
    shell.run("ls")
    assert shell.json("keys", "list")["keys"][0]["name"] == "script"
    shell.run("keys", "revoke", "script")
    shell.run("ls", code=4)


def test_a_damaged_credentials_file_is_said(shell: Shell) -> None:
    """A file that cannot be read as JSON ends in one sentence that says what to do."""
    (shell.config / "credentials.json").write_text("{")
    assert "log in again" in shell.run("ls", code=8).stderr
