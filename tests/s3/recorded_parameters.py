"""Records which of a request's parameters the S3 door looks at: those of the address, the headers and the XML body."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any

import pytest

from client_proxy.doors.s3 import call as call_module
from client_proxy.doors.s3 import door as door_module
from client_proxy.doors.s3.auth.gate import Principal
from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.door import S3Door
from client_proxy.doors.s3.protocol.checksums import HEADER_PREFIX
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.request import S3Request

FROM_ACCESS = frozenset({"ExpectedBucketOwner", "ExpectedSourceBucketOwner"})
"""Compared by the directory, to which the request's description takes them."""


class Record:
    """The paths of the members that were looked at, such as `Tagging.TagSet.Key`, and the headers, in small letters."""

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.headers: set[str] = set()
        self.paused = True

    def member(self, path: str) -> None:
        if not self.paused:
            self.members.add(path)

    def header(self, name: str) -> None:
        if not self.paused:
            self.headers.add(name)


class _Keys(KeysView[str]):
    """Set operations test each name of the other set, and so record it."""


class SeenValues(dict[str, Any]):
    """Parameters that note who is looked at; structures inside are like it."""

    def __init__(self, values: dict[str, Any], record: Record, prefix: str = "") -> None:
        super().__init__({name: _seen(value, record, f"{prefix}{name}.") for name, value in values.items()})
        self._record, self._prefix = record, prefix

    def _note(self, name: Any) -> None:
        self._record.member(f"{self._prefix}{name}")

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self._note(name)
            yield name

    def keys(self) -> Any:
        return _Keys(self)

    def items(self) -> Any:
        return ItemsView(self)

    def values(self) -> Any:
        return ValuesView(self)


class SeenHeaders(dict[str, str]):
    """Headers that note which are looked at. Who goes through all of them looks for checksums."""

    def __init__(self, headers: dict[str, str], record: Record) -> None:
        super().__init__(headers)
        self._record = record

    def __getitem__(self, name: str) -> str:
        self._record.header(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._record.header(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._record.header(name)
        return super().get(name, default)

    def items(self) -> Any:
        for name in self:
            if name.startswith(HEADER_PREFIX):
                self._record.header(name)
        return super().items()


def _seen(value: Any, record: Record, prefix: str) -> Any:
    if isinstance(value, dict):
        return SeenValues(value, record, prefix)
    return [_seen(one, record, prefix) for one in value] if isinstance(value, list) else value


def record_parameters(monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record of what the handlers of all later requests look at, and of what is read about their bodies."""
    record = Record()

    def paused(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            before, record.paused = record.paused, True
            try:
                return work(*args, **more)
            finally:
                record.paused = before

        return run

    def access_of(operation: str, request: S3Request, principal: Principal, values: Any, **more: Any) -> Any:
        record.members |= FROM_ACCESS & values.keys()
        return real_access_of(operation, request, principal, values, **more)

    def parameters(door: S3Door, request: S3Request, operation: S3Operation, principal: Principal) -> Any:
        request.headers = SeenHeaders(request.headers, record)
        record.paused = False
        return real_parameters(door, request, operation, principal)

    def new_call(*args: Any, **more: Any) -> S3Call:
        made: S3Call = real_new_call(*args, **more)
        made.values = SeenValues(made.values, record)
        return made

    def answer(*args: Any) -> Any:
        try:
            return real_answer(*args)
        finally:
            record.paused = True

    real_parameters, real_new_call, real_answer = S3Door._parameters, door_module.new_call, S3Door._answer
    real_access_of = paused(call_module.access_of)
    monkeypatch.setattr(S3Door, "_parameters", parameters)
    monkeypatch.setattr(S3Door, "_answer", answer)
    monkeypatch.setattr(door_module, "read_parameters", paused(door_module.read_parameters))
    monkeypatch.setattr(door_module, "new_call", new_call)
    monkeypatch.setattr(call_module, "access_of", access_of)
    return record
