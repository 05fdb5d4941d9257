"""Commands for keys: API keys for scripts, and access keys for S3 clients."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.messages.people import ApiKeyInfo
from lockstep_store.wire.messages.s3 import S3KeyInfo


@click.group(cls=Group)
def keys() -> None:
    """Manage API keys and S3 access keys.

    API keys are for scripts: set LOCKSTEP_API_KEY to one. S3 access keys are for S3 clients.
    """


@keys.command("list")
@pass_app
def list_keys(app: App) -> None:
    """List your keys, without their secrets."""
    api, s3 = app.api().api_keys(), app.api().s3_keys()
    rows = [(key.id, "api", key.name, formatting.when(key.created_at), "") for key in api]
    rows += [(key.access_key_id, "s3", key.name, formatting.when(key.created_at), _end(key)) for key in s3]
    text = formatting.table(("id", "kind", "name", "made", "ends"), rows) if rows else "no keys"
    app.show(text, {"keys": api, "s3_keys": s3})


@keys.command("create")
@click.argument("name")
@click.option("--s3", "for_s3", is_flag=True, help="An access key for S3 clients instead of an API key.")
@click.option(
    "--valid",
    type=click.FloatRange(60, 7 * 86400),
    metavar="SECONDS",
    help="With --s3: a temporary key, which comes with a session token.",
)
@pass_app
def create_key(app: App, name: str, for_s3: bool, valid: float | None) -> None:
    """Create a key called NAME and print it once."""
    if for_s3:
        show_s3_key(app, app.api().create_s3_key(name, valid))
        return
    if valid is not None:
        raise BadRequest("--valid needs --s3: API keys do not expire, but log-ins do")
    key = app.api().create_key(name)
    app.note(f"API key {formatting.safe(key.name)} ({key.id}); it is shown only once:")
    app.show(key.key, key)


@keys.command("rotate")
@click.argument("key", metavar="ID|NAME")
@pass_app
def rotate_key(app: App, key: str) -> None:
    """Replace an S3 access key with a new one. The old one stops working at once."""
    found = _one(app, key)
    if not isinstance(found, S3KeyInfo):
        raise BadRequest(f"{key!r} is an API key: make a new one and revoke it")
    show_s3_key(app, app.api().rotate_s3_key(found.access_key_id))


@keys.command("revoke")
@click.argument("key", metavar="ID|NAME")
@pass_app
def revoke_key(app: App, key: str) -> None:
    """Revoke an API key or S3 access key. It stops working at once."""
    found = _one(app, key)
    if isinstance(found, S3KeyInfo):
        app.api().revoke_s3_key(found.access_key_id)
        id = found.access_key_id
    else:
        app.api().revoke_key(found.id)
        id = found.id
    app.show(f"revoked {formatting.safe(found.name)} ({id})", {"revoked": found})


def _one(app: App, key: str) -> ApiKeyInfo | S3KeyInfo:
    found: list[ApiKeyInfo | S3KeyInfo] = [one for one in app.api().api_keys() if key in (one.id, one.name)]
    found += [one for one in app.api().s3_keys() if key in (one.access_key_id, one.name)]
    if len(found) != 1:
        what = f"{len(found)} keys are called" if found else "you have no key"
        raise NotFound(f"{what} {key!r}; `lockstep keys list` shows them with their ids")
    return found[0]


def show_s3_key(app: App, key: S3KeyInfo, what: str = "") -> None:
    """Print a new key with its secret; `what` says whose it is, in place of its name."""
    lines = [f"aws_access_key_id = {key.access_key_id}", f"aws_secret_access_key = {key.secret}"]
    if key.session_token:
        lines.append(f"aws_session_token = {key.session_token}")
    until = f" until {formatting.when(key.expires_at)}" if key.expires_at is not None else ""
    app.note(f"S3 access key {what or formatting.safe(key.name)}{until}; its secret is shown only once:")
    app.show("\n".join(lines), key)


def _end(key: S3KeyInfo) -> str:
    return "" if key.expires_at is None else formatting.when(key.expires_at)
