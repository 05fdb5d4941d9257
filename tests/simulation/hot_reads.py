"""People who read one path often, which gets it a read lease, and what they see of rights that change meanwhile.

An account's rights have a history like a file's: written by who changes them, read by who uses them. So the checker
judges both.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from lockstep_store.wire.errors import NotLoggedIn, Unavailable
from lockstep_store.wire.messages.users import CHANGE_USER, ChangeUserRequest
from tests.linearizability import Operation, Outcome
from tests.simulation.network import Machine
from tests.simulation.nodes import GUEST

if TYPE_CHECKING:
    from tests.simulation.clients import Crowd

RIGHTS = "rights of the guest"
ALLOWED, FORBIDDEN = "allowed", "forbidden"
PATIENCE_SECONDS = 45.0


def first_right(now: float) -> Operation:
    """The guest may read at first."""
    return Operation("administrator", "write", RIGHTS, now, now, Outcome.OK, ALLOWED)


class HotReads:
    """What one person does; `counter` is a path beside the crowd's own."""

    def __init__(self, crowd: Crowd, name: str, random: Random, counter: str) -> None:
        self._crowd = crowd
        self._world = crowd.world
        self._name = name
        self._random = random
        self._paths = [*crowd.paths, counter]

    def read_often(self) -> None:
        """Read one path through one proxy in quick succession."""
        path, proxy = self._random.choice(self._paths), self._random.choice(self._world.proxies)
        for _ in range(self._random.choice([3, 6, 30])):
            self._crowd.read(self._name, proxy, path)
            self._pause()

    def read_as_guest(self) -> None:
        """The same with the key of an account that may be disabled."""
        path, proxy = self._random.choice(self._paths), self._random.choice(self._world.proxies)
        for _ in range(self._random.choice([3, 6, 30])):
            self._read_as_guest(path, proxy)
            self._pause()

    def _read_as_guest(self, path: str, proxy: Machine) -> None:
        called = self._world.scheduler.now
        try:
            self._crowd.read(GUEST, proxy, path)
        except NotLoggedIn:
            seen = FORBIDDEN
        else:
            seen = ALLOWED
        now = self._world.scheduler.now
        self._crowd.note(Operation(GUEST, "read", RIGHTS, called, now, Outcome.OK, seen, note=proxy.name))

    def admit_or_disable(self) -> None:
        """As the administrator, enable or disable the guest's account."""
        disabled = self._random.random() < 0.5
        request = ChangeUserRequest(self._world.administrator, GUEST, disabled=disabled)
        proxy, called = self._random.choice(self._world.proxies), self._world.scheduler.now
        outcome, note = Outcome.OK, ""
        try:
            self._world.ask(proxy, lambda _, directory: directory.call(CHANGE_USER, request), PATIENCE_SECONDS)
        except Unavailable as error:
            outcome, note = Outcome.UNKNOWN, str(error)
        value, now = FORBIDDEN if disabled else ALLOWED, self._world.scheduler.now
        self._crowd.note(Operation("administrator", "write", RIGHTS, called, now, outcome, value, note=note))

    def _pause(self) -> None:
        self._world.scheduler.sleep(self._random.expovariate(8.0))
