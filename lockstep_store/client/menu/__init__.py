"""The numbered menu, at a terminal or through a pipe.

It is a client of the proxy's HTTPS API and nothing else, so several people can use one proxy. `terminal` reads and
writes, `session` logs in and takes requests, the other files do what is asked for.
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
    """Serve one person until they log out, leave or their input ends; the exit code (see `lockstep --help`).

    `url` is the proxy's, `ca_file` the authority to trust there, `local_storage` the folder that files come from and
    go to (by default `LOCKSTEP_LOCAL_STORAGE`, else `./local_storage`), `input` and `output` by default our own.
    Nothing is raised for what goes wrong: it is said, and the next request is taken.
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
