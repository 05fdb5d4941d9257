"""The addresses of older systems: a table that says which operation of the API each one is.

Their requests are rewritten in front of the API, so rights, sessions, limits and errors are those of the operation.
Routes of their own were refused: every rule would need a second test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from client_proxy.doors.rest.file_ids import FileIds
from client_proxy.doors.rest.json_body import JSON_TYPE, read_json
from client_proxy.doors.rest.operation import PLACEHOLDER, PREFIX
from client_proxy.doors.rest.reply import problem_reply, refusal_reply
from client_proxy.doors.rest.request import canonical_path, path_text
from client_proxy.doors.whole_replies import Headers, read_all, whole_reply, with_length_of
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import start_request
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotFound
from lockstep_store.wire.names import FILES_BUCKET, check_bucket

OLDER_PREFIX = "/api"
Values = dict[str, str]


class OlderAddress(NamedTuple):
    """`method` on `template` below /api is `to_method` on `to` below /api/v1.

    An `{id}` gives the values `bucket` and `path`; where there is neither it nor a bucket, `?bucket=` may name one.
    `arguments` have other names in the operation. The values in `in_query` and `in_body` become an argument, or a
    member of the JSON body. With `shows_ids`, files in the reply get their `id`.
    """

    method: str
    template: str
    to_method: str
    to: str
    arguments: tuple[tuple[str, str], ...] = ()
    in_query: str = ""
    in_body: str = ""
    shows_ids: bool = False


_OBJECT, _FILE = "/buckets/{bucket}/objects/{path}", "/files/{bucket}/{path}"
OLDER_ADDRESSES = (
    OlderAddress("POST", "/auth/register", "POST", "/auth/register"),
    OlderAddress("POST", "/auth/login", "POST", "/auth/login"),
    OlderAddress("POST", "/files/upload", "POST", "/files/{bucket}", shows_ids=True),
    OlderAddress("GET", "/files", "GET", "/files/{bucket}", shows_ids=True),
    OlderAddress("GET", "/files/search", "GET", "/search", arguments=(("query", "q"),), shows_ids=True),
    OlderAddress("GET", "/files/{id}/download", "GET", _FILE),
    OlderAddress("HEAD", "/files/{id}/download", "HEAD", _FILE),
    OlderAddress("DELETE", "/files/{id}", "DELETE", _FILE),
    OlderAddress("PUT", "/files/{id}/access", "PUT", "/access/{bucket}", in_body="path"),
    OlderAddress("PUT", "/files/{id}/metadata", "PATCH", "/facts/{bucket}/{path}"),
    OlderAddress("POST", "/files/{id}/version", "POST", "/files/{bucket}", in_query="path", shows_ids=True),
    OlderAddress(
        "PUT",
        "/files/{id}/version/{version}",
        "POST",
        "/versions/{bucket}/{path}/restore",
        in_body="version",
        shows_ids=True,
    ),
    OlderAddress("POST", "/folders/create", "POST", "/folders"),
    OlderAddress("GET", "/analytics/storage", "GET", "/analytics/storage"),
    OlderAddress("GET", "/analytics/file-types", "GET", "/analytics/file-types"),
    OlderAddress("GET", "/buckets", "GET", "/buckets"),
    OlderAddress("POST", "/buckets", "POST", "/buckets"),
    OlderAddress("DELETE", "/buckets/{bucket}", "DELETE", "/buckets/{bucket}"),
    OlderAddress("GET", "/buckets/{bucket}/objects", "GET", "/files/{bucket}", shows_ids=True),
    *(OlderAddress(method, _OBJECT, method, _FILE) for method in ("PUT", "GET", "HEAD", "DELETE")),
)


class OlderAddresses:
    """The WSGI application in front of the API, which is `inner`."""

    def __init__(self, inner: Wsgi, ids: FileIds) -> None:
        self._inner = inner
        self._ids = ids
        self._patterns = [(address, _pattern(address.template)) for address in OLDER_ADDRESSES]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(f"{OLDER_PREFIX}/") or path.startswith(f"{PREFIX}/"):
            return self._inner(environ, start_response)
        for address, pattern in self._patterns:
            found = pattern.fullmatch(path) if address.method == environ["REQUEST_METHOD"] else None
            if found is not None:
                return self._answer(address, environ, found.groupdict(), start_response)
        return self._inner(environ, start_response)

    def _answer(
        self, address: OlderAddress, environ: Environ, values: Values, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = DrainableRequest(environ)
        answer = self._inner
        if "id" in values:
            answer = partial(_without_names, answer)
        if address.shows_ids:
            answer = partial(_with_ids, answer, self._ids)
        try:
            if address.shows_ids:
                self._ids.fetch_key()  # later, what was asked for would be done already
            self._rewrite(address, request, {name: _text(value) for name, value in values.items()})
        except Exception as error:  # noqa: BLE001 - every failure becomes a reply here
            id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
            refusal = refusal_reply(error, f"{address.method} {OLDER_PREFIX}{address.template}", request)
            start_response(f"{refusal.status} -", [*refusal.headers, ("X-Request-Id", id)])
            return refusal.body
        return answer(environ, start_response)

    def _rewrite(self, address: OlderAddress, request: DrainableRequest, values: Values) -> None:
        """Make the request the operation's own, in its environment, where the layers around look for the operation.

        Raises what an id, a bucket, the arguments or the body are refused with.
        """
        environ = request.environ
        arguments = _arguments(environ) if environ.get("QUERY_STRING") else []
        if "id" in values:
            values["bucket"], values["path"] = self._ids.named(values.pop("id"))
        elif "{bucket}" in address.to and "bucket" not in values:
            values["bucket"] = check_bucket(dict(arguments).get("bucket", FILES_BUCKET))
            arguments = [(name, value) for name, value in arguments if name != "bucket"]
        renamed = dict(address.arguments)
        arguments = [(renamed.get(name, name), value) for name, value in arguments]
        if address.in_query:
            arguments.append((address.in_query, values[address.in_query]))
        target = PLACEHOLDER.sub(lambda found: values[found[1]], PREFIX + address.to)
        if address.in_body:
            environ.update(_body_with(request, address.in_body, values[address.in_body]))
        environ["REQUEST_METHOD"], environ["PATH_INFO"] = address.to_method, target.encode().decode("latin-1")
        environ["QUERY_STRING"] = urlencode(arguments)


def _with_ids(inner: Wsgi, ids: FileIds, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The operation's reply, in which each file has its id."""
    status, headers, body = whole_reply(inner, environ)
    if status.startswith("2"):
        reply = msgspec.json.decode(body)
        for file in _files_in(reply):
            file["id"] = ids.of(file["bucket"], file["path"])
        body = msgspec.json.encode(reply)
        headers = with_length_of(body, headers)
    start_response(status, headers)
    return [body]


_NAMELESS: dict[str, LockstepError] = {
    "403": Forbidden("you may not do this with the file that this id names"),
    "404": NotFound("this id names no file, or not the version that you ask for"),
}


def _without_names(inner: Wsgi, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The operation's reply; but to people who may not see the file, a refusal must not say what an id hides."""
    begun: list[tuple[str, Headers]] = []

    def start(status: str, headers: Headers, *more: Any) -> Any:
        if status[:3] not in _NAMELESS:
            return start_response(status, headers, *more)
        begun[:] = [(status, headers)]
        return None

    pieces = inner(environ, start)
    if not begun:
        return pieces
    body, (status, headers) = read_all(pieces), begun[0]
    if body:
        body = b"".join(problem_reply(_NAMELESS[status[:3]], "").body)
        headers = with_length_of(body, headers)
    start_response(status, headers)
    return [body]


def _pattern(template: str) -> re.Pattern[str]:
    """What the address's path must match. As in the API, a path may contain slashes, and a part may be empty."""

    def value(found: re.Match[str]) -> str:
        return f"(?P<{found[1]}>{'.+' if found[1] == 'path' else '[^/]*'})"

    return re.compile(OLDER_PREFIX + PLACEHOLDER.sub(value, template), re.DOTALL)


def _text(value: str) -> str:
    return path_text(canonical_path(value))


def _arguments(environ: Environ) -> list[tuple[str, str]]:
    try:
        return parse_qsl(environ["QUERY_STRING"], keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError as error:
        raise BadRequest(f"the arguments in the address cannot be read: {error}") from error


def _body_with(request: DrainableRequest, member: str, value: str) -> Environ:
    """What the environment says about the JSON body once it has that member."""
    body = read_json(request, dict[str, Any], optional=True)
    if member in body:
        raise BadRequest(f"leave {member} out of the body: the address has it")
    sent = msgspec.json.encode({**body, member: value})
    return {"wsgi.input": BytesIO(sent), "CONTENT_LENGTH": str(len(sent)), "CONTENT_TYPE": JSON_TYPE}


def _files_in(reply: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The files in a listing, in a page of hits, or in the reply to a write."""
    yield from reply.get("files", ())
    yield from (hit["file"] for hit in reply.get("hits", ()))
    if "version" in reply:
        yield reply["version"]
