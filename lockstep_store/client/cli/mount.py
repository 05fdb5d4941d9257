"""Commands that show a bucket as a folder of this machine: mount, unmount."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import click

from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.local_storage import local_problem, make_private
from lockstep_store.client.mount.chunk_cache import ChunkCache
from lockstep_store.client.mount.unsaved import Unsaved
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.names import FILES_BUCKET

CACHE_MIB = 1024
LOCK_WAIT_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
START_SECONDS = 60.0
LOOK_SECONDS = 0.02


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("name", required=False, type=NameType(empty=True))
@click.option("--writable", is_flag=True, help="Let programs also change the files.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 60),
    default=LOCK_WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="With --writable: how long opening a file waits for the lock that somebody else holds.",
)
@click.option(
    "--timeout",
    "patience_seconds",
    type=click.FloatRange(1, 600),
    default=PATIENCE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long programs wait for a proxy that does not answer.",
)
@click.option(
    "--foreground", is_flag=True, help="Stay in the foreground until Ctrl-C, and write the log to the terminal."
)
@click.option(
    "--cache-size",
    "cache_mib",
    type=click.IntRange(min=8),
    default=CACHE_MIB,
    show_default=True,
    metavar="MIB",
    help="How much of what was read is kept on this machine's disk.",
)
@pass_app
def mount(
    app: App,
    folder: Path,
    name: Name | None,
    writable: bool,
    wait_seconds: float,
    patience_seconds: float,
    foreground: bool,
    cache_mib: int,
) -> None:
    """Show the cluster's files in FOLDER, for every program of this machine.

    Shows the bucket `files`, or the bucket or folder that NAME names (`album:`, `plans`, `album:2026`). FOLDER is
    created if it does not exist, and must be empty. Ends with `lockstep unmount FOLDER`.
    """
    from lockstep_store.client.mount import kernel, mounted_folder

    kernel.check_usable()
    source = name or Name(FILES_BUCKET, "")
    prefix = f"{source.path.rstrip('/')}/" if source.path else ""
    place = _mount_point(folder)
    api = mounted_folder.impatient(app.api().transport, patience_seconds)
    mounted_folder.check_source(api, source.bucket, prefix)
    own = mounted_folder.cache_folder(app.environment, place)
    unsaved = mounted_folder.state_folder(app.environment, place)
    if not foreground:
        options = [
            "--cache-size",
            str(cache_mib),
            "--timeout",
            str(patience_seconds),
            *(["--writable", "--wait", str(wait_seconds)] if writable else []),
        ]
        _start_in_background(app, place, source, options, own / "log")
        shown = str(source) if source.path else f"the bucket {source.bucket}"
        app.show(f"mounted {shown} at {place}: unmount it with `lockstep unmount {folder}`", {"folder": str(place)})
        return
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        cache = ChunkCache(own / "chunks", cache_mib * 1024 * 1024)
        writing = mounted_folder.HowToWrite(Unsaved(unsaved), wait_seconds) if writable else None
    except OSError as error:
        raise local_problem("use the folder", Path(error.filename or own), error) from error
    mounted_folder.serve(
        api,
        source.bucket,
        prefix,
        place,
        cache=cache,
        patience_seconds=patience_seconds,
        log_in_again=app.credential,
        writing=writing,
    )


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--detach", is_flag=True, help="Even if programs still use it: they get errors from then on.")
@pass_app
def unmount(app: App, folder: Path, detach: bool) -> None:
    """Unmount a folder that `lockstep mount` has mounted."""
    from lockstep_store.client.mount import kernel

    place = Path(os.path.realpath(folder))
    if not kernel.is_mounted(place):
        raise SetupError(f"nothing is mounted at {place}")
    kernel.unmount(place, detach=detach)
    app.show("", {"folder": str(place)})


def _mount_point(folder: Path) -> Path:
    """The folder, made if it does not exist. SetupError if nothing can be mounted there."""
    from lockstep_store.client.mount import kernel

    place = Path(os.path.realpath(folder))
    if kernel.is_mounted(place):
        raise SetupError(f"something is mounted at {place} already: end it with `lockstep unmount {folder}`")
    try:
        place.mkdir(parents=True, exist_ok=True)
        used = any(place.iterdir())
    except OSError as error:
        raise local_problem("mount at", place, error) from error
    if used:
        raise SetupError(f"{place} has files in it, which the mount would hide: name an empty folder")
    return place


def _start_in_background(app: App, place: Path, source: Name, options: list[str], log_file: Path) -> None:
    """Start the command that serves the folder, and return once it is mounted."""
    from lockstep_store.client.mount import kernel

    given = [word for key, value in app.options.items() if value is not None for word in (f"--{key}", value)]
    command = [sys.executable, "-P", "-m", "lockstep_store.client.cli", *given, "mount", "--foreground"]
    command += [*options, "--", str(place), f"{source.bucket}:{source.path}"]
    try:
        make_private(log_file.parent)
        with log_file.open("ab") as log:
            began = log.tell()
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    except OSError as error:
        raise local_problem("write", log_file, error) from error
    deadline = time.monotonic() + START_SECONDS
    while not kernel.is_mounted(place):
        if child.poll() is not None:
            with log_file.open("rb") as log:
                log.seek(began)
                said = log.read().decode("utf-8", "replace").strip().splitlines()
            raise SetupError((said or ["the mount ended at once"])[-1].removeprefix("lockstep: "))
        if time.monotonic() > deadline:
            child.terminate()
            raise SetupError(f"{place} was not mounted within {START_SECONDS:.0f} s: see {log_file}")
        time.sleep(LOOK_SECONDS)
    child.returncode = 0  # it goes on by itself: no warning that it still runs
