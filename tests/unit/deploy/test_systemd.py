"""The systemd units are valid, closed, and set only what the programs know."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
PROGRAMS = {"directory": "directory_server", "file-server": "file_server", "proxy": "client_proxy"}

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_valid_and_exposed_to_little(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze` has no complaint, and its exposure level is below 3 of 10."""
    copy = tmp_path / unit.name  # verify insists that the program is there
    copy.write_text(unit.read_text().replace("/opt/lockstep/bin/lockstep", sys.executable))
    verified = _analyze("verify", "--man=no", str(copy))
    complaints = [line for line in verified.stderr.splitlines() if copy.stem.rstrip("@") in line]
    assert complaints == []
    rated = _analyze("security", "--offline=true", str(unit))
    level = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
    assert level is not None, rated.stdout + rated.stderr
    assert float(level[1]) < 3


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_sets_what_its_program_knows(unit: Path) -> None:
    """Each variable is one of the program's own settings, and the command is the one spelling of a start."""
    text = unit.read_text()
    command = re.search(r"^ExecStart=/opt/lockstep/bin/lockstep serve (\S+)$", text, re.MULTILINE)
    assert command is not None
    shown = subprocess.run(
        [sys.executable, "-P", "-m", PROGRAMS[command[1]], "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    ).stdout
    variables = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    assert len(variables) >= 2
    assert [name for name in variables if name not in shown.replace("\n", " ")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to another user")
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    """As installed by the documented commands: the user has no log-in, and nobody else enters its data."""
    for tool, folder in (("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")):
        installed = tmp_path / "usr" / "lib" / folder / "lockstep.conf"
        installed.parent.mkdir(parents=True)
        installed.write_text((ROOT / "deploy" / "systemd" / f"lockstep.{tool}.conf").read_text())
    (tmp_path / "etc").mkdir()
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        ended = subprocess.run(
            [*command, f"--root={tmp_path}"], capture_output=True, text=True, check=False, timeout=240
        )
        assert ended.returncode == 0, ended.stderr
    (entry,) = (line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith("lockstep:"))
    user = entry.split(":")
    assert user[5:] == ["/var/lib/lockstep", "/usr/sbin/nologin"]
    data = (tmp_path / "var" / "lib" / "lockstep").stat()
    assert (stat.S_IMODE(data.st_mode), data.st_uid) == (0o700, int(user[2]))
    settings = (tmp_path / "etc" / "lockstep").stat()
    assert (stat.S_IMODE(settings.st_mode), settings.st_gid) == (0o750, int(user[3]))
