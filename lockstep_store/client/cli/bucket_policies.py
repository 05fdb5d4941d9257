"""Commands about a bucket's policy: policy show, try, set, remove."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lockstep_store.client.cli.access import show_access
from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.cli.policy_files import POLICY_FILE, read_policy

_BUCKET = click.argument("bucket")
_FILE = click.argument("file", metavar="FILE", type=POLICY_FILE)


@click.group(cls=Group)
def policy() -> None:
    """A bucket's policy: a JSON document of AWS's policy language, the same at every door."""


@policy.command("show")
@_BUCKET
@pass_app
def show(app: App, bucket: str) -> None:
    """Print a bucket's policy."""
    found = app.api().bucket_policy(bucket)
    text = f"bucket {bucket} has no policy" if found is None else json.dumps(found, indent=2)
    app.show(text, {"policy": found})


@policy.command("try")
@_BUCKET
@_FILE
@click.option("--path", default="", metavar="PATH", help="Explain this file or folder (`plans/`) only.")
@pass_app
def try_out(app: App, bucket: str, file: Path, path: str) -> None:
    """Show who could do what, and why, if FILE were the bucket's policy. Changes nothing."""
    show_access(app, app.api().preview_bucket_policy(bucket, read_policy(file), path))


@policy.command("set")
@_BUCKET
@_FILE
@pass_app
def set_policy(app: App, bucket: str, file: Path) -> None:
    """Replace a bucket's policy by the one in FILE, at once at every proxy."""
    wanted = read_policy(file)
    app.api().set_bucket_policy(bucket, wanted)
    app.show(f"bucket {bucket} has this policy now", {"policy": wanted})


@policy.command("remove")
@_BUCKET
@pass_app
def remove(app: App, bucket: str) -> None:
    """Remove a bucket's policy. Grants and access control lists stay."""
    app.api().set_bucket_policy(bucket, None)
    app.show(f"bucket {bucket} has no policy now", {"policy": None})
