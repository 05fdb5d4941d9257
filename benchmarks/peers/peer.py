"""The interface of a peer: it can be started and stopped, and has an S3 address and processes to account for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

REGION = "us-east-1"


class PeerUnavailable(Exception):
    """A peer cannot take part. The message is what its row in the table says."""


@dataclass(frozen=True)
class Endpoint:
    """A peer's S3 addresses and keys."""

    urls: list[str]
    """One for each of its doors; the cells use the first unless they compare doors."""
    ca_file: Path
    access_key: str
    secret_key: str
    api_key: str = ""
    """Only Lockstep has one, for its locks."""


class Peer(Protocol):
    """A store under measurement. `stop` may follow a failed start, and may be called twice."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def note(self) -> str:
        """The meaning of an acknowledged write, for the table."""

    def start(self) -> Endpoint:
        """Start all programs and wait until they answer. Raises PeerUnavailable."""

    def processes(self) -> dict[str, int]:
        """The process ids of all programs, by a name for each."""

    def stop(self) -> None: ...
