"""The menu of a whole cluster, and a folder for local copies."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.client.credentials import CONFIG_VARIABLE
from lockstep_store.client.menu import run_menu
from tests.unit.client.menu.menu_person import Menu
from tests.unit.client.real_people import RealPeople, real_people


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "configuration"))
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def people(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    """A whole cluster with real accounts."""
    with real_people(tmp_path, tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    return tmp_path / "local_storage"


@pytest.fixture
def menu(people: RealPeople, tmp_path: Path) -> Menu:
    def menu(*lines: str, code: int = 0) -> str:
        """What the menu says to somebody who types these lines, the first of them to log in."""
        reading, writing = os.pipe()
        os.write(writing, "".join(f"{line}\n" for line in lines).encode())
        os.close(writing)
        output = io.StringIO()
        with os.fdopen(reading) as source:
            ended = run_menu(people.server.url, people.server.ca_file, tmp_path / "local", source, output)
        assert ended == code, output.getvalue()
        return output.getvalue()

    return menu
