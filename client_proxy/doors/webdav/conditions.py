"""The If header (RFC 4918, section 10.4): lock tokens and entity tags that must be current."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import NamedTuple

from client_proxy.doors.webdav.addresses import Address, read_destination
from lockstep_store.wire.errors import BadRequest, LockstepError

MAX_HEADER = 8192
MAX_RESOURCES = 20
"""In one header; each costs a few calls to the directory."""
TOKEN_SCHEME = "opaquelocktoken:"  # noqa: S105 - the scheme of an address
_PART = re.compile(r'\s*(?:(\()|(\))|(Not)\b|<([^<>\s]{1,2048})>|\[((?:W/)?"[^"]{0,256}")\])\s*', re.IGNORECASE)
_VERSION_BITS, _VARIANT_BITS = 8 << 76, 2 << 62
_NUMBER = (1 << 62) - 1
_SHARE_AT = 80


class StateCondition(NamedTuple):
    """One condition: a state token or an entity tag that is current, or, if `negated`, is not."""

    negated: bool
    token: str
    tag: str


class TaggedList(NamedTuple):
    """Conditions that must all hold of one resource; without one it is the request's own."""

    resource: Address | None
    is_ours: bool
    conditions: list[StateCondition]


class State(NamedTuple):
    """What a resource has now: the number of the lock that covers it, and its entity tag, empty if there is no file."""

    numbers: frozenset[int]
    tag: str


class IfHeader:
    """A parsed If header. It holds if one of its lists does. Without a header it always holds."""

    def __init__(self, lists: list[TaggedList]) -> None:
        self._lists = lists
        conditions = [each for one in lists for each in one.conditions]
        self.numbers = {number for each in conditions if each.token and (number := number_of(each.token))}
        """The numbers of the locks whose tokens the client sent."""

    @property
    def names_tags(self) -> bool:
        """Whether it has conditions on entity tags."""
        return any(each.tag for one in self._lists for each in one.conditions)

    @property
    def given(self) -> bool:
        return bool(self._lists)

    def holds(self, own: Address, state_of: Callable[[Address], State]) -> bool:
        """Whether it holds. `own` is the address of the request."""
        if not self._lists:
            return True
        known: dict[Address, State] = {}

        def state(address: Address) -> State:
            if address not in known:
                known[address] = state_of(address)
            return known[address]

        return any(
            all(_holds(each, state(one.resource or own)) for each in one.conditions)
            if one.is_ours
            else all(each.negated for each in one.conditions)
            for one in self._lists
        )


def _holds(condition: StateCondition, state: State) -> bool:
    found = number_of(condition.token) in state.numbers if condition.token else condition.tag == state.tag
    return found is not condition.negated


def read_if(header: str, host: str) -> IfHeader:
    """Parse an If header. BadRequest for another syntax."""
    if not header.strip():
        return IfHeader([])
    if len(header) > MAX_HEADER:
        raise BadRequest(f"the header If has {len(header)} bytes; at most {MAX_HEADER} are accepted")
    lists: list[TaggedList] = []
    resource, is_ours = None, True
    inside: list[StateCondition] | None = None
    negated = False
    at = 0
    while at < len(header):
        found = _PART.match(header, at)
        if found is None:
            raise _bad(header, at)
        opens, closes, word, address, tag = found.groups()
        if inside is None:
            if opens:
                inside = []
            elif address:
                resource, is_ours = _resource(address, host)
            else:
                raise _bad(header, at)
        elif closes:
            if not inside or negated:
                raise _bad(header, at)
            lists.append(TaggedList(resource, is_ours, inside))
            inside = None
        elif word and not negated:
            negated = True
        elif address or tag:
            inside.append(StateCondition(negated, address or "", tag or ""))
            negated = False
        else:
            raise _bad(header, at)
        at = found.end()
    if inside is not None or not lists:
        raise _bad(header, at)
    if len({one.resource for one in lists}) > MAX_RESOURCES:
        raise BadRequest(f"the header If has conditions on more than {MAX_RESOURCES} resources: send fewer")
    return IfHeader(lists)


def _resource(address: str, host: str) -> tuple[Address | None, bool]:
    try:
        found = read_destination(address, host)
    except LockstepError:
        found = None
    return found, found is not None


def _bad(header: str, at: int) -> BadRequest:
    return BadRequest(f"the header If cannot be read from character {at + 1} on: {header[at : at + 40]!r}")


def token_of(number: int, share: int = 0) -> str:
    """The token of a lock: a UUID (version 8) that contains the lock's number, so every proxy reads it alike.

    Who joined a shared lock has a `share` of 48 random bits, so that no two tokens are equal.
    """
    return TOKEN_SCHEME + str(uuid.UUID(int=share << _SHARE_AT | _VERSION_BITS | _VARIANT_BITS | number))


def number_of(token: str) -> int:
    """The number of the lock with that token; 0 for a token that is no lock's."""
    value = _value_of(token)
    number = value & _NUMBER
    return number if token_of(number, value >> _SHARE_AT) == token.lower() else 0


def has_joined(token: str) -> bool:
    """Whether the token is that of somebody who joined a shared lock."""
    return _value_of(token) >> _SHARE_AT != 0


def _value_of(token: str) -> int:
    if not token.lower().startswith(TOKEN_SCHEME):
        return 0
    try:
        return uuid.UUID(token[len(TOKEN_SCHEME) :]).int
    except ValueError:
        return 0
