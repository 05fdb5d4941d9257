"""Makes what every test pays for and few are about cheap: hashes of passwords, new metadata files, and the wait of a
restored directory for the read leases of an earlier one.

All stand for the length of a run, so that fixtures of any scope have them; programs in other processes are as always.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metadata.statements.redo import CHAIN_BYTES
from directory_server.people import passwords
from directory_server.people.passwords import PasswordHash

CHEAP_LOG_N = 4
REAL_OF = PasswordHash.__dict__["of"]
"""For tests of what a hash really costs."""


@contextmanager
def cheap_setup(folder: Path) -> Iterator[None]:
    """`folder` is for the metadata file that new ones are copied from."""
    with pytest.MonkeyPatch.context() as patch:
        _hash_cheaply(patch)
        _migrate_once(patch, folder / "metadata.db")
        patch.setattr("directory_server.read_leases.lasting.TERM_SECONDS", 0.0)
        yield


def _hash_cheaply(patch: pytest.MonkeyPatch) -> None:
    of, nobody = PasswordHash.of, PasswordHash(passwords.NOBODY.salt, passwords.NOBODY.hash, CHEAP_LOG_N)
    patch.setattr(PasswordHash, "of", classmethod(lambda cls, password: of(password, CHEAP_LOG_N)))
    patch.setattr("directory_server.people.log_ins.NOBODY", nobody)
    patch.setattr(passwords, "CURRENT", (CHEAP_LOG_N, passwords.SCRYPT_P))


def _migrate_once(patch: pytest.MonkeyPatch, template: Path) -> None:
    """A file that is not there yet begins as a copy of one that went through all migrations."""

    def copied(path: Path) -> None:
        if not path.exists() or not path.stat().st_size:
            if not template.exists():
                bring_up_to_date(template)
            shutil.copyfile(template, path)
            with closing(sqlite3.connect(path)) as copy, copy:
                # As in a new file: no other metadata has this chain.
                copy.execute("UPDATE redo_record SET chain = ?", (secrets.token_bytes(CHAIN_BYTES),))
        bring_up_to_date(path)

    patch.setattr("directory_server.metadata.engines.sqlite.store.bring_up_to_date", copied)
