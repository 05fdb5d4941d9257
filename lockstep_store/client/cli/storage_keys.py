"""Commands for the storage keys: storage-keys list, rotate, retire."""

from __future__ import annotations

from pathlib import Path

import click

from lockstep_store.client.cli.certs import certs_folder, certs_option
from lockstep_store.client.cli.command import App, Group, connection_options, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.client.text.storage_keys import storage_keys_text
from lockstep_store.runtime.storage.key_protection import key_protection
from lockstep_store.runtime.storage.sealing import KeyRing


@click.group("storage-keys", cls=Group, invoke_without_command=True)
@click.pass_context
def storage_keys(ctx: click.Context) -> None:
    """List, rotate and retire the keys that encrypt content on disk (administrators).

    Without a subcommand, lists them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_storage_keys)


storage_keys.params.extend(connection_options(from_environment=False))


@storage_keys.command("list")
@pass_app
def list_storage_keys(app: App) -> None:
    """List the storage keys, and what still needs each."""
    keys = app.api().storage_keys()
    app.show(storage_keys_text(keys), {"keys": keys})


@storage_keys.command("rotate")
@pass_app
def rotate(app: App) -> None:
    """Encrypt everything new under a new key, and the rest again in the background.

    People notice nothing. Old keys stay until you retire them.
    """
    keys = app.api().rotate_storage_keys()
    app.note("keep a new copy of certs/storage-keys.json: without the new key nothing written from now on can be read")
    app.show(storage_keys_text(keys), {"keys": keys})


_passphrase_file = click.Path(path_type=Path, dir_okay=False)


@storage_keys.command("passphrase")
@certs_option
@click.option("--old", type=_passphrase_file, metavar="FILE", help="File with the passphrase that it has now, if any.")
@click.option("--new", type=_passphrase_file, metavar="FILE", help="File with the passphrase that it gets, if any.")
@pass_app
def passphrase(app: App, folder: Path | None, old: Path | None, new: Path | None) -> None:
    """Change or remove the passphrase of the storage keys on this machine.

    Stop the machine's programs first: they would not notice. A passphrase is the first line of its file.
    """
    file = certs_folder(app, folder) / "storage-keys.json"
    KeyRing.load(file, key_protection(old)).protect(key_protection(new))
    text = f"{file} is protected by the new passphrase" if new else f"{file} is not protected any more"
    app.show(text, {"file": str(file), "protected": new is not None})


@storage_keys.command("retire")
@click.argument("id", metavar="ID")
@click.option(
    "--forget-backups",
    is_flag=True,
    help="Retire it although older backups have secrets that only it opens.",
)
@pass_app
def retire(app: App, id: str, forget_backups: bool) -> None:
    """Delete the old storage key ID everywhere.

    Refused while anything needs it. S3 secrets, second factors, named keys, notification targets and identity providers
    in backups made before the rotation was finished can only be restored with it.
    """
    keys = app.api().retire_storage_key(id, forget_backups=forget_backups)
    text = f"storage key {formatting.safe(id)} was retired\n{storage_keys_text(keys)}"
    app.show(text, {"retired": id, "keys": keys})
