"""One cluster for all tests of a file, and a shell of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.rest import RestServer
from tests.unit.client.cli.command_shell import Shell
from tests.unit.people import start_server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.fixture
def new_shell(server: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shell]:
    monkeypatch.chdir(tmp_path)
    return lambda name: Shell(server, tmp_path / name)


@pytest.fixture
def shell(new_shell: Callable[[str], Shell]) -> Shell:
    shell = new_shell("ann")
    shell.login()
    return shell
