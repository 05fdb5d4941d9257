"""Tells a browser that opens the proxy's address from a program that calls it."""

from __future__ import annotations

from lockstep_store.runtime.http.api import Environ


def asks_for_console(environ: Environ) -> bool:
    """Whether this is a browser at `/`. A signed request, or one with arguments, is for S3."""
    return (
        environ["PATH_INFO"] == "/"
        and environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and "text/html" in environ.get("HTTP_ACCEPT", "")
        and not environ.get("QUERY_STRING")
        and "HTTP_AUTHORIZATION" not in environ
        and "HTTP_X_API_KEY" not in environ
    )
