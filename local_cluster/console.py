"""The web console's page: where its build goes, and the start of a build in the background.

The page belongs to the checkout, not to a cluster: every cluster of the checkout serves the same one. It is outside the
sources, and outside every data folder, so that neither a build nor a reset touches the other's files.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

STATE_FILE = "build.json"
BUILT_FROM = "built-from"
LOG_FILE = "build.log"
_NOT_SOURCES = frozenset({"node_modules", "dist", "openapi.json", "schema.d.ts"})


def console_folder(root: Path) -> Path | None:
    """The folder of the page of checkout `root`; None where there are no sources of it."""
    if not (root / "console" / "package-lock.json").is_file():
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return cache.absolute() / "lockstep" / "console" / place


def source_digest(source: Path) -> str:
    """The digest of the page's sources, in hex: another one needs another build."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(set(folders) - _NOT_SOURCES)
        for name in sorted(set(files) - _NOT_SOURCES):
            path = Path(folder) / name
            content = path.read_bytes()
            digest.update(f"{path.relative_to(source)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def is_built(root: Path, folder: Path) -> bool:
    """Whether the page in `folder` was built from the sources as they are."""
    try:
        return (folder / BUILT_FROM).read_text() == source_digest(root / "console")
    except OSError:
        return False


def build_in_background(root: Path, folder: Path) -> str:
    """Start a build unless the page is up to date. Returns a sentence for the person who starts the cluster.

    The build goes on when the cluster stops, and of two builds at once one waits and finds everything done.
    """
    if is_built(root, folder):
        return ""
    command = [sys.executable, "-P", "-m", "local_cluster.console_build", str(root), str(folder)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        return f"the build could not start: {(ended.stderr.strip() or 'no message').splitlines()[-1]}"
    return "being built, which takes about a minute"


def write_state(folder: Path, state: str, detail: str) -> None:
    """Tell the proxies, and through them people, how far the build is."""
    part = folder / f"{STATE_FILE}.part"
    part.write_text(json.dumps({"state": state, "detail": detail}))
    part.replace(folder / STATE_FILE)
