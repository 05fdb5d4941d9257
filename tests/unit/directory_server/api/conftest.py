"""A directory behind its API, with one authority for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.messages import s3 as s3
from tests.unit.directory_server.api.directory_calls import Directory


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return ensure_authority(tmp_path_factory.getbasetemp() / "certs")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("directory")


@pytest.fixture
def directory(folder: Path, authority: CertificateAuthority) -> Iterator[Directory]:
    directory = Directory(folder, authority)
    yield directory
    directory.server.stop()
