"""A file server's settings: from options or LOCKSTEP_FILE_SERVER_… variables, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from file_server.defaults import (
    GRACE_SECONDS,
    INVENTORY_SECONDS,
    REDO_BYTES,
    SCRUB_PAUSE_FACTOR,
    SCRUB_ROUND_SECONDS,
)
from lockstep_store.runtime.log_output import DEFAULT_LOG, LogSettings

DEFAULT_PORT = 5060
DEFAULT_DIRECTORY = "https://127.0.0.1:5050"
DEFAULT_THREADS = 192
"""Enough for 64 parts of an upload through one proxy, for other proxies, and for as many copies."""

DEFAULT_RESERVE_BYTES = 64 * 1024 * 1024
DEFAULT_QUARANTINE_BYTES = 1 << 30
DEFAULT_QUARANTINE_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Settings:
    """Every setting of one file server."""

    id: str = "1"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    data: Path | None = None
    certs: Path = Path("certs")
    key_passphrase_file: Path | None = None
    directory: str = DEFAULT_DIRECTORY
    advertise: str | None = None
    zone: str = ""
    threads: int = DEFAULT_THREADS
    reserve_bytes: int = DEFAULT_RESERVE_BYTES
    grace_seconds: float = GRACE_SECONDS
    scrub_pause_factor: float = SCRUB_PAUSE_FACTOR
    scrub_round_seconds: float = SCRUB_ROUND_SECONDS
    quarantine_bytes: int = DEFAULT_QUARANTINE_BYTES
    quarantine_seconds: float = DEFAULT_QUARANTINE_SECONDS
    inventory_seconds: float = INVENTORY_SECONDS
    redo_bytes: int = REDO_BYTES
    log: LogSettings = DEFAULT_LOG

    @property
    def data_folder(self) -> Path:
        """Return the folder of the storage."""
        return self.data or Path(".cluster") / f"file_server-{self.id}"

    @property
    def url(self) -> str:
        """Return the URL at which other programs reach this one."""
        if self.advertise:
            return self.advertise.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"
