"""What a door's reply to an error has in every form of it: what is shown, and the headers."""

from __future__ import annotations

from client_proxy.rate_limits.limiter import refusal_headers
from lockstep_store.runtime.http.header_text import header_text
from lockstep_store.runtime.tracing import log, request_id
from lockstep_store.wire.errors import (
    InternalError,
    Locked,
    LockstepError,
    NotLoggedIn,
    RangeNotSatisfiable,
    RateLimited,
)


def shown_error(error: Exception, where: str) -> LockstepError:
    """The error to show. Unexpected exceptions are logged with a traceback; what is shown of them reveals nothing."""
    if not isinstance(error, LockstepError):
        log.error("unexpected failure in %s", where, exc_info=error)
        return InternalError(
            f"an unexpected error in the proxy, not caused by your request: its log has details under {request_id()}"
        )
    if error.status >= 500:
        log.warning("%s: %s (%s)", where, error, error.code)
    return error


def error_headers(error: LockstepError, challenge: str) -> list[tuple[str, str]]:
    """The headers that an error has at every door. `challenge` says how to log in."""
    headers: list[tuple[str, str]] = []
    if error.status in (429, 503) and error.can_retry:
        seconds = error.facts.get("retry_after")
        headers.append(("Retry-After", str(max(1, round(seconds))) if isinstance(seconds, (int, float)) else "1"))
    if isinstance(error, RateLimited):
        headers += refusal_headers(error)
    if isinstance(error, NotLoggedIn):
        headers.append(("WWW-Authenticate", challenge))
    if isinstance(error, RangeNotSatisfiable) and "size" in error.facts:
        headers.append(("Content-Range", f"bytes */{error.facts['size']}"))
    if isinstance(error, Locked) and isinstance(error.facts.get("holder"), str):
        headers.append(("X-Lockstep-Lock-Holder", header_text(error.facts["holder"])))
    return headers
