"""Commands that read and write files: put, get, cat, ls, digest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from lockstep_store.client.api.answers import WriteOptions
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.cli.command import App, Command, end, pass_app
from lockstep_store.client.cli.exit_codes import combined
from lockstep_store.client.cli.json_output import saved_data
from lockstep_store.client.cli.names import Name, NameType, parse_name
from lockstep_store.client.local_storage import LocalFileError, NameRefused
from lockstep_store.client.text import formatting
from lockstep_store.client.text.progress_bars import file_bar, tree_bar
from lockstep_store.client.transfers import (
    ReadCheck,
    TreeReport,
    digest_file,
    download,
    get_tree,
    put_tree,
    upload,
    upload_stream,
)
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, LockStale, NotFound
from lockstep_store.wire.messages.files import FileVersion

STREAM = "-"
SHOWN_TROUBLES = 20


@click.command(cls=Command)
@click.argument("sources", metavar="LOCAL...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Send folders and everything below them.")
@click.option("--lock", "lock_number", type=int, metavar="NUMBER", help="Write under this lock number.")
@click.option("--release", is_flag=True, help="Release the lock with the write.")
@click.option("--if-match", metavar="DIGEST", help="Fail unless the current content has this digest.")
@click.option("--new", is_flag=True, help="Fail if the file exists already.")
@click.option("--type", "content_type", default="", metavar="TYPE", help="The content's media type.")
@pass_app
def put(
    app: App,
    sources: tuple[str, ...],
    recursive: bool,
    lock_number: int | None,
    release: bool,
    if_match: str | None,
    new: bool,
    content_type: str,
) -> None:
    """Save local files in the cluster.

    Use put LOCAL [NAME] for one file, put LOCAL... FOLDER/ for several. Of a large file only the changed parts are
    sent, and an interrupted upload resumes. With -r, the files in LOCAL become NAME/...; files already there are
    skipped, and links are not followed. LOCAL may be - for standard input.
    """
    locals_, target = _put_arguments(sources)
    if recursive:
        if lock_number is not None or release or if_match or new or content_type:
            raise BadRequest("-r cannot be combined with locks and conditions: they apply to single files")
        _put_trees(app, locals_, target)
        return
    wanted = WriteOptions(
        lock_number=lock_number,
        release_lock=release,
        if_match=str(Digest.parse(if_match)) if if_match else "",
        if_none_match="*" if new else "",
        content_type=content_type,
    )
    results = [_put_one(app, local, _target_of(local, target, len(locals_)), wanted) for local in locals_]
    app.show("", results if len(results) > 1 else results[0])


def _put_arguments(arguments: tuple[str, ...]) -> tuple[list[str], str | None]:
    if len(arguments) == 1:
        return [arguments[0]], None
    *locals_, target = arguments
    if len(locals_) > 1 and not target.endswith(("/", ":")):
        raise BadRequest(f"several files need a target folder: write {target}/ (or bucket:)")
    return list(locals_), target


def _target_of(local: str, target: str | None, count: int) -> Name:
    own = "" if local == STREAM else Path(local).name
    if target is None or target.endswith(("/", ":")):
        if local == STREAM:
            raise BadRequest("standard input has no name: give the NAME to save it as")
        if own in ("", ".."):
            raise LocalFileError(f"{local} is a folder: send it with -r")
        return parse_name(f"{target or 'files:'}{own}")
    return parse_name(target)


def _put_one(app: App, local: str, name: Name, wanted: WriteOptions) -> dict[str, Any]:
    number = app.lock_number(*name, wanted.lock_number)
    options = WriteOptions(
        number,
        wanted.release_lock,
        wanted.if_match,
        wanted.if_none_match,
        wanted.content_type,
        wanted.metadata,
    )
    try:
        if local == STREAM:
            sent = upload_stream(app.api(), sys.stdin.buffer, *name, options=options)
        else:
            path = Path(local)
            size = path.stat().st_size if path.is_file() else None
            with file_bar(sys.stderr, "sending", path.name, size, show=app.shows_progress) as progress:
                sent = upload(app.api(), path, *name, options=options, progress=progress, interrupted=app.uploads)
    except LockStale as error:
        raise app.stale(error, *name) from error
    if wanted.release_lock:
        app.forget_lock(*name)
    note = f" ({formatting.size(sent.bytes_sent)} sent)" if sent.delta else ""
    if not app.json:
        click.echo(formatting.saved_line(sent.saved) + note)
    return saved_data(sent.saved, sent.bytes_sent)


def _put_trees(app: App, folders: list[str], target: str | None) -> None:
    total = TreeReport()
    for folder in folders:
        path = Path(folder)
        if target is None:
            name = parse_name(f"files:{path.resolve().name}")
        else:
            name = parse_name(target, empty=True)
            if len(folders) > 1:
                name = name.child(path.resolve().name)
        prefix = f"{name.path.rstrip('/')}/" if name.path else ""
        with tree_bar(sys.stderr, "sending", show=app.shows_progress) as bar:
            report = put_tree(app.api(), path, name.bucket, prefix, progress=bar, interrupted=app.uploads)
        _add(total, report)
    _finish_tree(app, total, "saved")


@click.command(cls=Command)
@click.argument("name", type=NameType(empty=True))
@click.argument("target", metavar="[LOCAL]", required=False)
@click.option("-r", "--recursive", is_flag=True, help="Fetch every file below NAME/.")
@click.option("--version", metavar="VERSION", help="Fetch this version instead of the current one.")
@pass_app
def get(app: App, name: Name, target: str | None, recursive: bool, version: str | None) -> None:
    """Fetch a file. LOCAL is replaced only once the whole file is here and verified.

    LOCAL is a file, a folder, or - for standard output; the default is the current folder. An interrupted download
    resumes. With -r, all files below NAME/ are fetched into the folder LOCAL.
    """
    if recursive:
        _get_tree(app, name, target)
        return
    if not name.last:
        raise BadRequest(f"{name} is a bucket: give a file in it, or -r for all of them")
    if target == STREAM:
        _to_output(app.api(), name, version)
        return
    local = _local_target(name, target)
    remote = app.api().stat(name.path, bucket=name.bucket, version=version)
    with file_bar(sys.stderr, "fetching", name.last, remote.size, show=app.shows_progress) as progress:
        fetched = download(app.api(), *name, local, version, known=remote, progress=progress)
    words = "is already" if fetched.unchanged else f"version {fetched.file.version} is now"
    cache = f", cache {fetched.receipt.cache}" if fetched.receipt.cache else ""
    text = f"{formatting.safe(str(name))} {words} in {local} ({formatting.size(fetched.file.size)}, verified{cache})"
    data = {
        "file": str(local),
        "bucket": name.bucket,
        "path": name.path,
        "version": fetched.file.version,
        "digest": fetched.file.digest,
        "size": fetched.file.size,
        "received": fetched.bytes_received,
        "unchanged": fetched.unchanged,
        "cache": fetched.receipt.cache,
    }
    app.show(text, data)


def _local_target(name: Name, target: str | None) -> Path:
    local = Path(target) if target else Path()
    if local.is_dir() or (target or "").endswith("/"):
        # Another person may have chosen the name. `check_path` has already refused . and .. in it.
        if not name.last or any(ord(character) < 32 for character in name.last):
            raise NameRefused(f"{formatting.safe(str(name))} cannot be the name of a local file: give LOCAL")
        local = local / name.last
    return local


def _get_tree(app: App, name: Name, target: str | None) -> None:
    prefix = f"{name.path.rstrip('/')}/" if name.path else ""
    folder = Path(target or name.last or name.bucket)
    if folder.exists() and not folder.is_dir():
        raise LocalFileError(f"{folder} is a file: give a folder to fetch into")
    with tree_bar(sys.stderr, "fetching", show=app.shows_progress) as bar:
        report = get_tree(app.api(), name.bucket, prefix, folder, progress=bar)
    if prefix and report == TreeReport():
        raise NotFound(f"there are no files below {name.bucket}:{prefix}; leave out -r for a single file")
    _finish_tree(app, report, f"fetched into {folder}")


def _add(total: TreeReport, report: TreeReport) -> None:
    total.moved += report.moved
    total.skipped += report.skipped
    total.size += report.size
    total.refused += report.refused
    total.failed += report.failed


def _finish_tree(app: App, report: TreeReport, verb: str) -> None:
    """Print the result, the failed files to standard error, and exit with their code."""
    troubles: list[tuple[str, str]] = [
        *report.refused,
        *((name, str(error)) for name, error in report.failed),
    ]
    for name, reason in troubles[:SHOWN_TROUBLES]:
        app.note(f"  {formatting.safe(name)}: {reason}")
    if len(troubles) > SHOWN_TROUBLES:
        app.note(f"  … and {len(troubles) - SHOWN_TROUBLES} more")
    parts = [f"{formatting.counted(report.moved, 'file')} {verb} ({formatting.size(report.size)})"]
    if report.skipped:
        parts.append(f"{report.skipped:,} already there")
    if report.refused:
        parts.append(f"{len(report.refused):,} refused")
    if report.failed:
        parts.append(f"{len(report.failed):,} failed")
    data = {
        "moved": report.moved,
        "skipped": report.skipped,
        "size": report.size,
        "refused": [{"name": name, "reason": reason} for name, reason in report.refused],
        "failed": [{"name": name, "code": error.code, "reason": str(error)} for name, error in report.failed],
    }
    app.show(", ".join(parts), data)
    if not report.complete:
        errors = [
            *(NameRefused(reason) for _, reason in report.refused),
            *(error for _, error in report.failed),
        ]
        done = report.moved + report.skipped
        sentence = f"{formatting.counted(len(troubles), 'file')} not transferred; run the command again to retry"
        end(click.get_current_context(), sentence, combined(errors) if not done or not report.failed else 1)


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NameType())
@click.option("--version", metavar="VERSION", help="Print this version instead of the current one.")
@pass_app
def cat(app: App, names: tuple[Name, ...], version: str | None) -> None:
    """Print the content of files to standard output."""
    if app.json:
        raise BadRequest("cat prints the content itself: leave out --json, or use get --json for its metadata")
    for name in names:
        _to_output(app.api(), name, version)


def _to_output(api: ApiCalls, name: Name, version: str | None) -> None:
    remote = api.stat(name.path, bucket=name.bucket, version=version)
    output = sys.stdout.buffer
    for block in ReadCheck(api, remote).blocks():
        output.write(block)
    output.flush()


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", type=NameType(empty=True), required=False)
@click.option("-l", "--long", "detailed", is_flag=True, help="Show size, time, author, version and digest.")
@click.option("--prefix", metavar="TEXT", help="Only files whose names begin with TEXT.")
@click.option("--folders", is_flag=True, help="Show folders, not the files in them.")
@pass_app
def ls(app: App, name: Name | None, detailed: bool, prefix: str | None, folders: bool) -> None:
    """List files.

    Lists all files of a bucket, or those whose names begin with NAME.
    """
    name = name or Name("files", "")
    start = name.path if prefix is None else name.path + prefix
    files: list[FileVersion] = []
    prefixes: list[str] = []
    for page in app.api().list_pages(start, bucket=name.bucket, delimiter="/" if folders else ""):
        prefixes += page.prefixes
        files += page.files
        if not app.json:
            _print_page(page.prefixes, page.files, detailed)
            files.clear()
    if app.json:
        app.show("", {"bucket": name.bucket, "prefix": start, "files": files, "prefixes": prefixes})


def _print_page(prefixes: Iterable[str], files: list[FileVersion], detailed: bool) -> None:
    for prefix in prefixes:
        click.echo(formatting.safe(prefix))
    if not detailed:
        for file in files:
            click.echo(formatting.safe(file.path))
        return
    author_width = max((len(file.author) for file in files), default=0)
    for file in files:
        click.echo(
            f"{formatting.size(file.size):>9}  {formatting.when(file.created_at)}  {file.author:<{author_width}}  "
            f"{file.version}  {str(file.digest)[:12]}  {formatting.safe(file.path)}"
        )


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@pass_app
def digest(app: App, files: tuple[Path, ...]) -> None:
    """Print the digests of local files.

    It is the digest that a file would have in the cluster; no cluster is needed. For a file of one chunk (up to 256
    KiB, and many larger ones) it is what `b3sum FILE` prints.
    """
    manifests = [(file, digest_file(file)) for file in files]
    lines = [f"{manifest.digest}  {file}" for file, manifest in manifests]
    data = [
        {"file": str(file), "digest": manifest.digest, "size": manifest.size, "chunks": len(manifest)}
        for file, manifest in manifests
    ]
    app.show("\n".join(lines), data if len(data) > 1 else data[0])
