"""No secret shows in the repr of a message, and so in no log line that has one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from client_proxy.core.requests import PathRequest
from lockstep_store.wire import messages
from lockstep_store.wire.messages.base import FrozenMessage, Message
from lockstep_store.wire.messages.people import PasswordRequest
from lockstep_store.wire.messages.s3 import S3Proof
from lockstep_store.wire.secret_members import HIDDEN, is_hidden

LOOKS_SECRET = re.compile(r"credential|password|secret|token|signature|proof|ticket|key|code")
NOT_SECRET = {
    *(
        "access_key_id",
        "api_keys",
        "has_password",
        "has_token",
        "key_id",
        "keys",
        "s3_keys",
        "storage_keys",
        "ticket_key_id",
    ),
    *("data_key", "has_password", "recovery_codes_left"),
}
"""Ids, flags and lists; what a `data_key` has inside is hidden there."""


def _all_below(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from _all_below(below)


def _shapes() -> list[Any]:
    for module in pkgutil.iter_modules(messages.__path__):
        importlib.import_module(f"{messages.__name__}.{module.name}")
    below = {shape for base in (Message, FrozenMessage, PathRequest) for shape in _all_below(base)}
    named = [shape for shape in below if shape.__module__.startswith(("lockstep_store.", "client_proxy."))]
    return [*sorted(named, key=lambda shape: shape.__qualname__), S3Proof]


def _members(shape: Any) -> tuple[str, ...]:
    return shape._fields if issubclass(shape, tuple) else shape.__struct_fields__


@pytest.mark.parametrize("shape", _shapes(), ids=lambda shape: shape.__qualname__)
def test_secrets_stay_out_of_repr(shape: Any) -> None:
    """Each message shows its other members, so a log line still says which call it was."""
    message = shape(**{name: f"value of {name}!" for name in _members(shape)})
    shown = repr(message)
    assert shown.startswith(f"{shape.__name__}(")
    for name in _members(shape):
        assert (f"value of {name}!" in shown) == (not is_hidden(shape, name)), shown


@pytest.mark.parametrize("shape", _shapes(), ids=lambda shape: shape.__qualname__)
def test_a_member_that_looks_like_a_secret_is_hidden(shape: Any) -> None:
    """A new member with such a name is either hidden, or known here to be harmless."""
    suspicious = {name for name in _members(shape) if LOOKS_SECRET.search(name)}
    assert suspicious - HIDDEN - NOT_SECRET == set()


def test_there_is_a_secret_to_hide() -> None:
    """A member that is not set shows as such, and a message inside another one hides its secret too."""
    login = PasswordRequest("ada", "correct horse")
    assert repr(login).startswith("PasswordRequest(name='ada', password=…")
    assert "correct horse" not in repr([login])
    assert "password=''" in repr(PasswordRequest("ada", ""))


def test_every_shape_on_the_wire_is_a_message() -> None:
    """A plain struct among the messages would show its secrets."""
    shapes = set(_shapes()) | {Message, FrozenMessage}
    for module in pkgutil.iter_modules(messages.__path__):
        for found in vars(importlib.import_module(f"{messages.__name__}.{module.name}")).values():
            if isinstance(found, type) and issubclass(found, msgspec.Struct) and found.__name__ != "Problem":
                assert found in shapes or found is msgspec.Struct, found
