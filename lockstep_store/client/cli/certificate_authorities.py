"""Commands for the certificate authority: certs authorities, rotate-ca, retire-ca, learn-ca."""

from __future__ import annotations

import click

from lockstep_store.client.cli.certs import certs
from lockstep_store.client.cli.cluster import ROLES as INVITED
from lockstep_store.client.cli.command import App, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.client.text.authorities import authorities_text
from lockstep_store.client.trust import learn
from lockstep_store.wire.errors import SetupError

__all__ = ["certs"]


@certs.command("authorities")
@pass_app
def list_authorities(app: App) -> None:
    """List the certificate authorities, and what still needs an old one (administrators)."""
    authorities = app.api().authorities()
    app.show(authorities_text(authorities), {"authorities": authorities})


@certs.command("rotate-ca")
@pass_app
def rotate_ca(app: App) -> None:
    """Make a new certificate authority, which certifies all programs (administrators).

    Nobody is interrupted. The old authority is trusted until you retire it with `certs retire-ca`.
    """
    authorities = app.api().rotate_authority()
    app.note("keep a new copy of certs/ of the directory's machine, and give people's clients the new ca.pem")
    app.show(authorities_text(authorities), {"authorities": authorities})


@certs.command("retire-ca")
@click.argument("id", metavar="ID")
@click.option(
    "--without",
    type=(click.Choice(sorted(INVITED)), str),
    multiple=True,
    metavar="file-server|proxy PROGRAM",
    help="Leave this program behind, although it needs the old authority: it is revoked. May be repeated.",
)
@pass_app
def retire_ca(app: App, id: str, without: tuple[tuple[str, str], ...]) -> None:
    """Delete the old certificate authority ID, and end the trust in its certificates (administrators).

    Refused while a program needs it. Clients that have only the old ca.pem cannot connect afterwards. A program that
    was left behind needs a new invitation.
    """
    authorities = app.api().retire_authority(id, [(INVITED[role], program) for role, program in without])
    text = f"certificate authority {formatting.safe(id)} was retired\n{authorities_text(authorities)}"
    app.show(text, {"retired": id, "authorities": authorities})


@certs.command("learn-ca")
@pass_app
def learn_ca(app: App) -> None:
    """Update the CA file in use to the cluster's current certificate authorities.

    `lockstep` does this by itself when it may write the file. A new authority is accepted only if one in the
    file certified it.
    """
    api = app.api()
    file = api.transport.ca_file
    if file is None:
        raise SetupError("no CA file is in use: the system's authorities are trusted; name one with --ca")
    changed = learn(file, api.trusted_authorities())
    text = f"{file} now has the cluster's current authorities" if changed else f"{file} is up to date"
    app.show(text, {"file": str(file), "changed": changed})
