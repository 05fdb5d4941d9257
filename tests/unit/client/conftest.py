"""One proxy for each test, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockstep_store.client.client import Client
from tests.fakes.rest import RestServer
from tests.unit.people import client, start_server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.fixture
def api(server: RestServer) -> Iterator[Client]:
    api = client(server)
    yield api
    api.close()
