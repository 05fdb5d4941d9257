"""Stores of every metadata engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata.store import MetadataStore
from tests.contract.store_rows import ENGINES


@pytest.fixture(params=ENGINES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., MetadataStore]]:
    """Opens a store in one folder, also again after a close."""
    opened: list[MetadataStore] = []

    def open_one(**options: Any) -> MetadataStore:
        opened.append(ENGINES[request.param](tmp_path, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., MetadataStore]) -> MetadataStore:
    return open_store()
