"""The declaration of a route: it registers the route, and describes it in the API's document."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import (
    BadRequest,
    ExpectationFailed,
    IncompleteBody,
    InternalError,
    LengthRequired,
    LockstepError,
    NotLoggedIn,
    TooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)

PREFIX = "/api/v1"
Handler = Callable[[RestRequest], RawReply]
Schema = dict[str, Any]
PLACEHOLDER = re.compile(r"\{(\w+)\}")

TEXT: Schema = {"type": "string"}
GIVEN: Schema = {"type": "string", "minLength": 1}
"""A value that must not be empty."""
BINARY: Schema = {"type": "string", "format": "binary"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}


def between(low: int, high: int) -> Schema:
    """A whole number in this range."""
    return {"type": "integer", "minimum": low, "maximum": high}


@dataclass(frozen=True)
class Parameter:
    """A query argument or request header."""

    name: str
    where: Literal["query", "header"]
    description: str
    schema: Schema = field(default_factory=lambda: GIVEN)


@dataclass(frozen=True)
class Content:
    """A body: JSON of the type `shape`, or bytes or text of the type `media` or one of `others`.

    `schema` describes a body that is neither.
    """

    shape: Any = None
    media: str = "application/json"
    others: tuple[str, ...] = ()
    schema: Schema | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Answer:
    """A successful reply; `headers` maps header names to descriptions."""

    description: str
    content: Content | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """A method on an address below `/api/v1`. `{path}` in the template may contain slashes.

    `thin`: answered in front of Flask, because reads and writes use it often.
    """

    id: str
    method: str
    template: str
    handler: Handler
    tag: str
    summary: str
    answers: dict[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    bodies: tuple[Content, ...] = ()
    body_optional: bool = False
    refusals: tuple[type[LockstepError], ...] = ()
    login: bool = True
    thin: bool = False

    @property
    def address(self) -> str:
        """The address template, as in the API's document."""
        return PREFIX + self.template

    @property
    def names(self) -> list[str]:
        """The names of the values in the address, in order."""
        return PLACEHOLDER.findall(self.template)

    @cached_property
    def all_refusals(self) -> tuple[type[LockstepError], ...]:
        """The operation's own errors and those common to all such operations."""
        usual: list[type[LockstepError]] = [BadRequest, ExpectationFailed, InternalError, TooManyRequests, Unavailable]
        if self.login:
            usual.append(NotLoggedIn)
        if any(body.shape for body in self.bodies):
            usual += [IncompleteBody, LengthRequired, TooLarge, UnsupportedMediaType]
        return (*self.refusals, *usual)

    @cached_property
    def statuses(self) -> frozenset[int]:
        """All statuses of its replies."""
        return frozenset([*self.answers, *(refusal.status for refusal in self.all_refusals)])

    @cached_property
    def arguments(self) -> frozenset[str]:
        """The query arguments that the operation takes."""
        return frozenset(given.name for given in self.parameters if given.where == "query")

    @cached_property
    def repeated(self) -> frozenset[str]:
        """The query arguments that may be sent several times."""
        return frozenset(
            given.name for given in self.parameters if given.where == "query" and given.schema.get("type") == "array"
        )

    @property
    def flask_rule(self) -> str:
        """The address as a Flask rule."""
        return PREFIX + PLACEHOLDER.sub(_flask_value, self.template)


def _flask_value(placeholder: re.Match[str]) -> str:
    name = placeholder[1]
    return f"<{'file_path' if name == 'path' else 'segment'}:{name}>"
