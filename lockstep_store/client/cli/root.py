"""The `lockstep` command with all its subcommands."""

from __future__ import annotations

import copy
import sys
from importlib import import_module

import click

from lockstep_store.client.cli.command import Group, connection_options
from lockstep_store.client.cli.exit_codes import help_text
from lockstep_store.client.cli.names import SYNTAX

COMMANDS = {
    "login": "accounts.login",
    "logout": "accounts.logout",
    "whoami": "accounts.whoami",
    "passwd": "users.passwd",
    "mfa": "second_factor.mfa",
    "keys": "keys.keys",
    "service-accounts": "service_accounts.service_accounts",
    "buckets": "accounts.buckets",
    "put": "files.put",
    "get": "files.get",
    "cat": "files.cat",
    "ls": "files.ls",
    "search": "search.search",
    "tag": "facts.tag",
    "describe": "facts.describe",
    "du": "analytics.du",
    "digest": "files.digest",
    "mkdir": "folders.mkdir",
    "rm": "changes.rm",
    "cp": "changes.cp",
    "mv": "changes.mv",
    "versions": "changes.versions",
    "restore": "changes.restore",
    "edit": "changes.edit",
    "folders": "folders.folders",
    "trash": "trash.trash",
    "lock": "locks.lock",
    "unlock": "locks.unlock",
    "locks": "locks.locks",
    "watch": "watch.watch",
    "mount": "mount.mount",
    "unmount": "mount.unmount",
    "access": "access.access",
    "policy": "bucket_policies.policy",
    "lifecycle": "lifecycles.lifecycle",
    "share": "shares.share",
    "status": "status.status",
    "servers": "servers.servers",
    "proxies": "proxies.proxies",
    "users": "users.users",
    "group": "groups.group",
    "tenant": "tenants.tenant",
    "audit": "users.audit",
    "quota": "quotas.quota",
    "repair": "servers.repair",
    "sso": "single_sign_on.sso",
    "targets": "targets.targets",
    "fsck": "maintenance.fsck",
    "backup": "maintenance.backup",
    "recover": "maintenance.recover",
    "kms": "named_keys.kms",
    "storage-keys": "storage_keys.storage_keys",
    "invite": "cluster.invite",
    "join": "cluster.join",
    "certs": "certificate_authorities.certs",
    "serve": "programs.serve",
    "cluster": "programs.cluster",
    "menu": "programs.menu",
    "completion": "programs.completion",
}
"""Each command's module and its name there. Only the module of the command in use is loaded."""
FORMER_NAMES = {"join-token": "invite"}
"""They still work, and the help does not show them."""


class RootGroup(Group):
    """All commands of `lockstep`, each loaded when it is used: scripts start it once for each file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *FORMER_NAMES})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in FORMER_NAMES:
            command = copy.copy(_load(FORMER_NAMES[cmd_name]))
            command.name, command.hidden = cmd_name, True
            return command
        return _load(cmd_name) if cmd_name in COMMANDS else None


def _load(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name].partition(".")
    command: click.Command = getattr(import_module(f"lockstep_store.client.cli.{module}"), attribute)
    return command


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # loading it takes longer than the rest

        try:
            installed = version("lockstep-store")
        except PackageNotFoundError:
            installed = "0 (not installed)"
        click.echo(f"lockstep, version {installed}")
        ctx.exit()


@click.group(
    cls=RootGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"""{SYNTAX}

Commands that print a result take --json. Commands that use a proxy take --url, --ca and --profile, or the variables
LOCKSTEP_URL, LOCKSTEP_CA and LOCKSTEP_PROFILE; the default is the last `lockstep login`, then the cluster that
`./run_cluster.sh` started here. LOCKSTEP_API_KEY replaces a log-in, LOCKSTEP_CONFIG_DIR is the folder for log-ins, and
LOCKSTEP_LOCAL_STORAGE the folder for edits that could not be saved.

{help_text()}""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Lockstep: a distributed file store for people who edit files together."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a listing


main.params.extend(connection_options(from_environment=True))
