"""The command that follows changes: watch."""

from __future__ import annotations

import click
import msgspec

from lockstep_store.client.cli.command import App, Command, pass_app, plain
from lockstep_store.client.text import formatting
from lockstep_store.client.watcher import Watcher
from lockstep_store.wire.names import check_bucket


@click.command(cls=Command)
@click.argument("where", metavar="[BUCKET[/PREFIX]]", required=False)
@click.option("--cursor", type=click.IntRange(0), metavar="N", help="Start after this change; 0 is the beginning.")
@click.option("--once", "--no-follow", "once", is_flag=True, help="Print the changes until now, then exit.")
@pass_app
def watch(app: App, where: str | None, cursor: int | None, once: bool) -> None:
    """Print every change as it is committed, one per line, until Ctrl-C.

    Covers all buckets that you may use, one bucket, or the files in it whose names begin with PREFIX. Starts now, with
    --once at the beginning, with --cursor after that change. Continues after restarts of the proxy and the directory:
    no change is omitted or repeated. With --json each line is a JSON object.
    """
    bucket, prefix = _parted(where)
    watcher = Watcher(app.api(), bucket, prefix, cursor, on_trouble=lambda why: _tell(app, why))
    try:
        for change in watcher.until_now() if once else watcher.follow():
            if app.json:
                click.echo(msgspec.json.encode(plain(change)))
            else:
                click.echo(formatting.change_line(change))
    except KeyboardInterrupt:
        if watcher.cursor is not None:
            app.note(f"continue from here with --cursor {watcher.cursor}")
        raise


def _parted(where: str | None) -> tuple[str | None, str]:
    """Split `bucket/prefix` or `bucket:prefix`. Bucket names contain neither character."""
    if not where:
        return None, ""
    ends = [place for place in (where.find("/"), where.find(":")) if place >= 0]
    end = min(ends, default=len(where))
    return check_bucket(where[:end]), where[end + 1 :]


def _tell(app: App, why: str) -> None:
    app.note(f"waiting: {why}" if why else "watching again")
