"""Prepares user names and passwords for comparison (RFC 8265), so that what looks equal is equal.

Names of new accounts are stored as the profile UsernameCaseMapped maps them: width and case folded, composed (NFC).
Accounts from before keep their names; they are found by the exact spelling and by every spelling that maps to the same
form. Passwords are hashed as the profile OpaqueString maps them.
"""

from __future__ import annotations

import threading

from precis_i18n import get_profile

from directory_server.metadata.statements import people
from directory_server.metadata.store import Reader
from lockstep_store.wire.errors import BadName

_NAMES = get_profile("UsernameCaseMapped")
_PASSWORDS = get_profile("OpaqueString")


def prepared_name(name: str) -> str:
    """The form of a user name that is stored and compared. Raises BadName for characters that no name may have.

    The profile covers one userpart; a user name is userparts with single spaces between them (RFC 8265, 3.5).
    """
    try:
        return " ".join(_NAMES.enforce(part) for part in name.split(" ") if part)
    except UnicodeEncodeError as error:
        raise BadName(
            f"the user name {name!r} has characters that user names may not have ({_reason(error)}): use letters, "
            "digits and plain punctuation"
        ) from error


def prepared_password(password: str) -> str | None:
    """The form of a password that is hashed; None when it has characters that no new password may have."""
    try:
        return str(_PASSWORDS.enforce(password))
    except UnicodeEncodeError:
        return None


def _reason(error: UnicodeEncodeError) -> str:
    return error.reason.partition("/")[2].replace("_", " ") or error.reason


class AccountNames:
    """Finds the account that a typed name means. Thread-safe."""

    def __init__(self) -> None:
        self._older: dict[str, str] | None = None
        self._guard = threading.Lock()

    def find(self, reader: Reader, typed: str) -> str | None:
        """The name of the existing account, or None."""
        if reader.one(people.ACCOUNT, name=typed) is not None:
            return typed
        try:
            name = prepared_name(typed)
        except BadName:
            return None
        if reader.one(people.ACCOUNT, name=name) is not None:
            return name
        return self._older_names(reader).get(name)

    def _older_names(self, reader: Reader) -> dict[str, str]:
        """Accounts whose stored name is not in the prepared form, by that form; the oldest account of each.

        Read once: no account is made or renamed with such a name any more.
        """
        with self._guard:
            if self._older is None:
                self._older = {}
                for (name,) in reader.all(people.ACCOUNT_NAMES):
                    form = _form_of_older(name)
                    if form != name:
                        self._older.setdefault(form, name)
            return self._older


def _form_of_older(name: str) -> str:
    try:
        return prepared_name(name)
    except BadName:
        return name
