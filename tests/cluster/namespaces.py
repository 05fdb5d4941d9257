"""Every program of a test cluster in a network namespace of its own, as if each had its own machine.

The namespaces hang on one bridge. What one says to another is lost by sending it to a hardware address that nobody
has: one way only, without a sign to either, until the kernel's own repeats get through again. It needs Linux, root and
the `ip` command (Debian: iproute2); `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_cluster.plan import ProgramPlan
from tests.cluster.placed_cluster import PlacedCluster, PlacedPlan, name_of, with_option
from tests.cluster.relay import Healing

NOBODY = "02:00:00:00:00:01"
PREFIX = "lockstep"
_numbers = itertools.count()
"""Not by chance: the kernel takes a moment to remove the links of the place before."""


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def why_not() -> str:
    """Why this machine cannot give programs namespaces of their own; empty when it can."""
    if shutil.which("ip") is None:
        return "there is no `ip` command (Debian package iproute2)"
    try:
        with NamespacePlace() as place:
            place._home("probe")
    except OSError as error:
        return f"this machine allows no network namespaces ({error})"
    return ""


class NamespacePlace:
    """Namespaces on a bridge of their own, with addresses 10.x.y.2 and on; the test itself is at 10.x.y.1."""

    def __init__(self) -> None:
        self._tag = f"{os.getpid():x}{next(_numbers):02x}"
        self._net = ""
        self._homes: dict[str, tuple[str, str, str]] = {}  # name: namespace, address, hardware address
        self._cuts: set[tuple[str, str, bool]] = set()

    @classmethod
    @contextlib.contextmanager
    def start(cls, tmp_path: Path, **options: Any) -> Iterator[PlacedCluster]:
        """A cluster of programs that each have their own namespace, with the options of PlacedCluster."""
        with ExitStack() as stack:
            place = stack.enter_context(cls())
            cluster = stack.enter_context(PlacedCluster(tmp_path, place, start_now=False, **options))
            cluster.start_all()
            yield cluster

    def __enter__(self) -> NamespacePlace:
        _remove_left_over()
        taken = _ip("-4", "route", "show")
        while not self._net or self._net in taken:
            self._net = f"10.{random.randrange(128, 250)}.{random.randrange(256)}."
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{self._net}1/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for namespace, _, _ in self._homes.values():
            with contextlib.suppress(OSError):
                _ip("netns", "del", namespace)
        with contextlib.suppress(OSError):
            _ip("link", "del", self._bridge)

    def placed(self, plan: ProgramPlan) -> ProgramPlan:
        """The program in its namespace, listening on its own address and calling the directory at the directory's."""
        namespace, address, _ = self._home(name_of(plan))
        command = with_option(plan.command, "--host", address)
        if plan.program != "directory_server":
            port = urlsplit(command[command.index("--directory") + 1]).port
            command = with_option(command, "--directory", f"https://{self._home('directory_server-1')[1]}:{port}")
        if plan.program == "client_proxy":
            command = with_option(command, "--name", address)
        values = {field.name: getattr(plan, field.name) for field in fields(ProgramPlan)}
        values["command"] = ("ip", "netns", "exec", namespace, *command)
        return PlacedPlan(**values, own_url=f"https://{address}:{plan.port}")

    def cut(self, sender: str, receiver: str, *, refuse: bool = False) -> None:
        """Lose what `sender` sends to `receiver`; with `refuse` it is told at once that there is no way."""
        namespace, _, _ = self._homes[sender]
        _, address, _ = self._homes[receiver]
        if refuse:
            _ip("-n", namespace, "route", "replace", "unreachable", f"{address}/32")
        else:
            _ip("-n", namespace, "neigh", "replace", address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
        self._cuts.add((sender, receiver, refuse))

    def heal(self, healing: Healing = "late") -> None:
        """Let everything through again; connections go on where they were."""
        for sender, receiver, refuse in sorted(self._cuts):
            namespace, _, _ = self._homes[sender]
            _, address, hardware = self._homes[receiver]
            if refuse:
                _ip("-n", namespace, "route", "del", "unreachable", f"{address}/32")
            else:
                _ip("-n", namespace, "neigh", "replace", address, "lladdr", hardware, "dev", "eth0", "nud", "reachable")
        self._cuts.clear()

    @property
    def _bridge(self) -> str:
        return f"ls{self._tag}"[:15]

    def _home(self, name: str) -> tuple[str, str, str]:
        """The namespace, address and hardware address of a program, made when it is first asked for."""
        if name not in self._homes:
            number = len(self._homes) + 2
            namespace, address = f"{PREFIX}-{os.getpid()}-{self._tag}-{number}", f"{self._net}{number}"
            hardware = f"02:10:00:00:00:{number:02x}"
            outside = f"ls{self._tag}n{number:x}"[:15]
            _ip("netns", "add", namespace)
            self._homes[name] = (namespace, address, hardware)
            _ip(
                *("link", "add", outside, "type", "veth"),
                *("peer", "name", "eth0", "address", hardware, "netns", namespace),
            )
            _ip("link", "set", outside, "master", self._bridge, "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        return self._homes[name]


def _remove_left_over() -> None:
    """Namespaces of test runs that were killed."""
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0] if line else ""
        prefix, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                _ip("netns", "del", name)
