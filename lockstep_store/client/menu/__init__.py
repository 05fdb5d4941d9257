"""The numbered menu, at a terminal or through a pipe.

It is a plain client of the proxy's HTTPS API, so several people can use one proxy. `terminal` reads and prints lines,
`session` logs in and reads requests, and the other modules carry them out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.client import Client
from lockstep_store.client.local_storage import LocalStorage
from lockstep_store.client.menu.session import Session
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.wire.errors import LockstepError

CANNOT_START = 8


def run_menu(
    url: str,
    ca_file: Path | None,
    local_storage: Path | None = None,
    input: TextIO | None = None,
    output: TextIO | None = None,
) -> int:
    """Serve one person until they log out or the input ends. Returns the exit code (see `lockstep --help`).

    `url` is the proxy, `ca_file` the CA to trust, `local_storage` the folder for uploads and downloads (default:
    `LOCKSTEP_LOCAL_STORAGE`, else `./local_storage`). `input` and `output` default to the process's own. Errors are
    printed, not raised, and the menu continues.
    """
    terminal = Terminal(input or sys.stdin, output or sys.stdout)
    storage = LocalStorage(local_storage) if local_storage else LocalStorage.default()
    try:
        api = Client(ApiTransport(url, ca_file))
    except LockstepError as error:
        terminal.say(f"The menu cannot start: {error}")
        return CANNOT_START
    try:
        return Session(api, storage, terminal).run()
    except BrokenPipeError:
        return 0  # whoever read our output has left
    finally:
        api.close()


__all__ = ["run_menu"]
