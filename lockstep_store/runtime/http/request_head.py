"""A request's head: what is refused before any door sees it, and the WSGI environment that is made of it.

The scope of Granian's ASGI interface has header values, names and the address as they came. The environment has them
in WSGI's form, and under RAW_HEADERS and RAW_PATH as they came, because signatures are made of those.
"""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

RAW_HEADERS = "lockstep.headers"
"""In the environment: the headers as (name, value), both bytes."""
RAW_PATH = "lockstep.raw_path"
"""In the environment: the address's path as it came, in bytes, percent-encoded."""
MAX_HEADER_BYTES = 32 * 1024
MAX_METHOD_LETTERS = 32

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"x-lockstep-peer"})
_MAX_KNOWN_NAMES = 1000
_keys = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
"""The environment's keys of header names that came before."""
_CONSTANT: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]


class BadHead(Exception):
    """The request is refused with this status. A later request on its connection could be misread."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_head(scope: Scope) -> None:
    """Raise BadHead for a request that this server must not answer otherwise (RFC 9110 and 9112)."""
    headers: Headers = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise BadHead(431, f"the headers are too long: the limit is {MAX_HEADER_BYTES // 1024} KiB in all")
    if len(scope["method"]) > MAX_METHOD_LETTERS:
        raise BadHead(400, f"the method is too long: the limit is {MAX_METHOD_LETTERS} letters")
    if not scope["raw_path"].startswith(b"/"):
        if scope["method"] == "OPTIONS" and scope["raw_path"] == b"*":
            raise BadHead(501, "OPTIONS * is not supported: ask for an address")
        raise BadHead(400, "the address must begin with a slash")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (len(codings) > 1 or codings[0].strip().lower() != b"chunked"):
        # The runner takes the framing off and leaves a body that is, for example, still compressed.
        raise BadHead(501, "the only Transfer-Encoding known here is chunked")
    hosts = [value for name, value in headers if name == b"host"]
    if hosts == [b""] and scope["http_version"] == "1":
        return  # HTTP/1.0 has no Host
    if len(hosts) != 1:
        raise BadHead(400, "the request must have one Host header, not several")
    if not _HOST.fullmatch(hosts[0]):
        raise BadHead(400, "the Host header is missing, or is no host name with or without a port")


def environment(scope: Scope) -> dict[str, Any]:
    """Return the WSGI environment, without `wsgi.input`.

    A name with an underscore has no key in it: it would pass for its twin with a hyphen.
    """
    raw_path: bytes = scope["raw_path"]
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    server, port = scope["server"]
    environ = _CONSTANT | {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.0" if scope["http_version"] == "1" else f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.url_scheme": scope["scheme"],
        RAW_PATH: raw_path,
        RAW_HEADERS: scope["headers"],
    }
    for name, value in scope["headers"]:
        key = _keys.get(name) or _key(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key not in environ:
            environ[key] = text
        elif key == "HTTP_COOKIE":
            environ[key] += f"; {text}"
        elif key != "CONTENT_LENGTH":  # those that differ were refused by the parser
            environ[key] += f",{text}"
    return environ


def is_anonymous(scope: Scope) -> bool:
    """Whether the request shows no credential. One that is shown may still be wrong."""
    if any(name in _CREDENTIALS for name, _ in scope["headers"]):
        return False
    query: bytes = scope["query_string"]
    return b"X-Amz-Signature=" not in query


def _key(name: bytes) -> str:
    if b"_" in name:
        return ""
    key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_keys) < _MAX_KNOWN_NAMES:
        _keys[name] = key
    return key
