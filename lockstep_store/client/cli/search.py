"""The command that searches for files."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.runtime.options import Size
from lockstep_store.wire.messages.search import MAX_RESULTS, SearchHit


@click.command(cls=Command)
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option("--bucket", default="", metavar="BUCKET", help="Only in this bucket.")
@click.option("--prefix", default="", metavar="TEXT", help="Only files whose paths begin with TEXT.")
@click.option("--type", "type_", default="", metavar="TYPE", help="Only this content type, or its first half (image).")
@click.option("--author", default="", metavar="USERNAME", help="Only files that this account wrote last.")
@click.option("--tag", default="", metavar="KEY[=VALUE]", help="Only files with this tag.")
@click.option("--description", default="", metavar="TEXT", help="Only files whose description has these words.")
@click.option("--min-size", type=Size(), metavar="SIZE", help="Only files of at least this size, such as 10MiB.")
@click.option("--max-size", type=Size(), metavar="SIZE", help="Only files of at most this size.")
@click.option("--since", default="", metavar="DATE", help="Only files written on or after this date (2026-03-01).")
@click.option("--until", default="", metavar="DATE", help="Only files written before this date.")
@click.option("-l", "--long", "detailed", is_flag=True, help="Show size, time and author.")
@click.option("--limit", default=100, metavar="NUMBER", type=click.IntRange(1), help="Show at most so many (100).")
@pass_app
def search(
    app: App,
    words: tuple[str, ...],
    bucket: str,
    prefix: str,
    type_: str,
    author: str,
    tag: str,
    description: str,
    min_size: int | None,
    max_size: int | None,
    since: str,
    until: str,
    detailed: bool,
    limit: int,
) -> None:
    """Search for files by name.

    Finds the files that you may list whose paths contain every WORD, in any case: first those of that very name, then
    those whose names begin with it, then the others. If there are none, it finds names that one typing error leads to.
    Without a WORD, an option must say which files.
    """
    api = app.api()
    hits: list[SearchHit] = []
    complete, cursor = True, ""
    while len(hits) < limit:
        page = api.search_page(
            " ".join(words),
            bucket=bucket,
            prefix=prefix,
            type=type_,
            author=author,
            tag=tag,
            description=description,
            min_size=min_size,
            max_size=max_size,
            since=since,
            until=until,
            limit=min(MAX_RESULTS, limit - len(hits)),
            cursor=cursor,
        )
        hits += page.hits
        complete = page.complete
        if not app.json:
            _print(page.hits, detailed)
        if page.next_after is None:
            cursor = ""
            break
        cursor = page.next_after
    if app.json:
        app.show("", {"hits": hits, "more": bool(cursor), "complete": complete})
        return
    if not hits:
        click.echo("nothing found", err=True)
    if cursor:
        click.echo(f"there are more: add words, or --limit {limit * 10}", err=True)
    if not complete:
        click.echo("the search index is still being filled: some older files are not found yet", err=True)


def _print(hits: list[SearchHit], detailed: bool) -> None:
    for hit in hits:
        file = hit.file
        name = formatting.safe(f"{file.bucket}/{file.path}")
        about = "  (similar)" if hit.match == "similar" else ""
        if detailed:
            size = formatting.size(file.size) if file.readable else "-"
            name = f"{size:>9}  {formatting.when(file.created_at)}  {formatting.safe(file.author)}  {name}"
        click.echo(name + about)
