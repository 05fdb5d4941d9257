"""What a program loads before it serves: only what it needs, because a start is the pause that people notice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

LEFT_FOR_LATER = {
    "directory_server": ("flask", "requests", "botocore", "pika", "alembic.command", "awscrt"),
    "file_server": ("flask", "requests", "botocore", "sqlalchemy", "awscrt"),
    "client_proxy": ("requests", "botocore", "sqlalchemy", "_awscrt", "rich", "lockstep_store.client.menu"),
}
"""Libraries that are loaded when they are first used, or by another program only."""

COMMON = ("root", "command", "connection", "exit_codes", "names")
"""What every subcommand of `lockstep` needs."""


@pytest.mark.parametrize("program", LEFT_FOR_LATER)
def test_a_start_loads_only_what_it_needs(program: str) -> None:
    """A library that slips in is not noticed otherwise until starts are slow."""
    code = f"import sys, {program}.__main__, {program}.bootstrap; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & set(LEFT_FOR_LATER[program])


def test_a_command_loads_only_what_it_needs() -> None:
    """Scripts run it once for each file: a listing loads no other command, and no connection before it is asked for."""
    code = "import sys, lockstep_store.client.cli.files; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"rich", "flask", "granian", "botocore", "prometheus_client", "cryptography", "requests"}
    assert {one for one in loaded if one.startswith("lockstep_store.client.cli.")} <= {
        f"lockstep_store.client.cli.{name}" for name in (*COMMON, "files", "json_output")
    }


@pytest.mark.parametrize("program", LEFT_FOR_LATER)
def test_help_and_wrong_options_come_without_the_program(program: str) -> None:
    """The options alone are enough for them: neither the program nor a library that it stands on."""
    code = f"import sys, {program}.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"{program}.bootstrap" not in loaded
    assert not loaded & {"granian", "prometheus_client", "sqlalchemy", "cryptography", "flask", "limits"}
