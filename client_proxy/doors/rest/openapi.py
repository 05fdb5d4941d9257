"""Describes the API: an OpenAPI 3.1 document made from the routes' declarations, and a page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from client_proxy.doors.rest.examples import EXAMPLES
from client_proxy.doors.rest.links import LINKS, Links
from client_proxy.doors.rest.operation import BINARY, TEXT, Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET, ID, IDENTITY, PATH, PROVIDER, REFERENCE, TENANT, schemas
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import LockstepError, NotFound

_operation = partial(Operation, tag="About")
PAGE_FOLDER = Path(__file__).parent / "docs_page"
PAGE_TYPES = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PATH_VALUES = {
    "bucket": ("The bucket's name.", BUCKET, "files"),
    "path": ("The file's path, percent-encoded; it may contain slashes.", PATH, "plans/roof.txt"),
    "id": ("The id, from the list or from the reply that created it.", ID, "3f9a2c"),
    "user": ("The account's name.", ID, "ann"),
    "tenant": ("The tenant's name.", TENANT, "acme"),
    "group": ("The group's name.", ID, "editors"),
    "service_account": ("The service account's name.", IDENTITY, "backup"),
    "policy": ("The policy's name.", IDENTITY, "policy"),
    "provider": ("The identity provider's name.", PROVIDER, "company"),
    "role": ("A program's role.", {"type": "string", "enum": ["client_proxy", "file_server"]}, "file_server"),
    "file": (
        "One of the page's own files.",
        {"type": "string", "enum": sorted(PAGE_TYPES)},
        "page.css",
    ),
}
TAGS = {
    "Files": "Reading and writing. Every reply has a receipt in its X-Lockstep headers.",
    "Versions": "A file's current and older versions.",
    "Folders": "Created, moved and deleted with everything in them.",
    "Changes": "All commits, in order.",
    "Locks": "Exclusive locks with a lease, granted in order of request.",
    "Buckets": "Namespaces for files. The bucket `files` always exists and is shared.",
    "Analytics": "What is stored, from totals that are kept with every change.",
    "Sharing": "Access for accounts, groups and everybody, and links for people without an account.",
    "People": "Accounts and their groups, log-ins and API keys.",
    "Cluster": "The cluster's programs and their maintenance.",
    "About": "This description.",
}


class DocumentRoutes:
    """The routes /openapi.json and /docs, which describe `operations` and themselves."""

    def __init__(self, operations: Sequence[Operation], version: str) -> None:
        self._operations = [*operations, *self.operations()]
        self._version = version

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="openapi",
                method="GET",
                template="/openapi.json",
                handler=self.document,
                summary="Get this API as an OpenAPI 3.1 document",
                description="Made from the declarations that register the routes, so the two cannot differ.",
                answers={200: Answer("The document.", Content(dict[str, Any]))},
                login=False,
            ),
            _operation(
                id="docs",
                method="GET",
                template="/docs",
                handler=self.page,
                summary="Get this API as a web page",
                description="It shows the document at /api/v1/openapi.json, and loads nothing from other sites.",
                answers={200: Answer("The page.", Content(media="text/html"))},
                login=False,
            ),
            _operation(
                id="docs_file",
                method="GET",
                template="/docs/{file}",
                handler=self.page_file,
                summary="Get the page's style and script",
                description="The page's policy lets it load only its own files.",
                answers={200: Answer("The file.", Content(media="text/css", others=("text/javascript", "text/html")))},
                refusals=(NotFound,),
                login=False,
            ),
        ]

    def document(self, request: RestRequest) -> RawReply:
        return json_reply(self._document)

    def page(self, request: RestRequest) -> RawReply:
        return _page_reply("page.html")

    def page_file(self, request: RestRequest) -> RawReply:
        name = request.params["file"]
        if name not in PAGE_TYPES:
            raise NotFound("the page has no such file")
        return _page_reply(name)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._operations, self._version)


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `operations`."""
    by_shape, components = schemas(content.shape for op in operations for content in _contents(op) if content.shape)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.address, {})[operation.method.lower()] = _describe(operation, by_shape)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lockstep",
            "version": version,
            "description": (
                "A distributed file store for people who edit files together. Errors are RFC 9457 problem details; "
                "each has a `code`, a sentence for people, a `request_id`, and details as further members."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The proxy that served this document."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A log-in's token, or an API key."},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{"token": []}, {"api_key": []}],
    }


def _contents(operation: Operation) -> list[Content]:
    return [*operation.bodies, *(answer.content for answer in operation.answers.values() if answer.content)]


def _describe(operation: Operation, by_shape: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {
            str(status): _answer(answer, by_shape, LINKS.get((operation.id, status), {}))
            for status, answer in operation.answers.items()
        },
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [_path_value(name) for name in operation.names] + [_parameter(given) for given in operation.parameters]
    if parameters:
        described["parameters"] = parameters
    if operation.bodies:
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {media: said for body in operation.bodies for media, said in _content(body, by_shape).items()},
        }
    if not operation.login:
        described["security"] = []
    for status, sentence in sorted(_refusals_by_status(operation.all_refusals).items()):
        described["responses"][str(status)] = _problem(sentence, with_body=operation.method != "HEAD")
    return described


def _answer(answer: Answer, by_shape: dict[Any, Any], links: Links) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        described["headers"] = {name: {"description": text, "schema": TEXT} for name, text in answer.headers.items()}
    if answer.content is not None:
        described["content"] = _content(answer.content, by_shape)
    if links:
        described["links"] = links
    return described


def _content(content: Content, by_shape: dict[Any, Any]) -> dict[str, Any]:
    bare = content.schema or (TEXT if content.media.startswith("text/") else BINARY)
    schema = by_shape[content.shape] if content.shape else bare
    described: dict[str, Any] = {"schema": schema}
    if content.shape in EXAMPLES:
        described["example"] = EXAMPLES[content.shape]
    return {media: described for media in (content.media, *content.others)}


def _path_value(name: str) -> dict[str, Any]:
    description, schema, example = PATH_VALUES[name]
    described = {"name": name, "in": "path", "required": True, "description": description}
    return {**described, "schema": schema, "example": example}


def _parameter(given: Parameter) -> dict[str, Any]:
    return {"name": given.name, "in": given.where, "description": given.description, "schema": given.schema}


def _refusals_by_status(refusals: Sequence[type[LockstepError]]) -> dict[int, str]:
    sentences: dict[int, list[str]] = {}
    for refusal in dict.fromkeys(refusals):
        sentences.setdefault(refusal.status, []).append(f"{refusal.title} (`{refusal.code}`)")
    return {status: "; ".join(parts) + "." for status, parts in sentences.items()}


def _problem(description: str, *, with_body: bool) -> dict[str, Any]:
    if not with_body:
        return {"description": description}
    schema = {"$ref": REFERENCE.format(name="Problem")}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _page_reply(name: str) -> RawReply:
    body = (PAGE_FOLDER / name).read_bytes()
    headers = [
        ("Content-Type", PAGE_TYPES[name]),
        ("Content-Length", str(len(body))),
        ("Content-Security-Policy", PAGE_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ]
    return RawReply(200, headers, [body])
