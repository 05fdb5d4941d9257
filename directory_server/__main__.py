"""`python -m directory_server`: options, then start, serve, stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from directory_server.bootstrap import serve
from directory_server.settings import Settings
from wire.errors import LockstepError

_DEFAULTS = Settings()
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _https_url(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        address = urlsplit(value)
        if address.scheme != "https" or not address.hostname:
            raise click.BadParameter(f"{value!r} is not an https:// address", param=parameter)
    return value


@click.command("directory_server", context_settings={"auto_envvar_prefix": "LOCKSTEP_DIRECTORY", "show_default": True})
@click.option("--host", default=_DEFAULTS.host, show_envvar=True, help="Address to listen on.")
@click.option("--port", default=_DEFAULTS.port, type=click.IntRange(1, 65535), show_envvar=True, help="Port.")
@click.option("--data", default=_DEFAULTS.data, type=_FOLDER, show_envvar=True, help="Folder for the metadata.")
@click.option(
    "--certs",
    default=_DEFAULTS.certs,
    type=_FOLDER,
    show_envvar=True,
    help="Folder with the cluster's authority, certificates and storage keys; made at the first start.",
)
@click.option(
    "--copies",
    default=_DEFAULTS.copies,
    type=click.IntRange(1, 16),
    show_envvar=True,
    help="Copies of every file, each on another file server, that a write has before it is acknowledged.",
)
@click.option(
    "--admin-credentials",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    show_default="admin-credentials.json beside the data folder",
    help="File that the first administrator's credentials are written to.",
)
@click.option(
    "--registration",
    default=_DEFAULTS.registration,
    type=click.Choice(["open", "closed"]),
    show_envvar=True,
    help="Whether a log-in with a new name makes the account.",
)
@click.option(
    "--advertise",
    callback=_https_url,
    show_envvar=True,
    show_default="https://HOST:PORT",
    help="The address that programs on other machines reach this one at.",
)
@click.option(
    "--token-seconds",
    default=_DEFAULTS.token_seconds,
    type=click.FloatRange(60),
    show_envvar=True,
    help="How long a log-in lasts.",
)
@click.option(
    "--ticket-seconds",
    default=_DEFAULTS.ticket_seconds,
    type=click.FloatRange(10),
    show_envvar=True,
    help="How long one write may take.",
)
@click.option(
    "--heartbeat-seconds",
    default=_DEFAULTS.heartbeat_seconds,
    type=click.FloatRange(0.05, 60),
    show_envvar=True,
    help="How often file servers say that they are there.",
)
@click.option(
    "--suspect-seconds",
    default=_DEFAULTS.suspect_seconds,
    type=click.FloatRange(0.1),
    show_envvar=True,
    help="Silence after which a file server is given no new writes.",
)
@click.option(
    "--down-seconds",
    default=_DEFAULTS.down_seconds,
    type=click.FloatRange(0.1),
    show_envvar=True,
    help="Silence after which a file server counts as down.",
)
@click.option(
    "--repair-grace-seconds",
    default=_DEFAULTS.repair_grace_seconds,
    type=click.FloatRange(0),
    show_envvar=True,
    help="How long a file server may be down before its files are copied again.",
)
@click.option(
    "--threads",
    default=_DEFAULTS.threads,
    type=click.IntRange(8, 1024),
    show_envvar=True,
    help="Calls that are worked on at a time.",
)
@click.option(
    "--log-level",
    default=_DEFAULTS.log_level,
    type=click.Choice(["debug", "info", "warning", "error"]),
    show_envvar=True,
    help="What is logged to standard error.",
)
def main(**options: Any) -> None:
    """Run the directory server: where every file is, which version is current, and who holds its lock."""
    try:
        serve(Settings(**options))
    except LockstepError as error:
        click.echo(f"directory_server: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m directory_server")
