"""docs/python.md: its examples run as they stand, and it names the whole public interface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lockstep_store
from tests import ROOT
from tests.fakes.rest import RestServer
from tests.pages import blocks
from tests.unit.people import start_server

PAGE = ROOT / "docs" / "python.md"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.mark.timeout(120)
def test_the_examples_of_the_python_page_run(
    server: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block of docs/python.md runs, in order, in one program against a proxy."""
    monkeypatch.chdir(tmp_path)
    examples = [block for block in blocks(PAGE) if block.language == "python"]
    assert len(examples) > 8
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in examples:
        code = block.text.replace("https://127.0.0.1:5000", server.url).replace("certs/ca.pem", str(server.ca_file))
        # The empty lines make a traceback name the line of the page.
        exec(compile("\n" * (block.line - 1) + code, str(PAGE), "exec"), namespace)
    printed = capsys.readouterr().out
    assert printed.startswith("one\ntwo\n")
    assert "not_found no such file does not exist" in printed


def test_the_python_page_names_every_method_and_error() -> None:
    """Each public method of the client and each public error is on the page."""
    text = PAGE.read_text("utf-8")
    errors = [name for name in lockstep_store.__all__ if _is_error(getattr(lockstep_store, name))]
    methods = [name for name in dir(lockstep_store.Client) if not name.startswith("_")]
    internal = {"put_body", "put_chunks", "manifest", "list_page", "enrol", "url", "close", "upload_seconds"}
    assert len(methods) > 50
    missing = [name for name in [*errors, *methods] if name not in internal and not re.search(rf"\b{name}\b", text)]
    assert missing == []


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
