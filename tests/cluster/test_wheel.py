"""The wheel, installed into an empty environment, is all that a machine needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster

PACKAGES = ("lockstep_store", "directory_server", "file_server", "client_proxy", "local_cluster")


@pytest.mark.soak
def test_a_wheel_in_an_empty_environment_runs_a_cluster(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """It has every file of the packages and no test; its commands start, use and stop a cluster in any folder."""
    builder = _environment(tmp_path / "builder")
    _run([builder / "pip", "install", "--quiet", "build"], tmp_path)
    source = tmp_path / "source"
    listed = _run(["git", "ls-files", *PACKAGES, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"], ROOT)
    for name in listed.split():  # a build leaves files beside its source
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    _run([builder / "python", "-m", "build", "--wheel", "--outdir", tmp_path, source], tmp_path)
    (wheel,) = tmp_path.glob("lockstep_store-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in listed.split() if name.split("/")[0] in PACKAGES} <= inside
    assert {name.split("/")[0] for name in inside if not name.startswith("lockstep_store-")} == set(PACKAGES)

    empty = _environment(tmp_path / "empty")
    _run([empty / "pip", "install", "--quiet", wheel], tmp_path)
    cluster = make_cluster(file_servers=2, proxies=1, copies=2, start_now=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lockstep = empty / "lockstep"
    started = _run([lockstep, "cluster", *cluster.arguments, "--detach"], elsewhere)
    assert f"{lockstep} cluster --data" in started
    _use(cluster, lockstep, elsewhere)
    shown = _run([lockstep, "cluster", "--data", cluster.data, "--status"], elsewhere)
    assert shown.count("healthy") == 4
    _run([lockstep, "cluster", "--data", cluster.data, "--stop"], elsewhere)


def _environment(folder: Path) -> Path:
    """Create a virtual environment with nothing in it, and return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=240)
    return folder / "bin"


def _use(cluster: ClusterHarness, lockstep: Path, folder: Path) -> None:
    (folder / "hello.txt").write_text("hello from a wheel\n")
    reach = ["--url", f"https://127.0.0.1:{cluster.ports.base}", "--ca", str(cluster.ca_file)]
    key = {"LOCKSTEP_API_KEY": cluster.admin_key}
    _run([lockstep, *reach, "put", "hello.txt"], folder, key)
    assert _run([lockstep, *reach, "cat", "hello.txt"], folder, key) == "hello from a wheel\n"
    assert "healthy" in _run([lockstep, *reach, "status"], folder, key)


def _run(command: list[str | Path], folder: Path, variables: dict[str, str] | None = None) -> str:
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "LOCKSTEP_CLUSTER_RESTART")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | (variables or {})
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
