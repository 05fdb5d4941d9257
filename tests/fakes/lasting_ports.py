"""Ports for servers that stop and start again on the same port."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack

FIRST, LAST = 32_000, 32_767
"""Below the ports that the system gives to clients, one of which could take it meanwhile; above the clusters' own."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Each worker of a test run has ports of its own: another's may be free just now, and needed again in a moment."""


def lasting_ports(count: int) -> list[int]:
    """Return `count` different free ports."""
    candidates = list(range(FIRST + WORKER, LAST + 1, WORKERS))
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    with ExitStack() as held:
        for port in candidates:
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"fewer than {count} free ports between {FIRST} and {LAST}")
