"""Stores of every metadata engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata.store import MetadataStore
from tests.contract.store_rows import ENGINES, address_file


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each engine's name, with what it needs in the test's folder."""
    with ExitStack() as needed:
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            address_file(tmp_path).write_text(needed.enter_context(server.database()))
        yield request.param


@pytest.fixture
def open_store(engine: str, tmp_path: Path) -> Iterator[Callable[..., MetadataStore]]:
    """Opens a store in one folder, also again after a close."""
    opened: list[MetadataStore] = []

    def open_one(**options: Any) -> MetadataStore:
        opened.append(ENGINES[engine](tmp_path, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., MetadataStore]) -> MetadataStore:
    return open_store()
