"""Commands about tenants: tenant create, list, delete (administrators of the cluster)."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.wire.names import TENANT_SEPARATOR

_NAME = click.argument("name")


@click.group(cls=Group)
def tenant() -> None:
    r"""Tenants: organisations that do not see each other (administrators of the cluster).

    The accounts of tenant acme have names such as acme\ann; quote them in a shell: 'acme\ann'.
    """


@tenant.command("create")
@_NAME
@click.option("--description", default="", help="Which organisation it is.")
@click.option("--administrator", default="", metavar="USERNAME", help="Its first administrator, without `NAME\\`.")
@pass_app
def create(app: App, name: str, description: str, administrator: str) -> None:
    """Create a tenant; with --administrator also an account for it, whose one-time password is printed."""
    api = app.api()
    made = api.create_tenant(name, description=description)
    app.note(f"created tenant {formatting.safe(made.name)}")
    if not administrator:
        example = formatting.safe(f"lockstep users create '{made.name}{TENANT_SEPARATOR}ann' --role administrator")
        app.show(f"create its administrators: {example}", {"tenant": made, "user": None, "password": ""})
        return
    user = api.create_user(f"{made.name}{TENANT_SEPARATOR}{administrator}", "administrator")
    app.note(f"one-time password of {formatting.safe(user.user.name)}; set another with: lockstep passwd")
    app.show(user.password, {"tenant": made, "user": user.user, "password": user.password})


@tenant.command("list")
@pass_app
def list_tenants(app: App) -> None:
    """List the tenants, with their administrators. `lockstep quota show --tenant NAME` shows what one may have."""
    found = app.api().tenants()
    rows = [
        (
            formatting.safe(one.name),
            str(one.accounts),
            str(one.buckets),
            formatting.safe(", ".join(one.administrators)),
            formatting.safe(one.description),
        )
        for one in found
    ]
    head = ("name", "accounts", "buckets", "administrators", "description")
    app.show(formatting.table(head, rows) if rows else "there are no tenants", {"tenants": found})


@tenant.command("delete")
@_NAME
@pass_app
def delete(app: App, name: str) -> None:
    """Delete a tenant with its groups and quota. Its accounts and buckets must be deleted first."""
    app.api().delete_tenant(name)
    app.show(f"deleted tenant {formatting.safe(name)}", {"deleted": name})
