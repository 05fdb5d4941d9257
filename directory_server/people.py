"""A person as the rules see one: whoever stands behind a credential."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """`session` names the log-in or API key, without being its secret. `expires` is directory time, if it ends."""

    account: str
    admin: bool
    session: str
    expires: float | None = None
