"""The release before this one, from the project's history."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness

PREVIOUS = "894185415a5346639d80856d30ac65a29c28b867"
"""Its commit. With each release this becomes the one before."""
CONTENT = (
    "client_proxy",
    "directory_server",
    "file_server",
    "local_cluster",
    "lockstep_store",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
ORDER = (
    ("directory_server", 1),
    *(("file_server", id) for id in (1, 2, 3)),
    *(("client_proxy", id) for id in (1, 2)),
)
"""In which docs/changing-a-cluster.md replaces the programs of three file servers and two proxies."""


def previous_release(folder: Path, *, installed: bool) -> dict[str, str]:
    """Unpack the release, and return the variables with which programs are of it.

    `installed`: in an environment of its own, with its own libraries, which takes a minute and the package index;
    otherwise it runs with the libraries of this release. Skips the test in a checkout without the history.
    """
    archive = subprocess.run(["git", "archive", PREVIOUS, *CONTENT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this checkout has no commit {PREVIOUS[:8]}, the release before this one")
    source, environment = folder / "source", folder / "environment"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(source, filter="data")
    if not installed:
        return {"PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=240)
    install = [environment / "bin" / "pip", "install", "--quiet", source]
    subprocess.run(install, check=True, timeout=600)
    (packages,) = environment.glob("lib/python*/site-packages")
    return {"PYTHONPATH": str(packages)}


def use_this_release(cluster: ClusterHarness) -> None:
    """What starts from now on is of this release; what runs stays as it is."""
    del cluster.env["PYTHONPATH"]
