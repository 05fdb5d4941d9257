"""`python -m client_proxy`: runs one proxy, with the numbered menu if there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from client_proxy.settings import Settings, from_options, proxy_options
from lockstep_store.runtime.log_output import say_last
from lockstep_store.runtime.memory import collector_paused
from lockstep_store.runtime.storage.permissions import cannot_use
from lockstep_store.wire.errors import LockstepError, SetupError

EXIT_SETUP = 3


@click.command(context_settings={"max_content_width": 100})
@proxy_options
def main(**options: Any) -> None:
    """Run a Lockstep client proxy, through which people and programs use the cluster's files."""
    settings = from_options(**options)
    with collector_paused():
        from client_proxy.bootstrap import serve, serve_with_menu
    try:
        if settings.menu:
            sys.exit(serve_with_menu(settings, _menu_of(settings)))
        serve(settings)
    except SetupError as error:
        say_last(f"client proxy {settings.id} cannot start: {error}")
        sys.exit(EXIT_SETUP)
    except LockstepError as error:
        say_last(f"client proxy {settings.id} stopped: {error}")
        sys.exit(1)
    except OSError as error:
        say_last(f"client proxy {settings.id} cannot start: {cannot_use(error)}")
        sys.exit(EXIT_SETUP)


def _menu_of(settings: Settings) -> Callable[[str, Path], int]:
    def menu(url: str, ca_file: Path) -> int:
        from lockstep_store.client.menu import run_menu  # loaded only when there is a terminal

        return run_menu(url, ca_file, settings.local_storage, sys.stdin, sys.stdout)

    return menu


if __name__ == "__main__":
    main(prog_name="lockstep serve proxy")
