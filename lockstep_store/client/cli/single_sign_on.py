"""Commands for single sign-on, for administrators: sso list, set, remove, links, link, unlink."""

from __future__ import annotations

from pathlib import Path

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.local_storage import read_text
from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.single_sign_on import ProviderInfo, ProviderSettings

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def sso() -> None:
    """Manage single sign-on: OpenID Connect providers and linked accounts (administrators)."""


@sso.command("list")
@pass_app
def list_providers(app: App) -> None:
    """List the identity providers with their state."""
    found = app.api().sso_providers()
    rows = [(one.name, one.issuer, _purpose(one), _state(one)) for one in found]
    text = formatting.table(("name", "issuer", "for", "state"), rows) if found else "no identity providers"
    app.show(text, {"providers": found})


@sso.command("set")
@click.argument("name")
@click.argument("issuer")
@click.option("--client-id", default="", help="This cluster's client id at the provider, for people's log-ins.")
@click.option("--client-secret-file", type=_FILE, help="File with the client secret, if the provider gave one.")
@click.option("--audience", multiple=True, help="An audience of programs' tokens; may be repeated.")
@click.option("--scope", multiple=True, help="A scope in addition to openid, profile and email; may be repeated.")
@click.option(
    "--username-claim", default="preferred_username", show_default=True, help="Claim that names new accounts."
)
@click.option("--create-accounts/--no-create-accounts", default=False, help="Make accounts at the first log-in.")
@click.option("--require", multiple=True, metavar="CLAIM=VALUE", help="Who may log in; may be repeated.")
@click.option("--administrator", multiple=True, metavar="CLAIM=VALUE", help="Who is an administrator; may be repeated.")
@click.option("--read-only", multiple=True, metavar="CLAIM=VALUE", help="Who may only read; may be repeated.")
@click.option("--provider-ca", "ca_file", type=_FILE, help="Additional CAs to trust for this provider (PEM).")
@pass_app
def set_provider(
    app: App,
    name: str,
    issuer: str,
    client_id: str,
    client_secret_file: Path | None,
    audience: tuple[str, ...],
    scope: tuple[str, ...],
    username_claim: str,
    create_accounts: bool,
    require: tuple[str, ...],
    administrator: tuple[str, ...],
    read_only: tuple[str, ...],
    ca_file: Path | None,
) -> None:
    """Add the identity provider NAME, or replace all its settings.

    ISSUER is the address that the provider gives as its issuer. For each claim in --require, one of the values is
    needed. With --administrator or --read-only, the provider decides an account's role at each log-in.
    """
    settings = ProviderSettings(
        issuer,
        client_id,
        list(audience),
        list(scope),
        username_claim,
        create_accounts,
        list(require),
        list(administrator),
        list(read_only),
    )
    secret = read_text(client_secret_file).strip() if client_secret_file is not None else ""
    ca_pem = read_text(ca_file) if ca_file is not None else ""
    made = app.api().put_sso_provider(name, settings, client_secret=secret, ca_pem=ca_pem)
    text = f"identity provider {made.name} is {formatting.safe(made.issuer)}, for {_purpose(made)}"
    app.show(f"{text}\n`lockstep sso list` shows whether it can be reached", made)


@sso.command("remove")
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Remove an identity provider.

    Nobody can log in with it any more. Log-ins stay until they expire; links stay for a provider with the same issuer.
    """
    app.api().remove_sso_provider(name)
    app.show(f"removed identity provider {formatting.safe(name)}", {"removed": name})


@sso.command("links")
@pass_app
def links(app: App) -> None:
    """List which identities log in to which accounts."""
    found = app.api().sso_links()
    rows = [(one.account, one.subject, one.issuer) for one in found]
    text = formatting.table(("account", "subject", "issuer"), rows) if found else "no linked identities"
    app.show(text, {"identities": found})


@sso.command("link")
@click.argument("account")
@click.argument("subject")
@click.option("--provider", required=True, help="The provider that knows the subject.")
@pass_app
def link(app: App, account: str, subject: str, provider: str) -> None:
    """Let SUBJECT at a provider log in to ACCOUNT, which keeps its password.

    `lockstep audit` shows the subjects of refused log-ins.
    """
    made = app.api().link_identity(provider, subject, account)
    app.show(f"subject {formatting.safe(made.subject)} of {provider} logs in to {formatting.safe(made.account)}", made)


@sso.command("unlink")
@click.argument("issuer")
@click.argument("subject")
@pass_app
def unlink(app: App, issuer: str, subject: str) -> None:
    """End a link, and the log-ins of its account."""
    app.api().unlink_identity(issuer, subject)
    app.show(f"unlinked subject {formatting.safe(subject)}", {"unlinked": subject, "issuer": issuer})


def _purpose(provider: ProviderInfo) -> str:
    people = ["people"] if provider.client_id else []
    return " and ".join([*people, *(["programs"] if provider.audiences else [])])


def _state(provider: ProviderInfo) -> str:
    if provider.problem:
        return provider.problem
    return formatting.counted(provider.keys, "key") if provider.keys else "not asked yet"
