"""Request ids, to follow one request through all programs, the log, and what `traces` needs of the other modules.

The first program that receives a request assigns its id. Every call made for that request carries the id in
`X-Request-Id`, and every log line shows it. `log_output` decides where the log goes.
"""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
from collections.abc import Callable

REQUEST_ID_HEADER = "X-Request-Id"

_current: contextvars.ContextVar[str] = contextvars.ContextVar("lockstep_request_id", default="")
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{6,64}")
log = logging.getLogger("lockstep")

OPERATION = "lockstep.operation"
"""In the WSGI environment: the name of the operation that answers the request."""
program = ("lockstep", "")
"""This program and its id."""
propagate: Callable[[dict[str, str]], None] | None = None
"""With traces: adds the headers that continue this thread's trace at another program."""
flush_traces: Callable[[], None] | None = None
"""With traces: sends what waits to be sent."""


def request_id() -> str:
    """Return the id of the request that this thread is working on, or an empty string."""
    return _current.get()


def start_request(given: str = "") -> str:
    """Begin a request under the id that the caller sent if it is well formed, otherwise under a new one."""
    chosen = given if given and _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
    _current.set(chosen)
    return chosen
