"""Commands about the cluster: status, certificates, joining, serving, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockstep_store.client.cli import main
from lockstep_store.client.cli.programs import PROGRAMS
from lockstep_store.client.text.cluster import rate_limit_lines
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.join_token import JoinToken
from lockstep_store.wire.messages.cluster import EnrolReply, EnrolRequest
from tests import ROOT
from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.unit.client.cli.command_shell import Shell


def test_status_shows_the_cluster_or_at_least_the_proxy(shell: Shell) -> None:
    """With a log-in all servers are shown, without one the proxy's health and what to do."""
    text = shell.run("status").stdout
    assert "1 of 1 file server up" in text
    assert "every file has its copies" in text
    assert text.splitlines()[1] == "healthy"
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    data = shell.json("status")
    assert (data["state"], data["problems"], data["cluster"]["copies"]) == ("healthy", [], 1)
    shell.run("logout")
    assert "log in" in shell.run("status").stdout


def test_status_names_every_problem_in_full_and_exits_with_the_worst(shell: Shell) -> None:
    """One line for each, with what to do, however long; 1 when the cluster is degraded, 2 when data is at risk."""
    server = shell.server.core.servers[0]
    server.problem = "the disk is full: " + "no space left on device, " * 8 + "the end"
    result = shell.run("status", code=1)
    line = next(line for line in result.stdout.splitlines() if "file server 1" in line)
    assert server.problem in line
    assert "To do: free space" in line
    assert "DEGRADED: 2 problems" in result.stdout, "and no file server is left for new files"
    assert server.problem in shell.run("servers").stdout
    shell.server.core.repair.under_copied = 3
    result = shell.run("status", code=2)
    assert "DATA AT RISK: 3 problems" in result.stdout
    assert "3 blobs have fewer than the 1 promised" in result.stdout.splitlines()[2], "the worst comes first"
    found = shell.run("status", "--json", code=2)
    data = json.loads(found.stdout)
    assert data["state"] == "at_risk"
    assert [(one["level"], one["subject"]) for one in data["problems"]] == [
        ("at_risk", "3 blobs"),
        ("degraded", "file server 1"),
        ("degraded", "writes"),
    ]
    assert set(data["problems"][0]) == {"level", "subject", "problem", "advice"}


def test_status_waits_until_the_cluster_is_healthy(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells what it waits for, also for a scan that may find more; with --timeout it ends with how it is then."""
    monkeypatch.setattr("lockstep_store.client.cli.status.LOOK_AGAIN_SECONDS", 0.01)
    core = shell.server.core
    core.repair.under_copied = 2
    assert "2 blobs" in shell.run("status", "--wait", "healthy", "--timeout", "0", code=2).stdout

    def step() -> None:
        if core.repair.under_copied:
            core.repair.under_copied -= 1
            core.repair.walking = not core.repair.under_copied
        else:
            core.repair.walking = False

    monkeypatch.setattr(core, "step", step)
    result = shell.run("status", "--wait", "healthy")
    assert "waiting: 1 blob has fewer" in result.stderr
    assert "waiting: the metadata is being scanned" in result.stderr
    assert "every file has its copies" in result.stdout
    shell.run("status", "--timeout", "1", code=2)
    shell.server.close()
    shell.run("status", code=7)
    shell.run("status", "--wait", "healthy", "--timeout", "0", code=7)


def test_status_shows_the_rate_limits_of_the_proxy() -> None:
    """The rules, how often they refused, and a shared storage that does not answer; nothing without a rule."""
    facts = {"rate_limits": ["login=100/minute/address", "write=5/second/key"], "rate_limited": 3}
    lines = ["rate limits login=100/minute/address, write=5/second/key; 3 requests refused"]
    assert rate_limit_lines(facts) == lines
    assert rate_limit_lines({**facts, "rate_limits_problem": "no answer"}) == [*lines, "no answer"]
    assert rate_limit_lines({"rate_limits": []}) == rate_limit_lines({}) == []


def test_certs_are_shown_checked_and_renewed(shell: Shell, tmp_path: Path) -> None:
    """`show` reads files, `check` makes a verified handshake with each program, `renew` extends what is here."""
    certs = shell.server.ca_file.parent
    assert "client_proxy 1" in shell.run("certs", "show", "--certs", certs).stdout
    (tmp_path / "cluster.json").write_text(
        json.dumps(
            {
                "ca_file": str(certs / "ca.pem"),
                "admin_credentials_file": "",
                "programs": [{"program": "client_proxy", "id": "1", "url": shell.server.url}],
            }
        )
    )
    shell.environment["LOCKSTEP_CLUSTER_FILE"] = str(tmp_path / "cluster.json")
    elsewhere, shell.server.core.servers = shell.server.core.servers, []
    text = shell.run("certs", "check").stdout
    assert "TLSv1.3" in text
    assert "days left" in text
    assert "CN=client_proxy-1" in text
    before = (certs / "client_proxy-1" / "cert.pem").read_bytes()
    assert shell.json("certs", "renew")["renewed"][0]["name"] == "client_proxy 1"
    assert (certs / "client_proxy-1" / "cert.pem").read_bytes() != before
    shell.server.core.servers = elsewhere
    assert "file_server 1 127.0.0.1:5060" in shell.run("certs", "check", code=7).stdout
    shell.server.close()
    result = shell.run("certs", "check", code=7)
    assert "FAILED" in result.stdout
    assert "refused the connection" in result.stdout


def test_another_machine_joins_with_a_token(shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path) -> None:
    """invite prints a token; join checks the proxy by the CA inside it and files a certificate that fits its key."""
    core, certs = shell.server.core, shell.server.ca_file.parent
    authority = CertificateAuthority.load(certs)

    def enrol(request: EnrolRequest) -> EnrolReply:
        return EnrolReply(
            ca_pem=authority.ca_pem,
            cert_pem=authority.sign_request(request.csr_pem, request.role, request.id, ["127.0.0.1"]),
            peer_token=authority.peer_token(request.role, request.id),
            storage_keys_json=(certs / "storage-keys.json").read_text(),
            directory_url="https://127.0.0.1:5050",
        )

    core.enrol_reply = enrol
    shell.run("invite", code=4)
    admin = new_shell("admin")
    admin.login(ADMIN, ADMIN_PASSWORD)
    result = admin.run("invite", "--valid", "600", "--id", "9", "--host", "127.0.0.1")
    token = result.stdout.strip()
    assert JoinToken.decode(token).url == shell.server.url
    assert "this machine only" in result.stderr
    machine = new_shell("machine")
    machine.run("join", token, "--id", "10", "--certs", tmp_path / "theirs", code=2)
    joined = machine.json("join", token, "--certs", tmp_path / "theirs")
    assert (joined["role"], joined["id"], joined["hosts"]) == ("file_server", "9", ["127.0.0.1"])
    assert "https://127.0.0.1:5050" in joined["command"]
    assert joined["command"][:3] == ["lockstep", "serve", "file-server"], "the one spelling of a start"
    assert (tmp_path / "theirs" / "file_server-9" / "key.pem").stat().st_mode & 0o077 == 0
    core.enrol_reply = None
    machine.run("join", token, "--certs", tmp_path / "theirs", code=4)
    admin.run("invite", "--role", "proxy", code=2)
    machine.run("join", token[:-5], code=8)


def test_serve_starts_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """serve replaces itself by the program, with every option passed on."""
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    for word, module in PROGRAMS.items():
        CliRunner().invoke(main, ["serve", word, "--port", "1", "--help"])
        assert started.pop()[1:] == ["-P", "-m", module, "--port", "1", "--help"]
    CliRunner().invoke(main, ["cluster", "--detach", "--help"])
    assert started.pop()[1:] == ["-P", "-m", "local_cluster", "--detach", "--help"]
    assert CliRunner().invoke(main, ["serve", "nothing"]).exit_code == 2


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell_name: str) -> None:
    """Each script completes the command `lockstep`."""
    if shell_name == "bash" and os.name != "posix":
        pytest.skip("bash is for POSIX")
    result = CliRunner().invoke(main, ["completion", shell_name])
    assert result.exit_code == 0
    assert "lockstep" in result.stdout


def test_remote_names_are_completed(shell: Shell) -> None:
    """A shell that asks gets files and folders that begin like what was typed."""
    for path in ("notes.txt", "notes/deep/x", "other"):
        shell.server.core.save(path, b"")
    shell.environment |= {
        "_LOCKSTEP_COMPLETE": "bash_complete",
        "COMP_WORDS": "lockstep cat no",
        "COMP_CWORD": "2",
    }
    result = CliRunner().invoke(main, [], env=shell.environment, prog_name="lockstep")
    assert [line.partition(",")[2] for line in result.stdout.split()] == ["notes/", "notes.txt"]


def test_the_command_starts_as_a_module() -> None:
    """`python -m lockstep_store.client.cli` is the same command."""
    result = subprocess.run(
        [sys.executable, "-m", "lockstep_store.client.cli", "--version"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert result.stdout.startswith("lockstep, version")
