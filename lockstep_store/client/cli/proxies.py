"""Commands for proxies: proxies list, remove."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, connection_options, pass_app
from lockstep_store.client.text import cluster, formatting


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def proxies(ctx: click.Context) -> None:
    """List and remove proxies (administrators).

    Without a subcommand, lists them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_proxies)


proxies.params.extend(connection_options(from_environment=False))


@proxies.command("list")
@pass_app
def list_proxies(app: App) -> None:
    """List the proxies with their state and certificate names."""
    found = app.api().proxies()
    app.show(cluster.proxies_table(found) if found else "no proxies yet", {"proxies": found})


@proxies.command("remove")
@click.argument("id", metavar="ID")
@pass_app
def remove(app: App, id: str) -> None:
    """Remove a proxy.

    The directory refuses it at once, file servers within a heartbeat. No data is lost, because a proxy only has a
    cache. To let it back in, invite it again.
    """
    app.api().remove_proxy(id)
    text = f"proxy {formatting.safe(id)} was removed, and its certificates are revoked; stop its program"
    app.show(text, {"removed": id})
