"""Quotas of accounts, buckets and tenants: show, set, list."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.runtime.options import parse_size
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.quotas import RESOURCES, QuotaInfo, QuotaReply, QuotaScope, Resource

_BUCKET = click.option("--bucket", metavar="BUCKET", help="The quotas of a bucket.")
_TENANT = click.option("--tenant", metavar="TENANT", help="The quotas of a tenant.")


@click.group(cls=Group)
def quota() -> None:
    """Quotas: what accounts, buckets and tenants may have."""


@quota.command("list")
@pass_app
def list_quotas(app: App) -> None:
    """List the accounts, buckets and tenants with quotas (administrators)."""
    found = app.api().quotas()
    rows = [
        (owner.scope, owner.name, one.resource, *_figures(one))
        for owner in found
        for one in owner.quotas
        if one.allowed is not None and not one.built_in
    ]
    head = ("of", "name", "what", "allowed", "used")
    text = formatting.table(head, rows, right="allowed used") if rows else "there are no quotas"
    app.show(text, {"quotas": found})


@quota.command("show")
@click.argument("account", required=False)
@_BUCKET
@_TENANT
@pass_app
def show(app: App, account: str | None, bucket: str | None, tenant: str | None) -> None:
    """Show the quotas of ACCOUNT, of yourself, of a bucket or of a tenant, and how much is used.

    Bounds that nobody set hold for every account.
    """
    scope, name = _whose(app, account, bucket, tenant)
    _show(app, app.api().quota(scope, name))


@quota.command("set")
@click.argument("values", metavar="WHAT=NUMBER...", nargs=-1, required=True)
@click.option("--account", metavar="USERNAME", help="The quotas of an account.")
@_BUCKET
@_TENANT
@pass_app
def set_quotas(app: App, values: tuple[str, ...], account: str | None, bucket: str | None, tenant: str | None) -> None:
    """Set quotas of an account, a bucket or a tenant (administrators).

    WHAT is bytes, files or versions, for accounts also buckets, locks, waiters (places in line), followers (of the
    journal) or keys, for tenants also buckets or accounts. NUMBER may be a size, such as 10GiB, or `none`, which
    removes the quota. The bytes, files and versions of an account are those that it wrote, in any bucket. A quota below
    what is there refuses more and removes nothing.
    """
    if [account, bucket, tenant].count(None) != 2:
        raise BadRequest("name an account with --account, a bucket with --bucket, or a tenant with --tenant")
    scope, name = _whose(app, account, bucket, tenant)
    wanted = dict(_parsed(scope, value) for value in values)
    _show(app, app.api().set_quota(scope, name, wanted))


def _whose(app: App, account: str | None, bucket: str | None, tenant: str | None) -> tuple[QuotaScope, str]:
    if [account, bucket, tenant].count(None) < 2:
        raise BadRequest("name one account, bucket or tenant")
    if bucket is not None:
        return "bucket", bucket
    if tenant is not None:
        return "tenant", tenant
    return "account", account or app.api().me().name


def _parsed(scope: QuotaScope, text: str) -> tuple[Resource, int | None]:
    name, equals, value = text.partition("=")
    resource = next((each for each in RESOURCES[scope] if each == name), None)
    if resource is None or not equals:
        raise BadRequest(f"{text!r} is no quota of a {scope}: write {' or '.join(RESOURCES[scope])}, `=` and a number")
    number = None if value == "none" else parse_size(value)
    if number is None and value != "none":
        raise BadRequest(f"{value!r} is no number: write one, a size such as 10GiB, or `none`")
    return resource, number


def _show(app: App, reply: QuotaReply) -> None:
    rows = [(one.resource, *_figures(one), "for every account" if one.built_in else "") for one in reply.quotas]
    table = formatting.table(("what", "allowed", "used", ""), rows, right="allowed used")
    app.show(f"{reply.scope} {formatting.safe(reply.name)}\n{table}", reply)


def _figures(info: QuotaInfo) -> tuple[str, str]:
    def shown(value: int | None, without: str) -> str:
        return without if value is None else formatting.size(value) if info.resource == "bytes" else f"{value:,}"

    return shown(info.allowed, "-"), shown(info.used, "-")
