"""A `repr` that hides secrets, for the messages between programs and the requests that become messages.

A message ends up in a log line or a test report through its `repr`. So every message hides the members that may carry
a secret, by their names. A test fails when a new member looks like a secret and is not hidden.
"""

from __future__ import annotations

from typing import Any

HIDDEN = frozenset(
    {
        "ContinueSignOnRequest.id",
        "SignOn.id",
        "code",
        "answer",
        "authorization_url",
        "client_secret",
        "credential",
        "key",
        "new_password",
        "password",
        "peer_token",
        "recovery_codes",
        "secret",
        "session_token",
        "signature",
        "storage_keys_json",
        "ticket",
        "ticket_key",
        "token",
        "user_code",
        "unlock",
        "uri",
        "verification_uri_complete",
    }
)
"""`key` is the name of a key in some messages and the key itself in others: it is hidden in all of them. With the
name of a message it is hidden in that one: whoever has a log-in's id collects its token."""


def is_hidden(kind: type, name: str) -> bool:
    """Whether a message of this kind hides the member."""
    return name in HIDDEN or f"{kind.__name__}.{name}" in HIDDEN


def repr_without_secrets(message: Any) -> str:
    """The `repr` of a msgspec struct or named tuple, in which hidden members that are set show as `…`."""
    kind = type(message)
    names: tuple[str, ...] = kind._fields if isinstance(message, tuple) else kind.__struct_fields__
    shown = (
        f"{name}=…" if is_hidden(kind, name) and value else f"{name}={value!r}"
        for name, value in ((name, getattr(message, name)) for name in names)
    )
    return f"{kind.__name__}({', '.join(shown)})"
