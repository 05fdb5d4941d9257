"""What people see of their second factor: its state, the secret for their app, and recovery codes."""

from __future__ import annotations

import io
from collections.abc import Sequence

from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.second_factor import NewSecondFactor, SecondFactorState

_WHITE_ON_BLACK, _PLAIN = "\x1b[97;40m", "\x1b[0m"
_BORDER = 2
_BLOCKS = "█▀▄"


def state_text(state: SecondFactorState) -> str:
    """Whether there is one, since when, and how many recovery codes are left."""
    if not state.enabled or state.enabled_at is None:
        return "no second factor, but this account must have one" if state.required else "no second factor"
    left = formatting.counted(state.recovery_codes_left, "recovery code")
    required = "; this account must have it" if state.required else ""
    return f"second factor since {formatting.when(state.enabled_at)}, {left} left{required}"


def secret_text(made: NewSecondFactor, *, width: int = formatting.WIDTH, encoding: str | None = None) -> str:
    """The secret as base32 and as an address; `encoding` is that of a terminal, which also gets a QR code if it fits.

    The code has colours of its own: apps read it on dark and on light terminals.
    """
    groups = " ".join(made.secret[start : start + 4] for start in range(0, len(made.secret), 4))
    text = f"secret:  {groups}\naddress: {made.uri}"
    code = _qr_lines(made.uri) if encoding is not None and _can_show(encoding) else []
    if code and len(code[0]) <= width:
        text = "\n".join([*(f"{_WHITE_ON_BLACK}{line}{_PLAIN}" for line in code), text])
    return text


def recovery_text(codes: Sequence[str]) -> str:
    """The recovery codes, one a line."""
    return "\n".join(codes)


def _can_show(encoding: str) -> bool:
    try:
        _BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _qr_lines(uri: str) -> list[str]:
    import segno  # here: only those who enrol need it

    drawn = io.StringIO()
    segno.make_qr(uri, error="l").terminal(drawn, border=_BORDER, compact=True)
    return drawn.getvalue().splitlines()
