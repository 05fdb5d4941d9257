"""A PostgreSQL server for tests: started as an ordinary user in a temporary folder, without a port.

`postgres_programs` finds Debian's; tests skip without them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
import pytest

from directory_server.metadata.engines.postgres.connections import connect
from directory_server.metadata.engines.postgres.installed import bring_up_to_date
from tests.waiting import wait_until

_TEMPLATE = "prepared"
_NEW = "CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' LOCALE 'C'"


@cache
def postgres_programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`, or None."""
    found = shutil.which("initdb")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *([Path(found).parent] if found else [])]
    usable = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(usable, key=lambda folder: [int(part) for part in folder.parts if part.isdigit()], default=None)


def _open_to_all() -> Path:
    """Return a temporary folder that an ordinary user may enter; root's own may be closed to others."""
    folders = [Path(tempfile.gettempdir()), Path("/dev/shm"), Path("/tmp")]

    def is_open(folder: Path) -> bool:
        return folder.is_dir() and all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))

    return next(filter(is_open, folders), folders[0])


class PostgresServer:
    """A server in a folder of its own. Its databases are reached by their addresses."""

    def __init__(self) -> None:
        programs = postgres_programs()
        if programs is None:
            pytest.skip("PostgreSQL is not on this machine")
        self._programs = programs
        # Not below the test's own folder: the socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-pg-", dir=_open_to_all()))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._data = self.folder / "data"
        options = ("--username=lockstep", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        subprocess.run(
            [programs / "initdb", "-D", self._data, *options], check=True, capture_output=True, **self._as_user()
        )
        self.start()
        self.make(_TEMPLATE, "template0")
        bring_up_to_date(self.url(_TEMPLATE))

    def _as_user(self) -> dict[str, object]:
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []} if self._user else {}

    def url(self, database: str = "postgres") -> str:
        return f"postgresql:///{database}?host={self.folder}&user=lockstep"

    def start(self) -> None:
        settings = (
            "listen_addresses=",
            "shared_buffers=16MB",
            "max_wal_size=64MB",
            "min_wal_size=32MB",
            "log_statement=none",
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self.folder]
                + [part for setting in settings for part in ("-c", setting)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),
            )
        wait_until(self._answers, what="PostgreSQL")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """End all its processes at once, as a power failure would."""
        assert self._process is not None
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in (self._process.pid, *map(int, children)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        with connect(self.url(database)) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def make(self, name: str, template: str) -> None:
        self.run(_NEW.format(name, template))

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database with empty metadata, and remove it at the end; yield its address."""
        name = f"test_{next(self._numbers)}"
        self.make(name, _TEMPLATE)
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)
