"""The API over a fake core, as the tests of its routes use it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from flask import Flask

from client_proxy.doors.rest import create_app
from lockstep_store.wire.messages.cluster import Health
from tests.fakes.documented import check_statuses
from tests.fakes.rest_core import TOKEN, FakeDirectory, FakeFiles
from tests.fakes.wsgi import Answer, ask

__all__ = ["BASE", "TOKEN", "Door", "clean_door", "make_door"]

BASE = "/api/v1/files/files/"
_HEALTHY = Health(True, "client_proxy", "1", "0.1.0")


@dataclass
class Door:
    """An application and the fakes behind it. `ask` sends a good token unless the headers say otherwise."""

    app: Flask
    files: FakeFiles
    directory: FakeDirectory
    health: list[Health] = field(default_factory=list)

    def ask(self, method: str, target: str, body: bytes = b"", **given: Any) -> Answer:
        headers = {"Authorization": f"Bearer {TOKEN}", **given.pop("headers", {})}
        return ask(self.app, method, target, body, headers=headers, **given)

    def post(self, target: str, message: Any, method: str = "POST", **given: Any) -> Answer:
        """Send `message` as JSON."""
        headers = {"Content-Type": "application/json", **given.pop("headers", {})}
        return self.ask(method, target, json.dumps(message).encode(), headers=headers, **given)


def clean_door(*, thin: bool = True) -> Door:
    """One door for all tests, its fakes as new: most of a test's time would go into making an application."""
    door = _one_door(thin)
    vars(door.files).update(vars(FakeFiles()))
    vars(door.directory).update(vars(FakeDirectory()))
    door.health[:] = [_HEALTHY]
    return door


@cache
def _one_door(thin: bool) -> Door:
    return make_door(thin=thin)


def make_door(*, thin: bool = True, max_waiting: int = 64) -> Door:
    files, directory = FakeFiles(), FakeDirectory()
    health = [_HEALTHY]
    app = create_app(
        files,
        directory,
        program_id="1",
        version="0.1.0",
        health=lambda: health[0],
        max_waiting=max_waiting,
        thin=thin,
    )
    check_statuses(app, lambda: _is_told_to_refuse(files, directory))
    return Door(app, files, directory, health)


def _is_told_to_refuse(files: FakeFiles, directory: FakeDirectory) -> bool:
    answers = directory.answers.values()
    return bool(files.error or files.read_error or any(isinstance(answer, Exception) for answer in answers))
