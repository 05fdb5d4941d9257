"""Starting things: serve (the three programs), menu, completion."""

from __future__ import annotations

import os
import sys
from pathlib import Path

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
    """Run one of the three programs here: serve directory, serve file-server, serve proxy.

    OPTIONS are the program's own; `lockstep serve proxy --help` lists them. It is `python -m client_proxy` and so on.
    """
    if program in ("--help", "-h"):
        click.echo(click.get_current_context().get_help())
        return
    if program not in PROGRAMS:
        raise click.UsageError(f"name the program to serve: {', '.join(PROGRAMS)}")
    sys.stdout.flush()
    try:
        os.execv(sys.executable, [sys.executable, "-m", PROGRAMS[program], *arguments])  # noqa: S606
    except OSError as error:
        raise SetupError(f"{sys.executable} cannot be started ({error.strerror}): install Lockstep again") from error


@click.command(cls=Command)
@click.option(
    "--local-storage",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FOLDER_VARIABLE,
    default=Path(DEFAULT_FOLDER),
    show_default=True,
    help="The folder that files come from and go to.",
)
@pass_app
def menu(app: App, local_storage: Path) -> None:
    """Open the numbered menu. It asks for a log-in of its own."""
    from lockstep_store.client.menu import run_menu  # here, so that every other command starts without it

    if app.json:
        raise BadRequest("the menu is for people: leave out --json")
    place = app.place(cluster_first=True)
    click.get_current_context().exit(run_menu(place.url, place.ca_file, local_storage, sys.stdin, sys.stdout))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and remote names.

    \b
    bash:  lockstep completion bash > ~/.lockstep-completion && echo '. ~/.lockstep-completion' >> ~/.bashrc
    zsh:   lockstep completion zsh > ~/.lockstep-completion && echo '. ~/.lockstep-completion' >> ~/.zshrc
    fish:  lockstep completion fish > ~/.config/fish/completions/lockstep.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "lockstep", "_LOCKSTEP_COMPLETE").source())
