"""How many of the door's modules a small PUT passes through: a cost that comes back is seen here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

DOOR = "client_proxy.doors.s3"
MAX_MODULES = 23
MAX_RETURNS = 48
FEATURES = ("acls", "tagging", "object_lock", "object_encryption")
"""Modules that only a request with their headers needs."""


@contextmanager
def entered() -> Iterator[list[str]]:
    """The door's modules in the order in which the requests of the block enter them, on the requests' thread."""
    modules: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith(DOOR) and (not modules or modules[-1] != name):
            modules.append(name)

    sys.setprofile(note)
    try:
        yield modules
    finally:
        sys.setprofile(None)


def test_a_plain_put_passes_through_few_modules(s3: Any, bucket: str) -> None:
    """A PUT of 4 KiB to a plain bucket calls no parser of a feature it does not use, and goes back and forth little."""
    s3.put_object(Bucket=bucket, Key="first", Body=bytes(4096))  # builds what is kept for later requests
    with entered() as modules:
        s3.put_object(Bucket=bucket, Key="k", Body=bytes(4096))
    visited = set(modules)
    returns = sum(1 for place, (_, module) in enumerate(pairwise(modules), 1) if module in modules[:place])
    assert f"{DOOR}.objects.put_object" in visited
    assert not {name for name in visited if name.rpartition(".")[2] in FEATURES}
    assert len(visited) <= MAX_MODULES, sorted(visited)
    assert returns <= MAX_RETURNS, modules


def test_a_put_with_a_feature_calls_its_parser(s3: Any, bucket: str) -> None:
    """The count above sees a feature's module once a request has its header."""
    with entered() as modules:
        s3.put_object(Bucket=bucket, Key="k", Body=bytes(4096), Tagging="a=b")
    assert f"{DOOR}.objects.tagging" in modules
