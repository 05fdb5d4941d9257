"""Commands with which programs join the cluster: invite, join."""

from __future__ import annotations

import ipaddress
import shlex
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import click

from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.client import Client
from lockstep_store.client.local_storage import local_problem
from lockstep_store.client.text import formatting
from lockstep_store.runtime.storage.key_protection import key_protection
from lockstep_store.runtime.tls.identity import accept_bundle, new_key_and_request
from lockstep_store.runtime.tls.join_token import JoinToken
from lockstep_store.wire.errors import BadRequest, PeerUnreachable, SetupError
from lockstep_store.wire.messages.cluster import EnrolReply, EnrolRequest, InvitedRole

ROLES: dict[str, InvitedRole] = {
    "file-server": "file_server",
    "proxy": "client_proxy",
}
SERVED: dict[str, str] = {role: word for word, role in ROLES.items()}
FIRST_PORTS = {"file_server": 5060, "client_proxy": 5000}


key_passphrase_option = click.option(
    "--key-passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LOCKSTEP_FILE_SERVER_KEY_PASSPHRASE_FILE",
    help="For a file server: a file whose first line is the passphrase that protects its storage keys.",
)


@click.command(cls=Command)
@click.option("--role", type=click.Choice(sorted(ROLES)), default="file-server", show_default=True)
@click.option("--id", "program_id", metavar="ID", default="", help="Its id; without one, any new file server may join.")
@click.option("--host", "hosts", metavar="HOST", multiple=True, help="A name or address that others reach it by.")
@click.option(
    "--valid",
    type=click.FloatRange(60, 7 * 86400),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the token is valid.",
)
@click.option("--advertise", metavar="URL", help="The proxy's address for the new machine.")
@pass_app
def invite(app: App, role: str, program_id: str, hosts: tuple[str, ...], valid: float, advertise: str | None) -> None:
    """Print a token for a program to join (administrators).

    The token works once. On the other machine run `lockstep join TOKEN`. The program's certificate has the names given
    here with --host, and no others but localhost.
    """
    if role == "proxy" and not program_id:
        raise BadRequest("an invitation for a proxy must name its id: add --id")
    url = advertise or app.place().url
    reply = app.api().join_secret(valid, ROLES[role], program_id, hosts)
    token = JoinToken(url, reply.secret, reply.ca_pem, ROLES[role], program_id, hosts).encode()
    if only_here(url):
        app.note(f"note: {url} works on this machine only; use --advertise to give the address for others")
    app.note(f"valid once, until {formatting.when(reply.expires_at)}; on the other machine: lockstep join TOKEN")
    app.show(token, {"token": token, "url": url, "expires_at": reply.expires_at})


def only_here(url: str) -> bool:
    """Whether an address means the reader's own machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command(cls=Command)
@click.argument("token")
@click.option(
    "--id",
    "program_id",
    metavar="ID",
    help="If the invitation leaves it open: the program's id in the cluster [default: the host's name].",
)
@click.option(
    "--certs",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LOCKSTEP_CERTS",
    default=Path("certs"),
    show_default=True,
    help="The folder for its certificate and key.",
)
@key_passphrase_option
@pass_app
def join(app: App, token: str, program_id: str | None, certs: Path, key_passphrase_file: Path | None) -> None:
    """Add this machine to a cluster.

    The TOKEN comes from `lockstep invite` and contains the cluster's address and its CA certificate. The private key is
    made here and stays here; the cluster signs its certificate. Then start the program with the printed command.
    """
    invitation = JoinToken.decode(token)
    protection = key_protection(key_passphrase_file)
    program, name = _invited(invitation, program_id)
    key_pem, request_pem = new_key_and_request(program, name, invitation.hosts)
    reply = _enrol(invitation, EnrolRequest(invitation.secret, program, name, request_pem))
    identity = accept_bundle(
        certs,
        program,
        name,
        reply.ca_pem or invitation.ca_pem,
        reply.cert_pem,
        key_pem,
        reply.peer_token,
        reply.storage_keys_json,
        reply.revoked_pem,
        protection,
        reply.links_pem,
    )
    if any(only_here(url) for url in reply.directory_url.split(",")):
        app.note(
            f"warning: the cluster's address of its directory server is {reply.directory_url}, which works on that "
            "machine only; on another machine give --directory its network address"
        )
    if not invitation.hosts:
        app.note("note: the invitation names no host, so this program can be reached from this machine only")
    host = invitation.hosts[0] if invitation.hosts else "localhost"
    command = _start_command(program, name, certs, reply.directory_url, host)
    if key_passphrase_file is not None and program == "file_server":
        command += ["--key-passphrase-file", str(key_passphrase_file)]
    text = (
        f"joined as {program} {name}; its certificate is in {identity.cert_file.parent}\n"
        f"start it with:\n  {shlex.join(command)}"
    )
    data = {
        "role": program,
        "id": name,
        "hosts": list(invitation.hosts),
        "certificate": str(identity.cert_file),
        "directory_url": reply.directory_url,
        "command": command,
    }
    app.show(text, data)


def _enrol(invitation: JoinToken, request: EnrolRequest) -> EnrolReply:
    # This machine trusts nothing but the token's CA yet; requests needs it as a file.
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="ascii") as file:
            file.write(invitation.ca_pem)
            file.flush()
            client = Client(ApiTransport(invitation.url, Path(file.name)))
            try:
                return client.enrol(request)
            except PeerUnreachable as error:
                if not error.facts.get("untrusted"):
                    raise
                raise SetupError(
                    f"the token does not fit the cluster at {invitation.url}: it belongs to another cluster, or "
                    "the certificate authority has been rotated since it was made; ask for a new one"
                ) from error
            finally:
                client.close()
    except OSError as error:
        raise local_problem("write a temporary file in", tempfile.gettempdir(), error) from error


def _invited(invitation: JoinToken, wanted_id: str | None) -> tuple[InvitedRole, str]:
    """The role and id to join as. BadRequest if the invitation is for another id."""
    role: InvitedRole = "client_proxy" if invitation.role == "client_proxy" else "file_server"
    if invitation.id and wanted_id not in (None, invitation.id):
        raise BadRequest(f"the invitation is for {role} {invitation.id}: leave out --id")
    return role, invitation.id or wanted_id or socket.gethostname().partition(".")[0]


def _start_command(program: str, name: str, certs: Path, directory_url: str, host: str) -> list[str]:
    port = FIRST_PORTS[program]
    command = ["lockstep", "serve", SERVED[program], "--id", name, "--port", str(port), "--host", "0.0.0.0"]  # noqa: S104
    command += ["--certs", str(certs), "--directory", directory_url or "https://DIRECTORY:5050"]
    if program == "file_server":
        command += ["--advertise", f"https://{host}:{port}"]
    return command
