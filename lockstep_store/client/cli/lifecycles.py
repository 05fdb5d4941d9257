"""Commands about a bucket's lifecycle: lifecycle show, add, remove."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.runtime.options import Size
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.messages.bucket_settings import LifecyclePlan

_BUCKET = click.argument("bucket")
_DAYS = click.IntRange(min=1)


@click.group(cls=Group)
def lifecycle() -> None:
    """The rules by which a bucket deletes files and old versions, the same at every door."""


@lifecycle.command("show")
@_BUCKET
@pass_app
def show(app: App, bucket: str) -> None:
    """List a bucket's rules. For everybody who may list it."""
    _show(app, bucket, app.api().lifecycle(bucket))


@lifecycle.command("add")
@_BUCKET
@click.option("--prefix", default="", metavar="PREFIX", help="Only files whose paths begin with this.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only files with this tag; may be repeated.")
@click.option("--larger-than", type=Size(), metavar="SIZE", help="Only larger files.")
@click.option("--smaller-than", type=Size(), metavar="SIZE", help="Only smaller files.")
@click.option(
    "--expire-days", type=_DAYS, metavar="NUMBER", help="Delete files this many days after they were written."
)
@click.option("--expire-on", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Delete files on this day (UTC).")
@click.option(
    "--noncurrent-days", type=_DAYS, metavar="NUMBER", help="Remove versions this many days after they were replaced."
)
@click.option(
    "--keep-newer", type=click.IntRange(1, 100), metavar="NUMBER", help="With --noncurrent-days: keep the newest ones."
)
@click.option("--drop-markers", is_flag=True, help="Remove delete markers that are the last thing left of a file.")
@click.option(
    "--abort-uploads-days",
    type=_DAYS,
    metavar="NUMBER",
    help="Abort multipart uploads this many days after they were begun.",
)
@click.option("--off", is_flag=True, help="Keep the rule, but do nothing yet.")
@pass_app
def add(
    app: App,
    bucket: str,
    prefix: str,
    tags: tuple[str, ...],
    larger_than: int | None,
    smaller_than: int | None,
    expire_days: int | None,
    expire_on: datetime | None,
    noncurrent_days: int | None,
    keep_newer: int | None,
    drop_markers: bool,
    abort_uploads_days: int | None,
    off: bool,
) -> None:
    """Add a rule (the bucket's owner and administrators). It also applies to existing files.

    Where the bucket keeps versions, a file that is deleted goes to the trash.
    """
    rule = LifecyclePlan(
        enabled=not off,
        prefix=prefix,
        tags=dict(map(_tag, tags)),
        larger_than=larger_than,
        smaller_than=smaller_than,
        expire_days=expire_days,
        expire_at=None if expire_on is None else expire_on.replace(tzinfo=UTC).timestamp(),
        noncurrent_days=noncurrent_days,
        keep_newer=keep_newer,
        drop_markers=drop_markers,
        abort_uploads_days=abort_uploads_days,
    )
    _show(app, bucket, app.api().set_lifecycle(bucket, [*app.api().lifecycle(bucket), rule]))


@lifecycle.command("remove")
@_BUCKET
@click.argument("rules", metavar="RULE...", nargs=-1, required=True)
@pass_app
def remove(app: App, bucket: str, rules: tuple[str, ...]) -> None:
    """Remove the rules with these ids, as `lifecycle show` prints them."""
    found = app.api().lifecycle(bucket)
    missing = set(rules) - {rule.id for rule in found}
    if missing:
        raise NotFound(f"bucket {bucket} has no rule {' or '.join(sorted(map(repr, missing)))}")
    _show(app, bucket, app.api().set_lifecycle(bucket, [rule for rule in found if rule.id not in rules]))


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise BadRequest(f"{text!r} is no tag: write KEY=VALUE")
    return key, value


def _show(app: App, bucket: str, rules: Sequence[LifecyclePlan]) -> None:
    rows = [
        (
            formatting.safe(rule.id),
            "on" if rule.enabled else "off",
            formatting.safe(", ".join(_conditions(rule))) or "all files",
            "; ".join(_actions(rule)),
        )
        for rule in rules
    ]
    text = formatting.table(("rule", "", "files", "what it does"), rows, width=140)
    app.show(text if rows else f"bucket {bucket} has no rules: it deletes nothing by itself", {"rules": rules})


def _conditions(rule: LifecyclePlan) -> Iterator[str]:
    if rule.prefix:
        yield f"{rule.prefix}…"
    yield from (f"{key}={value}" for key, value in rule.tags.items())
    if rule.larger_than is not None:
        yield f"larger than {formatting.size(rule.larger_than)}"
    if rule.smaller_than is not None:
        yield f"smaller than {formatting.size(rule.smaller_than)}"


def _actions(rule: LifecyclePlan) -> Iterator[str]:
    if rule.expire_days is not None:
        yield f"deletes them after {_days(rule.expire_days)}"
    if rule.expire_at is not None:
        yield f"deletes them on {datetime.fromtimestamp(rule.expire_at, UTC):%Y-%m-%d}"
    if rule.noncurrent_days is not None:
        kept = "" if rule.keep_newer is None else f", except the newest {rule.keep_newer}"
        yield f"removes old versions after {_days(rule.noncurrent_days)}{kept}"
    if rule.drop_markers:
        yield "removes lone delete markers"
    if rule.abort_uploads_days is not None:
        yield f"aborts uploads after {_days(rule.abort_uploads_days)}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"
