"""Commands for service accounts: what programs sign S3 requests as, limited to buckets, prefixes and addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.cli.keys import show_s3_key
from lockstep_store.client.cli.policy_files import POLICY_FILE, read_policy
from lockstep_store.client.service_policy import Allowed, policy_of
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.identities import FIRST_POLICY, MAX_KEY_SECONDS

_VALID = click.option(
    "--valid", type=click.FloatRange(60, MAX_KEY_SECONDS), metavar="SECONDS", help="The key expires after this time."
)
_ALLOWED = click.Choice(get_args(Allowed))


@click.group("service-accounts", cls=Group)
def service_accounts() -> None:
    """Accounts of programs: S3 keys with limits, and no password. What they write is yours.

    They are the users of `aws iam`, too.
    """


@service_accounts.command("list")
@pass_app
def list_accounts(app: App) -> None:
    """List your service accounts."""
    found = app.api().service_accounts()
    rows = [(one.name, formatting.when(one.created_at), one.arn) for one in found]
    text = formatting.table(("name", "made", "ARN"), rows) if rows else "no service accounts"
    app.show(text, {"service_accounts": found})


@service_accounts.command("create")
@click.argument("name")
@click.option(
    "--to", "places", multiple=True, metavar="BUCKET[/PREFIX]", help="What it may use; may be given several times."
)
@click.option("--allow", "allowed", type=_ALLOWED, multiple=True, help="What it may do there.  [default: read]")
@click.option("--from", "addresses", multiple=True, metavar="NETWORK", help="Only from there, such as 10.0.0.0/8.")
@click.option(
    "--policy",
    "file",
    type=POLICY_FILE,
    help="A policy document in JSON, instead of the options above.",
)
@_VALID
@pass_app
def create(
    app: App,
    name: str,
    places: tuple[str, ...],
    allowed: tuple[Allowed, ...],
    addresses: tuple[str, ...],
    file: Path | None,
    valid: float | None,
) -> None:
    """Create a service account with a key, and print the key once."""
    if bool(places) == (file is not None):
        raise BadRequest("say what it may use: either --to BUCKET[/PREFIX] or --policy FILE")
    if file is not None and (allowed or addresses):
        raise BadRequest("--allow and --from belong to --to: a policy document says this itself")
    pairs = [(bucket, prefix) for bucket, _, prefix in (place.partition("/") for place in places)]
    policy = read_policy(file) if file is not None else policy_of(pairs, allowed or ("read",), addresses)
    api = app.api()
    api.create_service_account(name, policy)
    show_s3_key(app, api.create_service_key(name, valid), f"of service account {formatting.safe(name)}")


@service_accounts.command("show")
@click.argument("name")
@pass_app
def show(app: App, name: str) -> None:
    """Show a service account with its policies and keys."""
    found = app.api().service_account(name)
    rows = [
        (
            key.access_key_id,
            "active" if key.active else "inactive",
            formatting.when(key.created_at),
            "" if key.expires_at is None else formatting.when(key.expires_at),
        )
        for key in found.keys
    ]
    parts = [formatting.table(("key", "state", "made", "ends"), rows) if rows else "no keys"]
    for policy, text in found.policies.items():
        parts.append(f"policy {formatting.safe(policy)}:\n{json.dumps(json.loads(text), indent=2)}")
    app.show("\n".join(parts), found)


@service_accounts.command("policy")
@click.argument("name")
@click.argument("file", type=POLICY_FILE)
@click.option("--as", "policy", default=FIRST_POLICY, show_default=True, metavar="POLICY", help="The policy's name.")
@pass_app
def put_policy(app: App, name: str, file: Path, policy: str) -> None:
    """Replace a policy of a service account by the document in FILE. It holds at once."""
    app.api().put_service_policy(name, policy, read_policy(file))
    app.show(f"stored policy {formatting.safe(policy)}", {"policy": policy})


@service_accounts.command("key")
@click.argument("name")
@_VALID
@pass_app
def create_key(app: App, name: str, valid: float | None) -> None:
    """Create another key for a service account and print it once."""
    show_s3_key(app, app.api().create_service_key(name, valid), f"of service account {formatting.safe(name)}")


@service_accounts.command("revoke")
@click.argument("name")
@click.argument("key", metavar="KEY")
@pass_app
def revoke(app: App, name: str, key: str) -> None:
    """Revoke a key of a service account by its id. It stops working at once."""
    app.api().revoke_service_key(name, key)
    app.show(f"revoked {formatting.safe(key)}", {"revoked": key})


@service_accounts.command("delete")
@click.argument("name")
@pass_app
def delete(app: App, name: str) -> None:
    """Delete a service account with its policies and keys. Its files stay."""
    app.api().delete_service_account(name)
    app.show(f"deleted {formatting.safe(name)}", {"deleted": name})
