"""Request ids and log lines, to follow one request through all programs.

The first program that receives a request assigns its id. Every call made for that request carries the id in
`X-Request-Id`, and every log line shows it.
"""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
import sys
from collections.abc import Callable

REQUEST_ID_HEADER = "X-Request-Id"

_current: contextvars.ContextVar[str] = contextvars.ContextVar("lockstep_request_id", default="")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{6,64}")
log = logging.getLogger("lockstep")


def request_id() -> str:
    """Return the id of the request that this thread is working on, or an empty string."""
    return _current.get()


def start_request(given: str = "") -> str:
    """Begin a request under the id that the caller sent if it is well formed, otherwise under a new one."""
    chosen = given if given and _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
    _current.set(chosen)
    return chosen


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get() or "-"
        return True


class _Lines(logging.Formatter):
    """Formats log lines; with `hide` set, no line or traceback shows a digest."""

    hide: Callable[[str], str] | None = None

    def format(self, record: logging.LogRecord) -> str:
        line, hide = super().format(record), self.hide
        return line if hide is None else _DIGEST.sub(lambda found: hide(found[0]), line)


def hide_digests(hide: Callable[[str], str]) -> None:
    """From now on, replace each digest (64 hexadecimal digits) in the log by what `hide` returns for it.

    For a program whose disk must not show which content it has: its log may be on that disk. Call `setup_logging`
    first.
    """
    for handler in log.handlers:
        if isinstance(handler.formatter, _Lines):
            handler.formatter.hide = hide


def setup_logging(program: str, id: str, level: str = "INFO") -> None:
    """Log one line for each event to standard error: time, level, program, request id, message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RequestIdFilter())
    handler.setFormatter(
        _Lines(
            f"%(asctime)s.%(msecs)03d %(levelname)s {program}-{id} [%(request_id)s] %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )
    )
    log.handlers[:] = [handler]
    log.setLevel(level.upper())
    log.propagate = False
