"""What a new password must be: long enough, and not the user name (after NIST SP 800-63B)."""

from __future__ import annotations

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
    return prepared
