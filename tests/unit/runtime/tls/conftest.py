"""A cluster's authority, and the identities of two of its programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.runtime.tls.identity import (
    Identity,
    ensure_authority,
    ensure_identity,
)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "certs"
    ensure_authority(folder)
    return folder


@pytest.fixture(scope="module")
def server_identity(certs: Path) -> Identity:
    return ensure_identity(certs, "file_server", "1")


@pytest.fixture(scope="module")
def client_identity(certs: Path) -> Identity:
    return ensure_identity(certs, "client_proxy", "1")
