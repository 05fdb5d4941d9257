"""A folder for one local cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.plan import Folder
from local_cluster.processes import spawn


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    data = tmp_path / "data"
    data.mkdir()
    return Folder(data, data / "certs")


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "child.log")
    yield process
    process.kill()
    process.wait()
