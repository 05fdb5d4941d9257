"""The credential of a request outside S3, with what policies may ask about the request."""

from __future__ import annotations

from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ
from lockstep_store.wire.messages.s3_access import S3Access

_ASKED_HEADERS = (("aws:useragent", "HTTP_USER_AGENT"), ("aws:referer", "HTTP_REFERER"))


def access_of(environ: Environ, credential: str) -> str:
    """`credential` with the condition keys of the request: address, transport, agent and referer."""
    keys = {
        "aws:sourceip": [remote_address(environ)],
        "aws:securetransport": ["true" if environ.get("wsgi.url_scheme") == "https" else "false"],
    }
    for key, name in _ASKED_HEADERS:
        if name in environ:
            keys[key] = [environ[name]]
    return S3Access(credential=credential, keys=keys).encode()
