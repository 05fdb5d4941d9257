"""Makes the first administrator, with a credentials file for operators and tools.

The file is written before the account, so that after a crash between the two the next start uses the same values. Once
there is an administrator, the directory never reads the file again; changing or deleting it changes nothing. (There is
always one: see users.py. So an administrator whose account was deleted does not come back.)
"""

from __future__ import annotations

import secrets
import string
from pathlib import Path

import msgspec

from directory_server.metadata.statements import people, s3_keys
from directory_server.metadata.statements.recovery import first_administrator
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.accounts import API_KEY_PREFIX, insert_account, insert_api_key
from directory_server.people.passwords import PasswordHash
from lockstep_store.runtime.storage.sealing import write_durably
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.people import ApiKeyInfo
from lockstep_store.wire.messages.s3 import S3KeyInfo
from lockstep_store.wire.names import check_account

ADMINISTRATOR = "admin"
_KEY_LETTERS = string.ascii_uppercase + string.digits


class AdminCredentials(msgspec.Struct):
    """The file's content. Its keys are an interface: tests and tools read them."""

    username: str
    password: str
    api_key: str
    s3_access_key: str
    s3_secret_key: str

    def __repr__(self) -> str:
        return f"AdminCredentials(username={self.username!r})"


def ensure_administrator(store: MetadataStore, file: Path, at: float) -> str:
    """Make an administrator if there is none; return the name of the oldest. SetupError for an unusable file."""
    with store.read() as reader:
        known = first_administrator(reader)
    if known:
        return known
    credentials = _read_or_make(file)
    crash_point("directory.administrator.file-written")
    password = PasswordHash.of(credentials.password)

    def work(tx: Tx) -> None:
        if tx.one(people.ACCOUNT, name=credentials.username) is not None:
            return
        insert_account(tx, credentials.username, password, admin=True, at=at)
        key = ApiKeyInfo(secrets.token_hex(6), "administrator's first key", at, credentials.api_key)
        insert_api_key(tx, credentials.username, key)
        first = S3KeyInfo(
            credentials.s3_access_key, credentials.username, at, "administrator's first key", credentials.s3_secret_key
        )
        s3_keys.insert_key(tx, first, None, None)

    store.write(work)
    crash_point("directory.administrator.made")
    log.info("the administrator's credentials are in %s", file)
    return credentials.username


def _read_or_make(file: Path) -> AdminCredentials:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        made = AdminCredentials(
            username=ADMINISTRATOR,
            password=secrets.token_urlsafe(18),
            api_key=API_KEY_PREFIX + secrets.token_urlsafe(32),
            s3_access_key="LS" + "".join(secrets.choice(_KEY_LETTERS) for _ in range(18)),
            s3_secret_key=secrets.token_urlsafe(30),
        )
        write_durably(file, msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    try:
        found = msgspec.json.decode(file.read_bytes(), type=AdminCredentials)
        check_account(found.username)
        if not found.api_key.startswith(API_KEY_PREFIX) or not found.password:
            raise ValueError(f"its api_key does not begin with {API_KEY_PREFIX}, or its password is empty")
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the credentials file {file} cannot be used ({error}): move it away, and the next start makes a new one"
        ) from error
    return found
