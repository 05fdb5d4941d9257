"""The calls of a Kubernetes API server by which pods join: TokenReview, a ConfigMap, and a StatefulSet's size."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from tests.fakes.lasting_ports import lasting_ports


class _Calls(BaseHTTPRequestHandler):
    server: _ApiServer

    def do_POST(self) -> None:
        self._reply(self.server.api.review(self._body()["spec"]) if self.path.endswith("/tokenreviews") else None)

    def do_PATCH(self) -> None:
        self.server.api.config_maps.setdefault(self.path.rpartition("/")[2], {}).update(self._body()["data"])
        self._reply({})

    def do_GET(self) -> None:
        self._reply({"spec": {"replicas": self.server.api.replicas[self.path.rpartition("/")[2]]}})

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _reply(self, content: dict[str, Any] | None) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {self.server.api.token}"
        body = json.dumps(content).encode()
        self.send_response(403 if not allowed else 404 if content is None else 201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep standard error clean."""


class _ApiServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: KubernetesApi, port: int) -> None:
        self.api = api
        super().__init__(("127.0.0.1", port), _Calls)


class KubernetesApi:
    """An API server with TLS. `account` is the folder with its CA and the token that it accepts, as a pod has it.

    `tokens` has the status of a TokenReview for each token; others are not authenticated. `replicas` has the sizes of
    StatefulSets.
    """

    def __init__(self, folder: Path) -> None:
        self.token = "the-token-of-the-directory's-account"
        self.tokens: dict[str, dict[str, Any]] = {}
        self.config_maps: dict[str, dict[str, str]] = {}
        self.replicas: dict[str, int] = {}
        ensure_authority(folder / "certs")
        identity = ensure_identity(folder / "certs", "client_proxy", "kubernetes", ["127.0.0.1"])
        self.account = folder / "account"
        self.account.mkdir()
        (self.account / "token").write_text(self.token)
        (self.account / "ca.crt").write_bytes(identity.ca_file.read_bytes())
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(identity.cert_file, identity.key_file)
        (self.port,) = lasting_ports(1)
        self._server = _ApiServer(self, self.port)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def review(self, spec: dict[str, Any]) -> dict[str, Any]:
        """As for a token that was made for the audience `lockstep-join`."""
        known = self.tokens.get(spec["token"])
        if known is None or "lockstep-join" not in spec["audiences"]:
            return {"status": {"authenticated": False}}
        return {"status": {**known, "authenticated": True, "audiences": ["lockstep-join"]}}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def status(account: str, pod: str) -> dict[str, Any]:
    """The part of a TokenReview's status that says whose token it is; `account` is NAMESPACE:NAME."""
    extra = {"authentication.kubernetes.io/pod-name": [pod]} if pod else {}
    return {"user": {"username": f"system:serviceaccount:{account}", "extra": extra}}
