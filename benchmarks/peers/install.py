"""Installs a peer's package into a folder that is deleted after the run, never into a lasting environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.peer import PeerUnavailable
from benchmarks.peers.programs import last_line

PATIENCE_SECONDS = 600


def install(requirement: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Install one package without its dependencies. Returns the folder with its commands. Raises PeerUnavailable."""
    say(f"installing {requirement} into a folder for this run alone …")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"{requirement} was not installed within {PATIENCE_SECONDS} s") from error
    if done.returncode:
        raise PeerUnavailable(f"{requirement} cannot be installed: {last_line(done.stderr)}")
    return folder / "bin"
