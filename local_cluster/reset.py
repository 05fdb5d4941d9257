"""Removes a cluster's data and certificates, and nothing else.

It removes only names that Lockstep creates, and only in a folder with its settings, so a `--data` with the path of
another project does no harm. Links are removed, never followed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from local_cluster.failures import UnsuitableFolder
from local_cluster.plan import Folder

_DATA = re.compile(r"directory_server(-\d+)?|(file_server|client_proxy)-\d+")
_CERTS = re.compile(r"authority|(directory_server|file_server|client_proxy)-\w[\w-]*")
_CERT_FILES = re.compile(r"ca\.pem|ca-links\.pem|revoked\.pem|storage-keys\.json|\.[\w.-]+\.lock")
_FILES = ("cluster.json", "admin-credentials.json", "settings.json")
_LOG = re.compile(r"((directory_server|file_server|client_proxy)-\w+|run_cluster)\.log(\.\d+)?")


def check_folder(folder: Folder) -> None:
    """Raise UnsuitableFolder when the data folder contains our names but not our settings."""
    if folder.settings_file.exists():
        return
    if folder.data.exists() and not folder.data.is_dir():
        raise UnsuitableFolder(f"{folder.data} is not a folder: choose one with --data")
    entries = list(folder.data.iterdir()) if folder.data.exists() else []
    foreign = [
        entry.name for entry in entries if _DATA.fullmatch(entry.name) and (not entry.is_dir() or any(entry.iterdir()))
    ]
    if foreign:
        raise UnsuitableFolder(
            f"{folder.data} contains {', '.join(sorted(foreign))}, but no settings.json of a Lockstep cluster: "
            "choose an empty folder with --data"
        )


def what_would_go(folder: Folder) -> list[Path]:
    """Return the files and folders that a reset removes, in that order; settings.json is last."""
    if not folder.settings_file.exists():
        return []
    data = _matching(folder.data, _DATA)
    certs = _matching(folder.certs_dir, _CERTS) + _matching(folder.certs_dir, _CERT_FILES)
    logs = _matching(folder.log_dir, _LOG)
    runs = _matching(folder.run_dir, re.compile(r".*\.json"))
    files = [folder.data / name for name in _FILES if (folder.data / name).exists()]
    return [*data, *certs, *logs, *runs, *files]


def _matching(parent: Path, pattern: re.Pattern[str]) -> list[Path]:
    entries = parent.iterdir() if parent.is_dir() else iter(())
    return sorted(entry for entry in entries if pattern.fullmatch(entry.name))


def remove(folder: Folder) -> None:
    """Remove the cluster. Safe to repeat after an interruption."""
    for path in what_would_go(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for parent in (folder.log_dir, folder.run_dir, folder.certs_dir):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
