"""Lets the pods of a Helm release join the cluster by themselves, without a stored secret.

`serve` runs in the directory's pod. A pod that has no certificate yet shows a token of its service account, which
Kubernetes made for that pod and for this purpose only. The API server says whose token it is, and exactly that pod is
invited, for a minute. `serve` also puts the cluster's CA certificate into a ConfigMap, so that pods know whom they ask,
and ends the membership of proxies that were scaled in.

`join` runs in a pod before its program. It does nothing if the program has a valid certificate.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509

from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.client import Client
from lockstep_store.runtime.tls.certificate_authority import Role
from lockstep_store.runtime.tls.join_token import JoinToken
from lockstep_store.wire.errors import Conflict, LockstepError

AUDIENCE = "lockstep-join"
PORT = 5100
ROLES: dict[str, Role] = {"file-server": "file_server", "proxy": "client_proxy"}
CERTS = Path(os.environ.get("LOCKSTEP_CERTS", "/var/lib/lockstep/certs"))
KUBERNETES = Path(os.environ.get("LOCKSTEP_KUBERNETES_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
VALID_SECONDS = 60.0
ASK_SECONDS = 10.0
LOOK_SECONDS = 2.0
UPKEEP_SECONDS = 10.0


class Refused(Exception):
    """The caller is no pod that may join."""


class Kubernetes:
    """The calls of the API server that are needed, with the token of this pod's service account."""

    def __init__(self) -> None:
        self._host = os.environ["KUBERNETES_SERVICE_HOST"]
        self._port = int(os.environ["KUBERNETES_SERVICE_PORT"])

    def review(self, token: str) -> dict[str, Any]:
        """Return the status of a TokenReview for our audience."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        reply = self._call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, "application/json")
        status: dict[str, Any] = reply["status"]
        return status

    def publish(self, namespace: str, config_map: str, ca_pem: str) -> None:
        """Store the CA certificate in the ConfigMap; its other entries stay."""
        path = f"/api/v1/namespaces/{namespace}/configmaps/{config_map}"
        self._call("PATCH", path, {"data": {"ca.pem": ca_pem}}, "application/merge-patch+json")

    def replicas(self, namespace: str, stateful_set: str) -> int:
        """Return how many pods a StatefulSet shall have."""
        found = self._call("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{stateful_set}")
        return int(found["spec"]["replicas"])

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Raises OSError when the API server cannot be reached or refuses."""
        context = ssl.create_default_context(cafile=KUBERNETES / "ca.crt")
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=ASK_SECONDS, context=context)
        headers = {
            "Authorization": f"Bearer {(KUBERNETES / 'token').read_text().strip()}",
            "Content-Type": content_type,
        }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            content = reply.read(1_000_000)
        except http.client.HTTPException as error:
            raise OSError(f"the API server's reply is not HTTP: {error}") from error
        finally:
            connection.close()
        if reply.status >= 300:
            raise OSError(f"the API server refused {method} {path}: {reply.status} {content[:300]!r}")
        found: dict[str, Any] = json.loads(content)
        return found


class Invitations:
    """Decides which pod a token belongs to, and invites that pod's program.

    The names are the chart's: the pods of a role are `RELEASE-ROLE-ORDINAL`, with the service account `RELEASE-ROLE`
    and the headless service `RELEASE-ROLE`. A program's id is its pod's ordinal.
    """

    def __init__(self, release: str, namespace: str, proxy_hosts: Sequence[str], kubernetes: Kubernetes) -> None:
        self._release = release
        self._namespace = namespace
        self._proxy_hosts = list(proxy_hosts)
        self._kubernetes = kubernetes

    def token(self, account_token: str) -> str:
        """Return an invitation for the pod with this token, for `lockstep join`. Raises Refused."""
        pod, role = self._pod(self._kubernetes.review(account_token))
        service = f"{self._release}-{role}.{self._namespace}.svc"
        hosts = [f"{pod}.{service}", *(self._proxy_hosts if role == "proxy" else [])]
        return _invite(role, pod.rpartition("-")[2], hosts)

    def _pod(self, status: dict[str, Any]) -> tuple[str, str]:
        """The name and role of the pod that a TokenReview's status names."""
        if status.get("authenticated") is not True or AUDIENCE not in status.get("audiences", ()):
            raise Refused("the API server does not know this token, or it was made for another purpose")
        user = status.get("user", {})
        pod = next(iter(user.get("extra", {}).get("authentication.kubernetes.io/pod-name", ())), "")
        for role in ROLES:
            account = f"system:serviceaccount:{self._namespace}:{self._release}-{role}"
            if user.get("username") == account and re.fullmatch(
                rf"{re.escape(self._release)}-{role}-[0-9]{{1,5}}", pod
            ):
                return pod, role
        raise Refused(
            f"{user.get('username', '')!r} with the pod {pod!r} is no file server and no proxy of this release"
        )


def _administrator() -> Client:
    """The first administrator, at the proxy in this pod."""
    key = json.loads(Path(os.environ["LOCKSTEP_DIRECTORY_ADMIN_CREDENTIALS"]).read_text())["api_key"]
    return Client(ApiTransport(os.environ["LOCKSTEP_URL"], CERTS / "ca.pem", key))


def _invite(role: str, id: str, hosts: list[str]) -> str:
    """Invite one program. A member that asks again has lost its disk: its old certificates end."""
    with _administrator() as client:
        try:
            reply = client.join_secret(VALID_SECONDS, ROLES[role], id, hosts)
        except Conflict:
            client.revoke_program(ROLES[role], id)
            reply = client.join_secret(VALID_SECONDS, ROLES[role], id, hosts)
    gate = os.environ["LOCKSTEP_GATE_URL"]
    return JoinToken(gate, reply.secret, reply.ca_pem, ROLES[role], id, tuple(hosts)).encode()


def remove_scaled_in(proxies: int) -> None:
    """End the membership of silent proxies beyond the first `proxies`: the cluster would count as degraded."""
    with _administrator() as client:
        for one in client.proxies():
            if one.state == "down" and one.id.isdecimal() and int(one.id) >= proxies:
                client.revoke_program("client_proxy", one.id)
                print(f"removed proxy {one.id}, which was scaled in", flush=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = ASK_SECONDS

    def setup(self) -> None:
        # Here and not where connections are accepted: a handshake that hangs must hold up nobody else.
        self.request.settimeout(ASK_SECONDS)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_POST(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            if self.path != "/invitation" or not token:
                raise Refused("ask POST /invitation with the token of a service account")
            self._answer(200, self.server.invitations.token(token))
        except Refused as refusal:
            self._answer(403, str(refusal))
        except (OSError, KeyError, ValueError, LockstepError) as error:
            self._answer(503, f"not now: {error}")

    def _answer(self, status: int, text: str) -> None:
        said = "invited" if status == 200 else text
        print(f"{self.client_address[0]}: {status} {said}", flush=True)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """`_answer` logs what matters."""


class Server(ThreadingHTTPServer):
    """Serves POST /invitation over TLS, with the certificate of the proxy in this pod."""

    daemon_threads = True

    def __init__(self, port: int, invitations: Invitations) -> None:
        self.invitations = invitations
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.load_certificate()
        super().__init__(("0.0.0.0", port), _Handler)  # noqa: S104 - the pods that join are elsewhere

    def load_certificate(self) -> None:
        folder = CERTS / "client_proxy-gate"
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    def handle_error(self, request: object, client_address: object) -> None:
        print(f"{client_address}: {sys.exc_info()[1]}", flush=True)


def serve() -> int:
    release, namespace = os.environ["LOCKSTEP_RELEASE"], os.environ["LOCKSTEP_NAMESPACE"]
    kubernetes = Kubernetes()
    _await(CERTS / "client_proxy-gate" / "cert.pem", "the certificate of the proxy in this pod")
    _await(Path(os.environ["LOCKSTEP_DIRECTORY_ADMIN_CREDENTIALS"]), "the first administrator's credentials")
    invitations = Invitations(release, namespace, os.environ.get("LOCKSTEP_PROXY_HOSTS", "").split(), kubernetes)
    server = Server(int(os.environ.get("LOCKSTEP_JOIN_PORT", PORT)), invitations)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    published = ""
    while True:
        try:
            server.load_certificate()  # the proxy renews it
            ca_pem = (CERTS / "ca.pem").read_text()
            kubernetes.publish(namespace, f"{release}-ca", ca_pem)  # even if it is unchanged: somebody may empty it
            if ca_pem != published:
                print(f"published ca.pem in the ConfigMap {release}-ca", flush=True)
            published = ca_pem
            remove_scaled_in(kubernetes.replicas(namespace, f"{release}-proxy"))
        except (OSError, KeyError, ValueError, LockstepError) as error:
            print(f"not now: {error}", flush=True)
        time.sleep(UPKEEP_SECONDS if published else LOOK_SECONDS)


def _await(path: Path, what: str) -> None:
    while not path.exists():
        print(f"waiting for {what} ({path})", flush=True)
        time.sleep(LOOK_SECONDS)


def join(role: str) -> int:
    id = os.environ["LOCKSTEP_FILE_SERVER_ID" if role == "file-server" else "LOCKSTEP_PROXY_ID"]
    if _has_certificate(CERTS / f"{ROLES[role]}-{id}"):
        print(f"{role} {id} has a valid certificate")
        return 0
    invitation = _ask(role)
    command = ["lockstep", "join", invitation, "--certs", str(CERTS)]
    passphrase = os.environ.get("LOCKSTEP_FILE_SERVER_KEY_PASSPHRASE_FILE")
    return subprocess.call([*command, "--key-passphrase-file", passphrase] if passphrase else command)


def _has_certificate(folder: Path) -> bool:
    """Whether the program has all that it needs, for an hour at least; it renews the certificate while it runs."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    except (OSError, ValueError):
        return False
    lasts = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(hours=1)
    return lasts and (folder / "key.pem").exists() and (folder / "peer.token").exists()


def _ask(role: str) -> str:
    """Ask until there is an invitation: the directory may not have started yet."""
    host, ca_file = os.environ["LOCKSTEP_JOIN_HOST"], Path(os.environ["LOCKSTEP_JOIN_CA"])
    token_file = Path(os.environ["LOCKSTEP_JOIN_TOKEN"])
    port = int(os.environ.get("LOCKSTEP_JOIN_PORT", PORT))
    while True:
        try:
            context = ssl.create_default_context(cafile=ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=6 * ASK_SECONDS, context=context)
            headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
            connection.request("POST", "/invitation", headers=headers)
            reply = connection.getresponse()
            text = reply.read(100_000).decode("utf-8", "replace")
            connection.close()
            if reply.status == 200:
                return text
            problem = f"{reply.status} {text}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error)
        print(f"no invitation for this {role} yet: {problem}", flush=True)
        time.sleep(LOOK_SECONDS)


def main(arguments: list[str]) -> int:
    if arguments == ["serve"]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a container's first process ignores it otherwise
        return serve()
    if len(arguments) == 2 and arguments[0] == "join" and arguments[1] in ROLES:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return join(arguments[1])
    print(f"usage: kubernetes_join.py serve | join {' | join '.join(ROLES)}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
