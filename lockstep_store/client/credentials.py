"""What the command line stores between commands: log-ins by profile, and locks.

One JSON file, `credentials.json`, readable by its owner only, in `$LOCKSTEP_CONFIG_DIR`, else
`$XDG_CONFIG_HOME/lockstep`, else `~/.config/lockstep`. A token is only ever sent to the proxy that gave it, or to
another proxy of the same certificate authority.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from lockstep_store.client.local_storage import LocalFileError, local_problem
from lockstep_store.wire.authority_ids import ids_in

CONFIG_VARIABLE = "LOCKSTEP_CONFIG_DIR"
DEFAULT_PROFILE = "default"


class HeldLock(msgspec.Struct, omit_defaults=True):
    """A lock that `lockstep lock` took and left to later commands. `until_at`: wall clock, for people."""

    id: str
    number: int
    bucket: str
    path: str
    until_at: float = 0.0


class Profile(msgspec.Struct, omit_defaults=True):
    """One log-in. `authority` has the ids of the certificate authorities that it was made under, separated by spaces;
    it is empty for the system's."""

    url: str = ""
    ca_file: str = ""
    authority: str = ""
    account: str = ""
    token: str = ""
    expires_at: float = 0.0
    locks: list[HeldLock] = []

    def __repr__(self) -> str:
        return f"Profile({self.account!r} at {self.url!r})"

    def token_for(self, url: str, authority: str) -> str:
        """Return the token if it may be sent to `url`, otherwise an empty string."""
        known = set(self.authority.split())
        trusted = bool(known.intersection(authority.split())) if authority else url == self.url
        return self.token if trusted else ""


class _File(msgspec.Struct):
    profiles: dict[str, Profile] = {}


def config_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the file. Creates nothing."""
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    return own_folder(environment, "XDG_CONFIG_HOME", ".config")


def own_folder(environment: Mapping[str, str], variable: str, default: str) -> Path:
    """Lockstep's folder where `variable` says, else in `default` in the home folder. Creates nothing."""
    base = environment.get(variable)
    return (Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / default) / "lockstep"


def authority_of(ca_file: Path | None) -> str:
    """The ids of the authorities in a CA file, separated by spaces; empty for the system's authorities.

    While an authority is rotated, the file has two, so a log-in lasts as long as one of them stays.
    """
    if ca_file is None:
        return ""
    try:
        content = ca_file.read_bytes()
    except OSError as error:
        raise local_problem("read the CA file", ca_file, error) from error
    return " ".join(ids_in(content.decode("latin-1"))) or sha256(content).hexdigest()


class CredentialStore:
    """Profiles on disk. Changes are atomic, and concurrent commands do not undo each other's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "credentials.json"

    def profile(self, name: str) -> Profile:
        """The profile of that name; an empty one if there is none."""
        return self._read().profiles.get(name) or Profile()

    @contextlib.contextmanager
    def change(self, name: str) -> Iterator[Profile]:
        """Yield the profile to change in place; it is stored when the block ends without an error."""
        with self._alone():
            content = self._read()
            profile = content.profiles.setdefault(name, Profile())
            yield profile
            self._write(content)

    def forget(self, name: str) -> None:
        """Remove a profile, if there is one."""
        with self._alone():
            content = self._read()
            if content.profiles.pop(name, None) is not None:
                self._write(content)

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except OSError as error:
            raise local_problem("read", self.file, error) from error
        except msgspec.DecodeError as error:
            raise LocalFileError(f"{self.file} is damaged ({error}): remove it and log in again") from error

    def _write(self, content: _File) -> None:
        temporary = self.file.with_name(f".credentials-{os.getpid()}")
        try:
            # Created 0600, never widened and then narrowed: the token must not be readable for a moment either.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.file)
        except OSError as error:
            raise local_problem("write", self.file, error) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise local_problem("use the folder", self.folder, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
