"""Commands for notification targets: targets list, add, remove, test."""

from __future__ import annotations

from pathlib import Path

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.local_storage import read_text
from lockstep_store.client.text import cluster, formatting


@click.group(cls=Group)
def targets() -> None:
    """Manage the targets of buckets' notifications (administrators)."""


@targets.command("list")
@pass_app
def list_targets(app: App) -> None:
    """List the targets with their waiting messages and last error."""
    found = app.api().targets()
    app.show(cluster.targets_text(found) if found else "no notification targets", {"targets": found})


@targets.command("add")
@click.argument("name")
@click.argument("target_url", metavar="URL")
@click.option("--secret", metavar="TEXT|@FILE", default="", help="Signs a webhook's messages (HMAC-SHA256).")
@click.option("--token", metavar="TEXT|@FILE", default="", help="A bearer token for a webhook's Authorization header.")
@click.option(
    "--target-ca",
    "ca_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Further CAs to trust for this target (PEM).",
)
@pass_app
def add(app: App, name: str, target_url: str, secret: str, token: str, ca_file: Path | None) -> None:
    """Add the target NAME, or change its address.

    URL is https://HOST/PATH for a webhook, or amqps://USER:PASSWORD@HOST/VHOST?exchange=NAME&routing_key=KEY for an
    AMQP 0-9-1 broker. http and amqp work too, unencrypted. @FILE reads the URL, secret or token from a file, so that
    it does not appear in the list of processes.
    """
    ca_pem = "" if ca_file is None else read_text(ca_file)
    made = app.api().add_target(name, _given(target_url), secret=_given(secret), token=_given(token), ca_pem=ca_pem)
    if made.url.startswith(("http:", "amqp:")):
        app.note("note: the connection is not encrypted: others can read file names and passwords in transit")
    arn = f"arn:lockstep:sqs:us-east-1::{made.name}"
    app.show(f"target {made.name} is {formatting.safe(made.url)}\nin a bucket's configuration: {arn}", made)


@targets.command("remove")
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Remove a target and its waiting messages. Refused while a bucket uses it."""
    gone = app.api().remove_target(name)
    waited = f" and {formatting.counted(gone.dropped, 'waiting message')}" if gone.dropped else ""
    app.show(f"removed target {formatting.safe(name)}{waited}", {"removed": name, "dropped": gone.dropped})


@targets.command("test")
@click.argument("name")
@pass_app
def test(app: App, name: str) -> None:
    """Send a test message to a target and show whether it was accepted."""
    app.api().test_target(name)
    app.show(f"target {formatting.safe(name)} accepted the test message", {"tested": name})


def _given(text: str) -> str:
    return read_text(Path(text[1:])).strip() if text.startswith("@") else text
