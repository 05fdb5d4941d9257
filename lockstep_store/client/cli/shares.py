"""Commands for share links: what people without an account may read or upload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.cli.log_in_questions import ask_password
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.client.text.shares import made_text, shares_text
from lockstep_store.runtime.options import Size
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.shares import DAY_SECONDS, LinkRule

_UNITS = {
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": DAY_SECONDS,
    "w": 7 * DAY_SECONDS,
    "y": 365.25 * DAY_SECONDS,
}
_TIME = re.compile(r"([0-9]{1,9})([smhdwy])")
_NEVER = "never"


@click.group(cls=Group)
def share() -> None:
    """Share links: people without an account open them in a browser."""


@share.command("create")
@click.argument("name", type=NameType(empty=True))
@click.option("--upload", is_flag=True, help="Let people send files, which they can neither list nor read.")
@click.option("--expires", metavar="TIME", default="30d", show_default=True, help="Such as 12h, 30d, 2y, or `never`.")
@click.option("--password", "ask", is_flag=True, help="Ask for a password, which the link then needs.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the password from the first line of FILE.",
)
@click.option(
    "--max-uses", type=click.IntRange(min=1), metavar="NUMBER", help="How many downloads or uploads it allows."
)
@click.option(
    "--max-size", type=Size(1), metavar="SIZE", help="With --upload: how large each file may be, such as 100MiB."
)
@click.option("--note", default="", metavar="TEXT", help="For your own list of links; nobody else sees it.")
@pass_app
def create(
    app: App,
    name: Name,
    upload: bool,
    expires: str,
    ask: bool,
    password_file: Path | None,
    max_uses: int | None,
    max_size: int | None,
    note: str,
) -> None:
    """Make a link to the file NAME, or to a folder: a NAME that ends with a slash, or a bucket (`bucket:`).

    The address is printed once. The link acts with your rights: it ends when you lose them.
    """
    password = _password(ask, password_file)
    seconds = _seconds(expires)
    if max_size is not None and not upload:
        raise BadRequest("--max-size bounds files that people send: it needs --upload")
    api = app.api()
    made = api.create_share(
        name.path,
        bucket=name.bucket,
        mode="upload" if upload else "read",
        password=password,
        expires_in=seconds,
        max_uses=max_uses,
        max_bytes=max_size,
        note=note,
    )
    address = api.share_address(made)
    app.show(made_text(made, address), {"share": made, "address": address})


@share.command("list")
@click.option("--bucket", default="", metavar="BUCKET", help="Links into this bucket; its owner sees everybody's.")
@pass_app
def list_shares(app: App, bucket: str) -> None:
    """List your links."""
    found = app.api().shares(bucket)
    app.show(shares_text(found), {"shares": found})


@share.command("revoke")
@click.argument("link", metavar="LINK")
@pass_app
def revoke(app: App, link: str) -> None:
    """Revoke a link by its id. It ends at once, and so do downloads in progress."""
    app.api().revoke_share(link)
    app.show(f"revoked link {formatting.safe(link)}", {"revoked": link})


@share.command("rule")
@click.argument("bucket")
@click.argument("links", type=click.Choice(get_args(LinkRule)), required=False)
@pass_app
def rule(app: App, bucket: str, links: LinkRule | None) -> None:
    """Show who may make links into BUCKET, or set it (its owner and administrators).

    off: there are no links. owner: only the owner and administrators make them. expiring: whoever has the right to
    the files makes links that expire. any: those may also never expire. Links that this does not allow stop working.
    """
    api = app.api()
    if links is not None:
        api.set_share_rule(bucket, links)
    now = links or api.share_rule(bucket)
    app.show(f"links into bucket {formatting.safe(bucket)}: {now}", {"bucket": bucket, "links": now})


def _password(ask: bool, file: Path | None) -> str:
    if ask and file is not None:
        raise BadRequest("give the password with --password or --password-file, not both")
    if file is None:
        return ask_password("Password of the link", repeat=True, what="the link's password") if ask else ""
    lines = file.read_text("utf-8").splitlines()
    if not lines or not lines[0]:
        raise BadRequest(f"the first line of {file} is empty: write the password there")
    return lines[0]


def _seconds(text: str) -> float | None:
    """Return the seconds in a time such as `30d`; None for `never`."""
    if text == _NEVER:
        return None
    found = _TIME.fullmatch(text)
    if found is None or not int(found[1]):
        raise BadRequest(f"{text!r} is no time: write a number and s, m, h, d, w or y, such as 30d, or `{_NEVER}`")
    return int(found[1]) * _UNITS[found[2]]
