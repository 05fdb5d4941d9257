"""A shell of its own for each person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.rest import RestServer
from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def new_shell(server: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shell]:
    monkeypatch.chdir(tmp_path)
    return lambda name: Shell(server, tmp_path / name)


@pytest.fixture
def shell(new_shell: Callable[[str], Shell]) -> Shell:
    shell = new_shell("ann")
    shell.login()
    return shell
