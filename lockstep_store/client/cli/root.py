"""The `lockstep` command with all its subcommands."""

from __future__ import annotations

import copy
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from lockstep_store.client.cli import (
    accounts,
    certificate_authorities,
    changes,
    cluster,
    files,
    keys,
    locks,
    maintenance,
    named_keys,
    programs,
    proxies,
    quotas,
    second_factor,
    servers,
    service_accounts,
    single_sign_on,
    status,
    storage_keys,
    targets,
    users,
    watch,
)
from lockstep_store.client.cli.command import Group, connection_options
from lockstep_store.client.cli.exit_codes import help_text
from lockstep_store.client.cli.names import SYNTAX


def _version() -> str:
    try:
        return installed_version("lockstep-store")
    except PackageNotFoundError:
        return "0 (not installed)"


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"""{SYNTAX}

Commands that print a result take --json. Commands that use a proxy take --url, --ca and --profile, or the variables
LOCKSTEP_URL, LOCKSTEP_CA and LOCKSTEP_PROFILE; the default is the last `lockstep login`, then the cluster that
`./run_cluster.sh` started here. LOCKSTEP_API_KEY replaces a log-in, LOCKSTEP_CONFIG_DIR is the folder for log-ins, and
LOCKSTEP_LOCAL_STORAGE the folder for edits that could not be saved.

{help_text()}""",
)
@click.version_option(_version(), prog_name="lockstep")
def main() -> None:
    """Lockstep: a distributed file store for people who edit files together."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a listing


main.params.extend(connection_options(from_environment=True))

for family in (
    (
        accounts.login,
        accounts.logout,
        accounts.whoami,
        users.passwd,
        second_factor.mfa,
        keys.keys,
        service_accounts.service_accounts,
        accounts.buckets,
    ),
    (files.put, files.get, files.cat, files.ls, files.digest),
    (changes.rm, changes.cp, changes.mv, changes.versions, changes.restore, changes.edit),
    (locks.lock, locks.unlock, locks.locks, watch.watch),
    (
        status.status,
        servers.servers,
        proxies.proxies,
        users.users,
        users.audit,
        quotas.quota,
        servers.repair,
        single_sign_on.sso,
        targets.targets,
        maintenance.fsck,
        maintenance.backup,
        maintenance.recover,
        named_keys.kms,
        storage_keys.storage_keys,
        cluster.invite,
        cluster.join,
        certificate_authorities.certs,
    ),
    (programs.serve, programs.menu, programs.completion),
):
    for command in family:
        main.add_command(command)

# The command's former name, hidden in the help.
_alias = copy.copy(cluster.invite)
_alias.name, _alias.hidden = "join-token", True
main.add_command(_alias)
