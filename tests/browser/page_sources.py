"""The console's sources with the libraries that its lock file names. The checkout stays as it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_cluster.console_build import machine_node
from tests import ROOT

SECONDS = 300


def npm(folder: Path, *words: str) -> str:
    """What npm prints; its last lines are the failure's message."""
    env = {**os.environ, "npm_config_update_notifier": "false", "NO_COLOR": "1"}
    done = subprocess.run(("npm", *words), cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def libraries() -> Path:
    """The page's libraries and its tests' tools, installed once beside the environment's own."""
    if machine_node() is None:
        pytest.skip("Node 20.19 or newer with npm is not installed")
    folder = Path(sys.prefix) / "console"
    folder.mkdir(exist_ok=True)
    wanted, installed = (ROOT / "console" / "package-lock.json").read_bytes(), folder / "installed.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # both rings use them at the same time
        if not installed.exists() or installed.read_bytes() != wanted:
            installed.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(ROOT / "console" / name, folder)
            npm(folder, "ci", "--no-audit", "--no-fund", "--loglevel=error")
            installed.write_bytes(wanted)
    return folder / "node_modules"


def sources(folder: Path) -> Path:
    """A copy of the sources in `folder`, with their libraries."""
    copied, found = folder / "console", libraries()
    ignored = shutil.ignore_patterns("node_modules", "dist", "openapi.json", "schema.d.ts")
    shutil.copytree(ROOT / "console", copied, ignore=ignored)
    (copied / "node_modules").symlink_to(found)
    return copied
