"""`python -m directory_server`: options, then start, serve, stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from directory_server.defaults import Requirement
from directory_server.settings import Settings
from lockstep_store.runtime.log_output import log_options, log_settings, say_last
from lockstep_store.runtime.memory import collector_paused
from lockstep_store.runtime.options import https_url
from lockstep_store.runtime.storage.permissions import cannot_use
from lockstep_store.wire.errors import LockstepError, SetupError

_DEFAULTS = Settings()
_AFTER_RESTORE = "earlier locks, log-ins and tickets are void. Start the directory, then see `lockstep recover`."
_FOLDER = click.Path(file_okay=False, path_type=Path)


_data_option = click.option(
    "--data",
    default=_DEFAULTS.data,
    type=_FOLDER,
    envvar="LOCKSTEP_DIRECTORY_DATA",
    show_envvar=True,
    show_default=True,
    help="Folder with the metadata.",
)


def _database(_: click.Context, __: click.Parameter, address: str) -> str:
    if address and not address.startswith(("postgresql://", "postgres://")):
        raise click.BadParameter("give the address of a PostgreSQL database, such as postgresql://host/name")
    return address


_metadata_option = click.option(
    "--metadata",
    default="",
    callback=_database,
    metavar="postgresql://…",
    envvar="LOCKSTEP_DIRECTORY_METADATA",
    show_envvar=True,
    show_default="a file in --data",
    help="PostgreSQL database with the metadata.",
)


@click.group(
    "directory_server",
    context_settings={"auto_envvar_prefix": "LOCKSTEP_DIRECTORY", "show_default": True},
    invoke_without_command=True,
)
@click.option(
    "--id", default=_DEFAULTS.id, show_envvar=True, help="Id of this directory server, in the name of its certificate."
)
@click.option("--host", default=_DEFAULTS.host, show_envvar=True, help="Address to listen on.")
@click.option("--port", default=_DEFAULTS.port, type=click.IntRange(1, 65535), show_envvar=True, help="Port.")
@click.option("--data", default=_DEFAULTS.data, type=_FOLDER, show_envvar=True, help="Folder for the metadata.")
@_metadata_option
@click.option(
    "--certs",
    default=_DEFAULTS.certs,
    type=_FOLDER,
    show_envvar=True,
    help="Folder with the cluster's authority, certificates and storage keys; made at the first start.",
)
@click.option(
    "--key-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="File whose first line is the passphrase that protects the storage keys in --certs.",
)
@click.option(
    "--new-metadata",
    is_flag=True,
    show_envvar=True,
    help="Start with empty metadata although --certs has a cluster's authority: for one start, if it is lost for good.",
)
@click.option(
    "--copies",
    default=_DEFAULTS.copies,
    type=click.IntRange(1, 16),
    show_envvar=True,
    help="Copies of every file, on different file servers, before a write is acknowledged.",
)
@click.option(
    "--admin-credentials",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    show_default="admin-credentials.json beside the data folder",
    help="File for the first administrator's credentials.",
)
@click.option(
    "--registration",
    default=_DEFAULTS.registration,
    type=click.Choice(["auto", "open", "closed"]),
    show_envvar=True,
    help="Whether logging in with a new name creates the account; auto: only if the directory and the proxy in use "
    "listen on loopback.",
)
@click.option(
    "--require-second-factor",
    default=_DEFAULTS.require_second_factor,
    type=click.Choice(get_args(Requirement)),
    show_envvar=True,
    help="Who needs a second factor to log in. `lockstep users require-mfa` requires it of individual accounts.",
)
@click.option(
    "--private-buckets/--no-private-buckets",
    default=_DEFAULTS.private_buckets,
    show_envvar=True,
    help="Whether new buckets have access control lists disabled and public access blocked.",
)
@click.option(
    "--advertise",
    callback=https_url,
    show_envvar=True,
    show_default="https://HOST:PORT",
    help="Address at which programs on other machines reach this one.",
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
    help="How often file servers send a heartbeat.",
)
@click.option(
    "--suspect-seconds",
    default=_DEFAULTS.suspect_seconds,
    type=click.FloatRange(0.1),
    show_envvar=True,
    help="Silence after which a file server gets no new writes.",
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
    "--lifecycle-day-seconds",
    default=_DEFAULTS.lifecycle_day_seconds,
    type=click.FloatRange(1),
    show_envvar=True,
    help="Length of a day in lifecycles; other lengths are for tests.",
)
@click.option(
    "--threads",
    default=_DEFAULTS.threads,
    type=click.IntRange(8, 1024),
    show_envvar=True,
    help="Calls handled at a time on behalf of people.",
)
@log_options("LOCKSTEP_DIRECTORY_")
@click.pass_context
def main(ctx: click.Context, /, **options: Any) -> None:
    """Run the directory server, which knows where files are, their current versions and locks."""
    if ctx.invoked_subcommand is not None:
        return
    with collector_paused():
        from directory_server.serving import serve
    with _one_sentence():
        serve(Settings(log=log_settings(options), **options))


@main.command("restore")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_data_option
@_metadata_option
@click.option("--replace", is_flag=True, help="Replace existing metadata, which is kept aside.")
@click.option("--accept-older", is_flag=True, help="Instead of a FILE: go on from the metadata that is there.")
def restore_backup(file: Path | None, data: Path, metadata: str, replace: bool, accept_older: bool) -> None:
    """Restore a stopped directory from the backup FILE, which may be the folder of a continuous backup.

    Nothing is changed unless the backup is intact. Then start the directory: it recovers what file servers committed
    after the backup, and `lockstep recover` shows the progress. --accept-older does the same with the metadata in
    place, when the directory refuses all calls because its file servers' records are newer.
    """
    if (file is None) != accept_older or (accept_older and replace):
        raise click.UsageError("give either a backup FILE or --accept-older")
    from directory_server.maintenance import restore as restoring

    with _one_sentence():
        settings = Settings(data=data)
        if metadata:
            _restore_database(metadata, file)
            return
        if file is None:
            kept: Path | None = restoring.accept_older(settings.metadata_file)
            click.echo(f"the metadata in {data} is accepted as it is")
        else:
            info, kept = restoring.restore(file, settings.metadata_file, replace=replace)
            made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(info.made_at))
            click.echo(
                f"restored {info.files} files, {info.versions} versions, as of change {info.cursor}, {made}, to {data}"
            )
        if kept is not None:
            click.echo(f"the previous metadata is kept as {kept}")
        click.echo(_AFTER_RESTORE)


def _restore_database(address: str, file: Path | None) -> None:
    from directory_server.maintenance.restore import accept_older_database
    from directory_server.metadata.engines.chosen import stopped_database

    if file is not None:
        raise SetupError(
            f"{file} cannot be restored to PostgreSQL: restore the database with PostgreSQL's own tools, then run "
            "`lockstep restore --accept-older --metadata ADDRESS` (docs/postgresql.md)"
        )
    database = stopped_database(address)
    accept_older_database(database)
    click.echo(f"the metadata in {database} is accepted as it is")
    click.echo(_AFTER_RESTORE)


@main.command("fsck")
@_data_option
@_metadata_option
def check_offline(data: Path, metadata: str) -> None:
    """Check the metadata of a stopped directory, without the file servers."""
    from directory_server.maintenance.fsck import check_metadata
    from directory_server.metadata.engines.chosen import open_metadata, place_of

    with _one_sentence():
        settings = Settings(data=data)
        place = place_of(settings.metadata_file, metadata)
        is_there = place.exists() if isinstance(place, Path) else not place.is_empty()
        if not is_there:
            raise SetupError(f"there is no metadata in {place}; name the directory's with --data or --metadata")
        store = open_metadata(settings.metadata_file, metadata)
        try:
            counts, problems, more = check_metadata(store)
        finally:
            store.close()
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    for problem in problems:
        click.echo(f"{problem.kind}: {problem.name}: {problem.detail}")
    if problems:
        click.echo(f"directory_server: {len(problems) + more} inconsistencies found", err=True)
        sys.exit(1)
    click.echo("the metadata is consistent")


@main.command("move-metadata")
@_data_option
@_metadata_option
def move_to_database(data: Path, metadata: str) -> None:
    """Copy the metadata of a stopped directory from its file in --data to the empty database --metadata.

    All or nothing; every row is compared. The file stays. Then start the directory with --metadata.
    """
    if not metadata:
        raise click.UsageError("give the address of an empty PostgreSQL database with --metadata")
    from directory_server.maintenance.move_metadata import move_metadata
    from directory_server.metadata.engines.chosen import stopped_database

    with _one_sentence():
        file, database = Settings(data=data).metadata_file, stopped_database(metadata)
        rows = move_metadata(file, database)
    click.echo(", ".join(f"{count} {name}" for name, count in rows.items() if count))
    click.echo(f"moved to {database}, and every row compared. Start the directory with --metadata from now on.")
    click.echo(f"{file} is no longer current: keep it until you have a backup of the database, then delete it.")


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Print an error as one sentence and exit with 1."""
    try:
        yield
    except LockstepError as error:
        say_last(f"directory_server: {error}")
        sys.exit(1)
    except OSError as error:
        say_last(f"directory_server: {cannot_use(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="lockstep serve directory")
