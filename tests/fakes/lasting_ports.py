"""Ports for servers that stop and start again on the same port."""

from __future__ import annotations

import itertools
import os
import random
import socket
from contextlib import ExitStack

FIRST, LAST = (32_384, 32_767) if os.environ.get("TESTS_BESIDE") else (32_000, 32_383)
"""Below the ports that the system gives to clients, one of which could take it meanwhile; above the clusters' own.
A ring that runs beside another one (`run_tests.sh`) has its own half."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Each worker of a test run has ports of its own: another's may be free just now, and needed again in a moment."""
_PORTS = list(range(FIRST + WORKER, LAST + 1, WORKERS))
random.SystemRandom().shuffle(_PORTS)
_in_turn = itertools.cycle(_PORTS)
"""A port that was returned a moment ago may not be in use yet, so it is the last to be returned again."""


def lasting_ports(count: int) -> list[int]:
    """Return `count` different free ports."""
    found: list[int] = []
    with ExitStack() as held:
        for port in itertools.islice(_in_turn, len(_PORTS)):
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"fewer than {count} free ports between {FIRST} and {LAST}")
