"""Commands for certificates: certs show, check, renew, revoke."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from lockstep_store.client.cli.cluster import ROLES as INVITED
from lockstep_store.client.cli.cluster import key_passphrase_option
from lockstep_store.client.cli.command import App, Group, end, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.storage.key_protection import KeyProtection, key_protection
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, pem_of
from lockstep_store.runtime.tls.certificate_authority import ROLES, Role
from lockstep_store.runtime.tls.contexts import CertificateInfo, HandshakeInfo, certificate_info, handshake_info
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.wire.cluster_file import ProgramEntry
from lockstep_store.wire.errors import LockstepError, NotLoggedIn, SetupError, Unavailable
from lockstep_store.wire.messages.cluster import RENEW_CERTIFICATE, EnrolReply, RenewCertificateRequest

certs_option = click.option(
    "--certs",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LOCKSTEP_CERTS",
    help="The certs folder [default: that of the cluster started here, else ./certs].",
)


@click.group(cls=Group)
def certs() -> None:
    """Show, check, renew and revoke the cluster's certificates, and rotate their authority."""


@certs.command("show")
@certs_option
@pass_app
def show(app: App, folder: Path | None) -> None:
    """Show the certificates on this machine, with names, expiry and fingerprints."""
    folder = certs_folder(app, folder)
    found = [("authority", certificate_info(pem)) for pem in _authorities(folder / "ca.pem")]
    found += [(f"{identity.role} {identity.id}", _info(identity.cert_file)) for identity in _identities(folder)]
    lines = []
    for name, info in found:
        lines.append(
            f"{name}: {_days(info.days_left)} left, until {info.not_after:%Y-%m-%d}\n"
            f"  {info.subject}, by {info.issuer}\n"
            f"  SHA-256 {info.fingerprint}"
        )
        if info.hosts:
            lines.append(f"  for {', '.join(info.hosts)}")
    app.show("\n".join(lines), {"folder": str(folder), "certificates": [_as_data(*one) for one in found]})


@dataclass(frozen=True)
class _Checked:
    program: str
    where: str
    info: HandshakeInfo | None
    problem: str


@certs.command("check")
@certs_option
@click.option("--directory", metavar="URL", help="The directory server, if there is no cluster.json here.")
@pass_app
def check(app: App, folder: Path | None, directory: str | None) -> None:
    """Make a fully verified TLS handshake with every program, and show the result.

    Checks the programs of the cluster started here, otherwise the proxy in use and --directory. With a log-in it also
    checks all file servers of the cluster. Exits with 7 if any check fails.
    """
    folder = certs_folder(app, folder)
    own = next(iter(_identities(folder)), None)
    checked = [_check(entry, folder / "ca.pem", own) for entry in _programs(app, directory)]
    lines = []
    for one in checked:
        if one.info is None:
            lines.append(f"{one.program} {one.where}: FAILED\n  {one.problem}")
            continue
        info = one.info
        lines.append(
            f"{one.program} {one.where}: {info.protocol}, {info.cipher}, {_days(info.days_left)} left, "
            f"{info.milliseconds:.0f} ms\n  {' <- '.join(info.chain)}"
        )
    app.show("\n".join(lines), {"programs": [_check_data(one) for one in checked]})
    failed = sum(1 for one in checked if one.info is None)
    if failed:
        sentence = f"{failed} of {formatting.counted(len(checked), 'program')} failed the check"
        end(click.get_current_context(), sentence, 7)


@certs.command("renew")
@certs_option
@click.option("--directory", metavar="URL", help="The directory server, for a machine that joined the cluster.")
@key_passphrase_option
@pass_app
def renew(app: App, folder: Path | None, directory: str | None, key_passphrase_file: Path | None) -> None:
    """Renew all program certificates on this machine. Running programs load them without a restart."""
    folder = certs_folder(app, folder)
    found = _identities(folder)
    if not found:
        raise SetupError(f"{folder} has no program's certificate: start a cluster here, or join one")
    url = directory or next((one.url for one in app.cluster.programs if one.program == "directory_server"), "")
    renewed = []
    for identity in found:
        _renew(identity, url, key_protection(key_passphrase_file))
        renewed.append((f"{identity.role} {identity.id}", _info(identity.cert_file)))
    text = "\n".join(f"renewed {name}: {_days(info.days_left)} left" for name, info in renewed)
    app.show(text, {"renewed": [_as_data(*one) for one in renewed]})


@certs.command("revoke")
@click.argument("role", type=click.Choice(sorted(INVITED)), metavar="file-server|proxy")
@click.argument("id", metavar="ID")
@pass_app
def revoke(app: App, role: str, id: str) -> None:
    """Revoke a program's token and certificates, because its key may be stolen (administrators).

    The directory refuses it at once, file servers and proxies within a heartbeat. A file server keeps its data and its
    place in the cluster, and can join again with a new invitation.
    """
    app.api().revoke_program(INVITED[role], id)
    name = f"{role} {formatting.safe(id)}"
    text = f"the token and certificates of {name} are revoked; to let it back: lockstep invite --role {role} --id {id}"
    app.show(text, {"revoked": id, "role": INVITED[role]})


def _renew(identity: Identity, directory_url: str, protection: KeyProtection | None) -> None:
    client = PeerClient(identity, directory=directory_url)

    def ask(request: RenewCertificateRequest) -> EnrolReply:
        if not directory_url:
            raise SetupError("the certificate authority is on another machine: give its --directory URL")
        return client.call(directory_url, RENEW_CERTIFICATE, request)

    try:
        CertificateRenewal(identity, ask, protection).renew_now()
    finally:
        client.close()


def certs_folder(app: App, given: Path | None) -> Path:
    folder = given or (Path(app.cluster.ca_file).parent if app.cluster.ca_file else Path("certs"))
    if not (folder / "ca.pem").is_file():
        raise SetupError(f"{folder} has no ca.pem: give the certs folder with --certs, or start a cluster here")
    return folder


def _identities(folder: Path) -> list[Identity]:
    """The programs that have a certificate in the folder."""
    found: list[Identity] = []
    for role in ROLES:
        found += [_identity(folder, role, file.parent) for file in sorted(folder.glob(f"{role}-*/cert.pem"))]
    return found


def _identity(folder: Path, role: Role, own: Path) -> Identity:
    token = own / "peer.token"
    try:
        peer_token = token.read_text("ascii").strip() if token.exists() else ""
    except OSError as error:
        raise SetupError(f"{token} cannot be read ({error.strerror}): run this as the programs' user") from error
    return Identity(
        role=role,
        id=own.name.removeprefix(f"{role}-"),
        ca_file=folder / "ca.pem",
        cert_file=own / "cert.pem",
        key_file=own / "key.pem",
        peer_token=peer_token,
        storage_keys_file=folder / "storage-keys.json",
    )


def _programs(app: App, directory: str | None) -> list[ProgramEntry]:
    here = app.cluster.programs
    if here:
        with suppress(NotLoggedIn, Unavailable):  # a cluster that is down must be checked too
            known = {entry.url for entry in here}
            return here + [entry for entry in _file_servers(app) if entry.url not in known]
        return here
    found = [ProgramEntry("directory_server", "1", directory)] if directory else []
    found.append(ProgramEntry("client_proxy", app.api().health().id or "?", app.api().url))
    return found + _file_servers(app)


def _file_servers(app: App) -> list[ProgramEntry]:
    """All file servers of the cluster, on any machine. Empty without a log-in."""
    if not app.api().transport.credential:
        return []
    return [ProgramEntry("file_server", server.id, server.url) for server in app.api().servers()]


def _check(entry: ProgramEntry, ca_file: Path, own: Identity | None) -> _Checked:
    parts = urlsplit(entry.url)
    name = f"{entry.program} {entry.id}"
    where = f"{parts.hostname}:{parts.port or 443}"
    cert_file, key_file = (own.cert_file, own.key_file) if own else (None, None)
    if entry.program == "client_proxy":
        cert_file = key_file = None  # as for people's clients, which have no certificates
    try:
        info = handshake_info(parts.hostname or "", parts.port or 443, ca_file, cert_file, key_file)
    except (LockstepError, Unavailable) as error:
        return _Checked(name, where, None, str(error))
    return _Checked(name, where, info, "")


def _check_data(one: _Checked) -> dict[str, Any]:
    info = one.info
    return {
        "program": one.program,
        "address": one.where,
        "ok": info is not None,
        "problem": one.problem,
        "protocol": info.protocol if info else "",
        "cipher": info.cipher if info else "",
        "chain": list(info.chain) if info else [],
        "days_left": info.days_left if info else None,
    }


def _as_data(name: str, info: CertificateInfo) -> dict[str, Any]:
    return {
        "name": name,
        "subject": info.subject,
        "issuer": info.issuer,
        "hosts": list(info.hosts),
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
        "days_left": info.days_left,
        "fingerprint": info.fingerprint,
    }


def _authorities(file: Path) -> list[str]:
    return [pem_of([one]) for one in TrustedAuthorities.load(file).certificates]


def _info(file: Path) -> CertificateInfo:
    try:
        return certificate_info(file.read_bytes())
    except OSError as error:
        raise SetupError(f"{file} cannot be read ({error.strerror}): check its permissions") from error


def _days(days: float) -> str:
    return formatting.counted(int(days), "day") if days >= 0 else "EXPIRED, no days"
