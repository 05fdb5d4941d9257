"""A WSGI server for one request: calls an application the way the runner does, with bytes that are exactly as given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

PEER = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "5000", "REMOTE_ADDR": "127.0.0.1", "SCRIPT_NAME": ""}
UNDECLARED = object()


@dataclass
class Answer:
    """One reply. `error` is what the body raised; a runner aborts the connection then."""

    status: int
    headers: dict[str, str]
    body: bytes
    error: Exception | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(app: Any, method: str, target: str, body: bytes = b"", **given: Any) -> Answer:
    """Return the application's whole reply; for the arguments see `request_environ`."""
    return _run(app, request_environ(method, target, body, **given))


def request_environ(
    method: str,
    target: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    length: Any = None,
    chunked: bool = False,
    address: str = PEER["REMOTE_ADDR"],
) -> dict[str, Any]:
    """`target` is percent-encoded, with its query. `length` overrides Content-Length; UNDECLARED sends none. `address`
    is the client's."""
    raw_path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        **PEER,
        "REMOTE_ADDR": address,
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:5000",
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    elif length is None:
        if body or method in ("PUT", "POST", "PATCH"):
            environ["CONTENT_LENGTH"] = str(len(body))
    elif length is not UNDECLARED:
        environ["CONTENT_LENGTH"] = str(length)
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "PATH_INFO") else f"HTTP_{key}"] = value
    return environ


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as the runner shows them beside the environment; of one name in two cases, the last."""
    named = {name.lower(): value.strip() for name, value in headers.items()}
    return [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in named.items()]


def _run(app: Any, environ: dict[str, Any]) -> Answer:
    begun: list[Any] = []
    answer = getattr(app, "wsgi_app", app)(
        environ, lambda status, headers, exc_info=None: begun.append((status, headers))
    )
    parts: list[bytes] = []
    error: Exception | None = None
    try:
        for part in answer:
            parts.append(part)
    except Exception as raised:  # carried to the test
        error = raised
    finally:
        if hasattr(answer, "close"):
            answer.close()
    status, headers = begun[0]
    return Answer(int(status.split()[0]), dict(headers), b"".join(parts), error)
