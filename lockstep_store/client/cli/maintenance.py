"""Commands that maintain the directory: fsck, backup, recover; runs `restore --data` in the directory's program."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from lockstep_store.client.backup.folder import BackupFolder
from lockstep_store.client.backup.follower import Follower
from lockstep_store.client.cli.command import App, Command, end, pass_app
from lockstep_store.client.cli.exit_codes import FAILED
from lockstep_store.client.text import formatting, maintenance
from lockstep_store.wire.errors import BadRequest, SetupError

LOOK_AGAIN_SECONDS = 0.5
STATUS_SECONDS = 10.0


@click.command(cls=Command)
@click.option("--deep", is_flag=True, help="Also read and check every byte on every file server.")
@click.pass_context
def fsck(ctx: click.Context, deep: bool) -> None:
    """Check that metadata and disks agree (administrators).

    Compares the directory's metadata with the file servers' disks, while people work. Repair fixes missing and
    uncounted copies; the report shows what disagreed at the time of the check. Exits with 0 if everything agrees,
    otherwise with 1.
    """
    app = ctx.ensure_object(App)
    api = app.api()
    report = api.start_fsck(deep=deep)
    told = ""
    while report.state == "running":
        progress = maintenance.fsck_progress(report)
        if progress != told:
            app.note(progress)
            told = progress
        time.sleep(LOOK_AGAIN_SECONDS)
        report = api.fsck_report()
    app.show(maintenance.fsck_text(report), report)
    problems = len(report.problems) + report.more_problems
    if problems:
        end(ctx, f"{formatting.counted(problems, 'disagreement')} found", FAILED)


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--follow",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead of a FILE: keep a backup and every later change in FOLDER, until interrupted.",
)
@pass_app
def backup(app: App, file: Path | None, folder: Path | None) -> None:
    """Back up the directory to FILE (administrators).

    The backup is a snapshot, taken and checked while people work. It contains secrets (the ticket key, password
    hashes), so only you can read it; keep it that way. It does not contain file contents, nor the folder certs/ with
    the CA and the storage keys, without which nothing can be decrypted: keep a copy of that folder too.

    `lockstep restore FILE --data FOLDER`, on the directory's machine, restores it.

    With --follow it continues: everything that the directory changes is in FOLDER within a second, and a line every ten
    seconds says how far behind it is. It may be killed and started again at any time. A new backup replaces the old one
    and its changes when these outgrow it. `lockstep restore FOLDER --data FOLDER` restores the latest state.
    """
    if (file is None) == (folder is None):
        raise click.UsageError("give either a FILE or --follow FOLDER")
    if folder is not None:
        _follow(app, folder)
        return
    assert file is not None
    info = app.api().backup(file)
    app.show(maintenance.backup_text(file, info), {"file": str(file), "backup": info})


def _follow(app: App, path: Path) -> None:
    folder = BackupFolder(path)
    follower = Follower(folder, app.api())
    told, told_at = "", 0.0
    try:
        while True:
            pause = follower.step()
            kind = follower.problem or ("current" if follower.is_whole else "first")
            if kind != told or time.monotonic() - told_at >= STATUS_SECONDS:
                told, told_at = kind, time.monotonic()
                app.note(maintenance.following_text(follower))
            time.sleep(pause)
    finally:
        folder.close()


@click.command(cls=Command)
@click.option("--finish", is_flag=True, help="Stop waiting for file servers that will not return.")
@click.option("--unnamed", is_flag=True, help="Save blobs without a name as files in the bucket `recovered`.")
@click.option("--drop-unnamed", is_flag=True, help="Let blobs without a name be deleted.")
@pass_app
def recover(app: App, finish: bool, unnamed: bool, drop_unnamed: bool) -> None:
    """Show or end recovery after a restore (administrators).

    Without options, shows its progress.
    """
    if unnamed and drop_unnamed:
        raise BadRequest("--unnamed and --drop-unnamed exclude each other: leave out one of them")
    if finish or unnamed or drop_unnamed:
        choice = "name" if unnamed else "drop" if drop_unnamed else "keep"
        found = app.api().recover(finish=finish, unnamed=choice)
    else:
        found = app.api().recovery()
    app.show(maintenance.recovery_text(found), {"recovery": found})


class RestoreCommand(Command):
    """`lockstep restore` of a file's version. With --data or --accept-older it restores a directory instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(argument.split("=")[0] in ("--data", "--accept-older") for argument in args):
            run_directory_program(["restore", *args])
        return super().parse_args(ctx, args)


def run_directory_program(arguments: list[str]) -> None:
    """Replace this process by the directory's program, which the client cannot import. Does not return."""
    sys.stdout.flush()
    try:
        os.execv(sys.executable, [sys.executable, "-m", "directory_server", *arguments])  # noqa: S606
    except OSError as error:
        raise SetupError(f"{sys.executable} cannot be started ({error.strerror}): install Lockstep again") from error
