"""A TypeScript client made from the served document passes the strictest type check and does an everyday work.

`openapi-typescript` makes the types, `openapi-fetch` sends the requests. Their packages are installed once, beside the
environment's own libraries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.rest import RestServer, make_identity
from tests.fakes.wsgi import ask
from tests.unit.rest_door import make_door

SOURCE = Path(__file__).parent / "typescript"
SECONDS = 300


def run(folder: Path, *command: str, **variables: str) -> str:
    """What a command prints; its last lines are the failure's message."""
    env = {**os.environ, "npm_config_update_notifier": "false", **variables}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def installed_packages() -> Path:
    """The folder with the packages' own folder; installed unless package.json is as it was."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder, wanted = Path(sys.prefix) / "typescript", (SOURCE / "package.json").read_text()
    done = folder / "installed.json"
    if not done.exists() or done.read_text() != wanted:
        folder.mkdir(exist_ok=True)
        shutil.copy(SOURCE / "package.json", folder)
        run(folder, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
        done.write_text(wanted)
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the type-checked and compiled client."""
    packages, folder = installed_packages(), tmp_path_factory.mktemp("typescript")
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "openapi.json").write_bytes(ask(make_door().app, "GET", "/api/v1/openapi.json").body)
    types = ("openapi.json", "-o", "api.d.ts", "--default-non-nullable=false")
    run(folder, "node", "node_modules/openapi-typescript/bin/cli.js", *types)
    run(folder, "node", "node_modules/typescript/bin/tsc")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestServer]:
    made = RestServer(make_identity(tmp_path))
    yield made
    made.close()


def test_a_typescript_client_works_with_files_and_locks(compiled: Path, server: RestServer) -> None:
    """Log in, put, get, list, lock, write under the lock, release; a refusal arrives as a problem."""
    trust = {"NODE_EXTRA_CA_CERTS": str(server.ca_file)}
    seen = json.loads(run(compiled, "node", "out/client.mjs", server.url, **trust))
    assert seen == {
        "saved": 5,
        "read": "flat\n",
        "listed": ["plans/roof.txt"],
        "number": seen["number"],
        "written": seen["number"],
        "released": 204,
        "missing": "not_found",
    }
    assert seen["number"] >= 1
