"""Commands that start programs: serve, menu; and completion."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import get_completion_class

from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.local_storage import DEFAULT_FOLDER, FOLDER_VARIABLE
from lockstep_store.wire.errors import BadRequest, SetupError

PROGRAMS = {"directory": "directory_server", "file-server": "file_server", "proxy": "client_proxy"}


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "help_option_names": [],
        "allow_interspersed_args": False,
    }
)
@click.argument("program", metavar="directory|file-server|proxy", required=False)
@click.argument("arguments", metavar="[OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
def serve(program: str | None, arguments: tuple[str, ...]) -> None:
    """Run one of the three programs on this machine.

    OPTIONS are the program's own; `lockstep serve proxy --help` lists them.
    """
    if program in ("--help", "-h"):
        click.echo(click.get_current_context().get_help())
        return
    if program not in PROGRAMS:
        raise click.UsageError(f"name the program to serve: {', '.join(PROGRAMS)}")
    _become(PROGRAMS[program], arguments)


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "help_option_names": [],
        "allow_interspersed_args": False,
    }
)
@click.argument("arguments", metavar="[OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
def cluster(arguments: tuple[str, ...]) -> None:
    """Start, show or stop a whole cluster on this machine.

    The same as `./run_cluster.sh` of a checkout; `lockstep cluster --help` lists the options.
    """
    _become("local_cluster", arguments)


def _become(module: str, arguments: tuple[str, ...]) -> NoReturn:
    sys.stdout.flush()
    try:
        # -P: never import from the user's current folder.
        os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606
    except OSError as error:
        raise SetupError(f"{sys.executable} cannot be started ({error.strerror}): install Lockstep again") from error


@click.command(cls=Command)
@click.option(
    "--local-storage",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FOLDER_VARIABLE,
    default=Path(DEFAULT_FOLDER),
    show_default=True,
    help="The folder for uploads and downloads.",
)
@pass_app
def menu(app: App, local_storage: Path) -> None:
    """Open the numbered menu, which asks you to log in."""
    from lockstep_store.client.menu import run_menu  # here, so that every other command starts without it

    if app.json:
        raise BadRequest("the menu has no JSON output: leave out --json")
    place = app.place(cluster_first=True)
    click.get_current_context().exit(run_menu(place.url, place.ca_file, local_storage, sys.stdin, sys.stdout))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for your shell.

    It completes commands, options and remote names.

    \b
    bash:  lockstep completion bash > ~/.lockstep-completion && echo '. ~/.lockstep-completion' >> ~/.bashrc
    zsh:   lockstep completion zsh > ~/.lockstep-completion && echo '. ~/.lockstep-completion' >> ~/.zshrc
    fish:  lockstep completion fish > ~/.config/fish/completions/lockstep.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"completion does not support {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "lockstep", "_LOCKSTEP_COMPLETE").source())
