"""What a new password must be: long enough, and not what is guessed first (after NIST SP 800-63B)."""

from __future__ import annotations

import functools

from directory_server.people.names import prepared_password
from lockstep_store.wire.errors import BadRequest

MIN_CHARACTERS = 8


def check_new_password(name: str, password: str) -> str:
    """Return the form of a new password that is hashed. Raises BadRequest with the rule that it breaks."""
    prepared = prepared_password(password)
    if prepared is None:
        raise BadRequest(
            "the password is empty or has characters that passwords may not have (such as control characters): "
            "choose another"
        )
    if len(prepared) < MIN_CHARACTERS:
        raise BadRequest(f"the password is too short: use at least {MIN_CHARACTERS} characters")
    if prepared.casefold() == name.casefold():
        raise BadRequest("the password is the user name: choose another")
    if prepared.casefold() in _common_passwords():
        raise BadRequest("the password is one of the most common ones, which are guessed first: choose another")
    return prepared


@functools.cache
def _common_passwords() -> frozenset[str]:
    """The most common passwords that are long enough, in lower case, and this product's name."""
    # Imported here: it has a megabyte of words.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    common = (password.casefold() for password in FREQUENCY_LISTS["passwords"])
    return frozenset(password for password in common if len(password) >= MIN_CHARACTERS) | {"lockstep"}
