"""The directory's settings: from options or LOCKSTEP_DIRECTORY_… variables, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from directory_server.defaults import DAY_SECONDS, REPAIR_GRACE_SECONDS, TOKEN_SECONDS, Requirement
from lockstep_store.runtime.log_output import DEFAULT_LOG, LogSettings
from lockstep_store.runtime.options import DEFAULT_THREADS, is_loopback

DEFAULT_PORT = 5050
TICKET_SECONDS = 3600.0
_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True)
class Settings:
    """All settings of the directory server."""

    id: str = "1"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    data: Path = Path(".cluster") / "directory_server"
    metadata: str = field(default="", repr=False)
    certs: Path = Path("certs")
    key_passphrase_file: Path | None = None
    new_metadata: bool = False
    copies: int = 2
    admin_credentials: Path | None = None
    registration: Literal["auto", "open", "closed"] = "auto"
    require_second_factor: Requirement = "nobody"
    private_buckets: bool = False
    advertise: str | None = None
    token_seconds: float = TOKEN_SECONDS
    ticket_seconds: float = TICKET_SECONDS
    heartbeat_seconds: float = 1.0
    suspect_seconds: float = 3.0
    down_seconds: float = 10.0
    repair_grace_seconds: float = REPAIR_GRACE_SECONDS
    lifecycle_day_seconds: float = DAY_SECONDS
    threads: int = DEFAULT_THREADS
    log: LogSettings = DEFAULT_LOG

    @property
    def metadata_file(self) -> Path:
        """The file of the metadata database, unless that is in PostgreSQL."""
        return self.data / "metadata.db"

    @property
    def folder(self) -> Path | None:
        """The folder with the metadata; None if they are in PostgreSQL."""
        return None if self.metadata else self.data

    @property
    def credentials_file(self) -> Path:
        """The file with the first administrator's credentials."""
        return self.admin_credentials or self.data.parent / "admin-credentials.json"

    def registration_open(self, remote: bool) -> bool:
        """Whether a log-in with a new name makes an account; `remote`: its proxy listens beyond its own machine."""
        if self.registration == "auto":
            return is_loopback(self.host) and not remote
        return self.registration == "open"

    @property
    def registration_warning(self) -> str:
        """Why nobody can register although nothing was said about it; empty otherwise."""
        if self.registration != "auto" or is_loopback(self.host):
            return ""
        return (
            f"registration is closed, because {self.host} can be reached from other machines: create accounts with "
            "`lockstep users create`, or start with --registration open"
        )

    @property
    def hosts(self) -> list[str]:
        """The names and addresses that the certificate is for."""
        return [host for host in (self.host, urlsplit(self.url).hostname) if host and host not in _ANY_HOST]

    @property
    def url(self) -> str:
        """The address at which other programs reach this one."""
        if self.advertise:
            return self.advertise.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def program_version() -> str:
    """Return the installed version of Lockstep."""
    try:
        return version("lockstep-store")
    except PackageNotFoundError:
        return "unknown"
