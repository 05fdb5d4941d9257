"""`python -m file_server`: options, then start, serve, stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from file_server.settings import Settings
from lockstep_store.runtime.log_output import log_options, log_settings, say_last
from lockstep_store.runtime.memory import collector_paused
from lockstep_store.runtime.options import directory_urls, https_url
from lockstep_store.runtime.storage.permissions import cannot_use
from lockstep_store.wire.errors import LockstepError

_DEFAULTS = Settings()


@click.command("file_server", context_settings={"auto_envvar_prefix": "LOCKSTEP_FILE_SERVER", "show_default": True})
@click.option("--id", default=_DEFAULTS.id, show_envvar=True, help="This file server's id in the cluster.")
@click.option("--host", default=_DEFAULTS.host, show_envvar=True, help="Address to listen on.")
@click.option("--port", default=_DEFAULTS.port, type=click.IntRange(1, 65535), show_envvar=True, help="Port.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    show_envvar=True,
    show_default=".cluster/file_server-ID",
    help="Folder for the stored chunks.",
)
@click.option(
    "--certs",
    default=_DEFAULTS.certs,
    type=click.Path(file_okay=False, path_type=Path),
    show_envvar=True,
    help="Folder with the cluster's certificates and storage keys.",
)
@click.option(
    "--key-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="File whose first line is the passphrase that protects the storage keys in --certs.",
)
@click.option(
    "--directory",
    default=_DEFAULTS.directory,
    callback=directory_urls,
    show_envvar=True,
    help="The directory server; with standbys, the addresses of all, separated by commas.",
)
@click.option(
    "--advertise",
    callback=https_url,
    show_envvar=True,
    show_default="https://HOST:PORT",
    help="The address at which other programs reach this one.",
)
@click.option("--zone", default="", show_envvar=True, help="Copies of a file go to different zones where possible.")
@click.option(
    "--threads",
    default=_DEFAULTS.threads,
    type=click.IntRange(4, 1024),
    show_envvar=True,
    help="Requests of proxies handled at a time.",
)
@click.option(
    "--reserve-bytes",
    default=_DEFAULTS.reserve_bytes,
    type=click.IntRange(0),
    show_envvar=True,
    help="Disk space that new data never uses.",
)
@click.option(
    "--grace-seconds",
    default=_DEFAULTS.grace_seconds,
    type=click.FloatRange(1),
    show_envvar=True,
    help="How long unused data is kept. Must be longer than any write takes.",
)
@click.option(
    "--scrub-pause-factor",
    default=_DEFAULTS.scrub_pause_factor,
    type=click.FloatRange(0),
    show_envvar=True,
    help="Seconds that the scrubber sleeps for each second of work.",
)
@click.option(
    "--scrub-round-seconds",
    default=_DEFAULTS.scrub_round_seconds,
    type=click.FloatRange(1),
    show_envvar=True,
    help="Pause after the scrubber has checked everything once.",
)
@click.option(
    "--redo-bytes",
    default=_DEFAULTS.redo_bytes,
    type=click.IntRange(1 << 20),
    show_envvar=True,
    help="Bytes of the directory's redo records kept for a restore; the oldest are removed first.",
)
@click.option(
    "--quarantine-bytes",
    default=_DEFAULTS.quarantine_bytes,
    type=click.IntRange(0),
    show_envvar=True,
    help="Bytes of damaged chunks kept for inspection; the oldest are removed first.",
)
@click.option(
    "--quarantine-seconds",
    default=_DEFAULTS.quarantine_seconds,
    type=click.FloatRange(0),
    show_envvar=True,
    help="How long damaged chunks are kept for inspection.",
)
@click.option(
    "--inventory-seconds",
    default=_DEFAULTS.inventory_seconds,
    type=click.FloatRange(1),
    show_envvar=True,
    help="How often the stored blobs are compared with the directory's records; also after each start.",
)
@log_options("LOCKSTEP_FILE_SERVER_")
def main(**options: Any) -> None:
    """Run a file server: it stores sealed chunks and sends every write to its replicas."""
    with collector_paused():
        from file_server.bootstrap import serve
    try:
        serve(Settings(log=log_settings(options), **options))
    except LockstepError as error:
        say_last(f"file_server {options['id']}: {error}")
        sys.exit(1)
    except OSError as error:
        say_last(f"file_server {options['id']}: {cannot_use(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="lockstep serve file-server")
