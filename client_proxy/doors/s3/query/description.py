"""Types that describe an operation of STS or IAM. `service_model` reads them, `services` caches the result."""

from __future__ import annotations

from dataclasses import dataclass, field

from client_proxy.doors.s3.protocol.description import Member


@dataclass(frozen=True)
class MemberBounds:
    """What the description allows a value to be: a text's characters, or a number's range."""

    least: int | None = None
    most: int | None = None
    pattern: str = ""


@dataclass(frozen=True)
class QueryOperation:
    """One operation. `wrapper` is the element around its output; empty without any output.

    `bounds` are those of the members of its input, by name.
    """

    service: str
    name: str
    input: tuple[Member, ...]
    output: tuple[Member, ...]
    wrapper: str
    bounds: dict[str, MemberBounds] = field(default_factory=dict)


@dataclass(frozen=True)
class QueryService:
    """A service and the one version of it that exists."""

    version: str
    namespace: str
    operations: dict[str, QueryOperation]
