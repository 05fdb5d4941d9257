"""A Python client that `openapi-python-client` makes from the served document does a person's everyday work."""

from __future__ import annotations

import importlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.rest import RestServer, make_identity
from tests.fakes.wsgi import ask
from tests.unit.rest_door import make_door

NAME = "lockstep_generated"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a freshly generated client, importable by `NAME`."""
    folder = tmp_path_factory.mktemp("generated")
    document = ask(make_door().app, "GET", "/api/v1/openapi.json").body
    (folder / "openapi.json").write_bytes(document)
    # Its chunk streams are left out: the generator sends a binary body under the last type that it knows.
    types = {"application/vnd.lockstep.manifest": "application/octet-stream"}
    types |= dict.fromkeys(("application/vnd.lockstep.backup", "application/zip"), "application/octet-stream")
    config = {"content_type_overrides": types, "post_hooks": []}
    (folder / "config.json").write_text(json.dumps(config))
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"]
    command += ["--path", "openapi.json", "--config", "config.json", "--output-path", NAME]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("WARNING")]
    assert warnings == ["WARNING parsing PUT /api/v1/files/{bucket}/{path} within files."], done.stderr
    sys.path.insert(0, str(folder))
    yield folder / NAME
    sys.path.remove(str(folder))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestServer]:
    made = RestServer(make_identity(tmp_path))
    yield made
    made.close()


def _part(name: str) -> Any:
    return importlib.import_module(f"{NAME}.{name}")


def test_every_operation_can_be_generated(generated: Path) -> None:
    """There is a module for each operation of the document."""
    document = json.loads((generated.parent / "openapi.json").read_text())
    ids = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert {path.stem for path in (generated / "api").glob("*/*.py")} - {"__init__"} == ids


def test_a_generated_client_works_with_files_and_locks(generated: Path, server: RestServer) -> None:
    """Log in, put, get, list, lock, write under the lock, release; a refusal arrives as a problem."""
    models, types, client = _part("models"), _part("types"), _part("client")
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    with client.Client(base_url=server.url, verify_ssl=trust) as visitor:
        body = models.LoginBody(username="ann", password="correct horse")
        token = _part("api.people.login").sync(client=visitor, body=body).token
    with client.AuthenticatedClient(base_url=server.url, token=token, verify_ssl=trust) as ann:

        def put(content: bytes, **options: Any) -> Any:
            write = _part("api.files.write_file").sync
            return write("files", "plans/roof.txt", client=ann, body=types.File(payload=BytesIO(content)), **options)

        saved = put(b"flat\n", x_lockstep_metadata='{"house_no": "7"}')
        assert (saved.version.size, saved.version.path) == (5, "plans/roof.txt")
        got = _part("api.files.read_file").sync("files", "plans/roof.txt", client=ann)
        assert got.payload.read() == b"flat\n"
        listed = _part("api.files.list_files").sync("files", client=ann, prefix="plans/")
        assert [(file.path, file.digest) for file in listed.files] == [("plans/roof.txt", saved.version.digest)]
        wanted = models.AcquireBody(paths=["files/plans/roof.txt"], lease_seconds=30.0)
        lock = _part("api.locks.acquire_lock").sync(client=ann, body=wanted).lock
        assert put(b"steep\n", x_lockstep_lock=lock.number).version.lock_number == lock.number
        assert _part("api.locks.release_lock").sync_detailed(lock.id, client=ann).status_code == 204
        refused = put(b"late\n", x_lockstep_lock=lock.number)
        assert isinstance(refused, models.Problem)
        assert (refused.status, str(refused.code)) == (409, "lock_stale")
