"""Commands about what is known of a file: its description, tags, type and metadata."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.facts import FactsReply

_NAME = click.argument("name", type=NameType())
_VERSION = click.option("--version", metavar="VERSION", help="Of this version instead of the current one.")


@click.command(cls=Command)
@_NAME
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the description.")
@_VERSION
@pass_app
def describe(app: App, name: Name, text: str | None, remove: bool, version: str | None) -> None:
    """Describe a file.

    With TEXT, set NAME's description; without it, show what is known of the file: its description, tags, type and
    metadata. Neither makes a new version.
    """
    if remove and text is not None:
        raise BadRequest("give a TEXT, or --remove, not both")
    api = app.api()
    if text is not None and not text.strip():
        raise BadRequest("the TEXT is empty: to remove the description, use --remove")
    if text is None and not remove:
        facts = api.facts(name.path, bucket=name.bucket, version=version)
    else:
        facts = api.change_facts(name.path, description=text or "", bucket=name.bucket, version=version)
    _show(app, facts)


@click.command(cls=Command)
@_NAME
@click.argument("tags", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("-r", "--remove", metavar="KEY", multiple=True, help="Remove this tag; may be given several times.")
@click.option("--clear", is_flag=True, help="Remove all tags that are not given.")
@_VERSION
@pass_app
def tag(app: App, name: Name, tags: tuple[str, ...], remove: tuple[str, ...], clear: bool, version: str | None) -> None:
    """Tag a file, or show its tags.

    Sets each KEY to VALUE (KEY alone is a tag without a value) and leaves the other tags as they are. They are the
    tags that S3 clients see. This makes no new version.
    """
    changes: dict[str, str | None] = {}
    for text in tags:
        key, _, value = text.partition("=")
        if not key:
            raise BadRequest(f"{text!r} is no tag: write KEY=VALUE, or KEY")
        if key in changes:
            raise BadRequest(f"the tag {key!r} is given twice")
        changes[key] = value
    for key in remove:
        if key in changes:
            raise BadRequest(f"the tag {key!r} cannot be set and removed at once")
        changes[key] = None
    api = app.api()
    if changes or clear:
        facts = api.change_facts(name.path, tags=changes, replace_tags=clear, bucket=name.bucket, version=version)
    else:
        facts = api.facts(name.path, bucket=name.bucket, version=version)
    app.show(_tags(facts), facts)


def _tags(facts: FactsReply) -> str:
    if facts.tags is None:
        return "you may not read this file's tags"
    lines = [formatting.safe(f"{key}={value}" if value else key) for key, value in sorted(facts.tags.items())]
    return "\n".join(lines) or "no tags"


def _show(app: App, facts: FactsReply) -> None:
    rows = [
        ("description", facts.description or "-"),
        ("tags", _tags(facts).replace("\n", ", ")),
        ("type", facts.content_type),
        *((f"metadata {name}", value) for name, value in sorted(facts.metadata.items())),
        ("version", facts.version),
    ]
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, value in rows:
        first, *more = value.splitlines() or [""]
        lines.append(f"{formatting.safe(name):<{width}}  {formatting.safe(first)}".rstrip())
        lines += [f"{'':<{width}}  {formatting.safe(line)}".rstrip() for line in more]
    app.show("\n".join(lines), facts)
