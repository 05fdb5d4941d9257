"""A real OpenID Connect provider (the certified package `oidc-provider` on Node), and a person's browser at it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from joserfc.jwk import RSAKey

from lockstep_store.runtime.tls.identity import Identity
from tests.fakes.lasting_ports import lasting_ports

SOURCE = Path(__file__).parent / "provider"
INSTALL_SECONDS = 300
CLIENT, CONFIDENTIAL, SECRET = "lockstep", "lockstep-confidential", "s3cret+with/odd=characters-0123456789"
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_INPUT = re.compile(r"<input[^>]*>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def installed_provider() -> Path:
    """The folder with the installed package, beside the environment's libraries; skips the test without it."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: no real OpenID Connect provider to test with")
    folder, wanted = Path(sys.prefix) / "openid-provider", (SOURCE / "package.json").read_text()
    done = folder / "installed.json"
    if not done.exists() or done.read_text() != wanted:
        folder.mkdir(exist_ok=True)
        shutil.copy(SOURCE / "package.json", folder)
        command = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
        installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if installed.returncode:
            pytest.skip(f"the package oidc-provider cannot be installed: {installed.stderr[-500:]}")
        done.write_text(wanted)
    return folder


class RealProvider:
    """Listens on one port from its start to `close`; `restart` gives it other signing keys."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        package = installed_provider()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / "server.mjs", folder)
        shutil.copy(SOURCE / "package.json", folder)
        (folder / "node_modules").symlink_to(package / "node_modules")
        self._identity = identity
        self.ca_file = identity.ca_file
        (self.port,) = lasting_ports(1)
        self.issuer = f"https://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None
        self.restart("first")

    def restart(self, key_id: str) -> None:
        """Start with a new signing key."""
        self.close()
        settings = {
            "issuer": self.issuer,
            "port": self.port,
            "cert": str(self._identity.cert_file),
            "key": str(self._identity.key_file),
            "keys": [{**RSAKey.generate_key(2048, auto_kid=False).as_dict(private=True), "kid": key_id, "use": "sig"}],
            "clients": [_client(CLIENT), _client(CONFIDENTIAL, SECRET)],
        }
        file = self._folder / "configuration.json"
        file.touch(0o600)
        file.write_text(json.dumps(settings))
        with (self._folder / "stderr").open("w") as errors:
            self._process = subprocess.Popen(
                ("node", "server.mjs", str(file)), cwd=self._folder, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise AssertionError((self._folder / "stderr").read_text()[-2000:])

    def close(self) -> None:
        """Stop. Safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def person(self, sub: str, **claims: Any) -> None:
        """Whoever logs in from now on; with `refuses=True` somebody who does not want to."""
        reply = requests.post(
            f"{self.issuer}/test/person", json={"sub": sub, **claims}, verify=str(self.ca_file), timeout=10
        )
        assert reply.text == "ok"


class Browser:
    """A person's browser: it follows the provider's pages, and sends its forms."""

    def __init__(self, provider: RealProvider) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(provider.ca_file)

    def open(self, url: str) -> requests.Response:
        """Go to an address, and wherever it leads."""
        reply = self._session.get(url, timeout=20)
        reply.raise_for_status()
        return reply

    def close(self) -> None:
        self._session.close()

    def type_code(self, address: str, code: str) -> str:
        """Enter a device's code and confirm it; returns the last page."""
        page = self._send(self.open(address), user_code=code)
        if "confirm" in page.text:
            page = self._send(page, confirm="yes", user_code=code)
        return page.text

    def _send(self, page: requests.Response, **values: str) -> requests.Response:
        hidden = {}
        for tag in _INPUT.findall(page.text):
            attributes = dict(_ATTRIBUTE.findall(tag))
            if attributes.get("type") == "hidden":
                hidden[attributes["name"]] = html.unescape(attributes.get("value", ""))
        action = re.search(r'action="([^"]+)"', page.text)
        assert action is not None, page.text
        target = urljoin(page.url, html.unescape(action[1]))
        reply = self._session.post(target, data={**hidden, **values}, timeout=20)
        reply.raise_for_status()
        return reply


def _client(id: str, secret: str = "") -> dict[str, Any]:
    return {
        "client_id": id,
        **({"client_secret": secret} if secret else {}),
        "application_type": "native",
        "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", _DEVICE],
        "response_types": ["code"],
        "scope": "openid profile email groups",
    }
