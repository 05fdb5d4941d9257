"""What the tests of the people's programs share: a proxy over HTTPS, and clients of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.client import Client
from lockstep_store.runtime.tls.identity import Identity
from tests.fakes.rest import RestServer, make_identity

_made: dict[Path, Identity] = {}


def start_server(tmp_path_factory: pytest.TempPathFactory) -> RestServer:
    """A proxy on a free port; certificates are made once a session, since keys take time."""
    base = tmp_path_factory.getbasetemp()
    if base not in _made:
        _made[base] = make_identity(tmp_path_factory.mktemp("authority"))
    return RestServer(_made[base])


def client(server: RestServer, name: str = "ann", password: str = "secret") -> Client:
    """A logged-in client that does not wait between its attempts."""
    api = Client(ApiTransport(server.url, server.ca_file, sleep=lambda seconds: None))
    api.login(name, password)
    return api


def noise(seed: int, size: int) -> bytes:
    """Bytes that have no structure, the same for the same seed."""
    return random.Random(seed).randbytes(size)
