"""How the crowd's cluster is brought to each crash point: by the crowd's own work, or by something done besides.

`reach_of(name)` says which program dies there and what has to be done to get it there.
"""

from __future__ import annotations

import http.client
import os
import resource
import secrets
import shutil
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import requests

from local_cluster.plan import Program
from lockstep_store.wire.crash_points import CRASH_POINTS
from lockstep_store.wire.digest import Digest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.crash_crowd import BUCKET, Crowd
from tests.cluster.people import Person, file_path
from tests.fakes.older_storage import make_format_4, names_of
from tests.waiting import wait_until

PROGRAMS: dict[str, Program] = {
    "directory": "directory_server",
    "file_server": "file_server",
    "proxy": "client_proxy",
}
CALM_SECONDS = 4.0
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Scene(NamedTuple):
    """A cluster, its crowd, and the file server that is armed or, when another program is, that may be harmed."""

    cluster: ClusterHarness
    crowd: Crowd
    server: int


class Reach(NamedTuple):
    """What brings a program to a point. `before` is done while it is down, `then` once it was started armed."""

    then: Callable[[Scene], None] = lambda scene: None
    before: Callable[[Scene], None] = lambda scene: None
    env: dict[str, str] = {}
    passings: int = 1
    """The point is passed at least this often, so any of the first so many passings may be chosen."""
    slow: bool = False
    """Takes longer than an everyday run should; or only a cluster with short graces comes there."""


def _restart_a_file_server(scene: Scene) -> None:
    scene.cluster.terminate("file_server", scene.server)
    scene.cluster.start("file_server", scene.server, wait=False)


def _tell_the_directory_to_stop(scene: Scene) -> None:
    directory = scene.cluster.record("directory_server")
    scene.cluster.wait_healthy(directory)
    os.kill(directory.pid, signal.SIGTERM)


def _wipe(scene: Scene) -> None:
    """Empty the disk of a file server that is down."""
    shutil.rmtree(scene.cluster.data_dir("file_server", scene.server))


def _wipe_a_file_server(scene: Scene) -> None:
    scene.cluster.terminate("file_server", scene.server)
    _wipe(scene)
    scene.cluster.start("file_server", scene.server, wait=False)


def wait_until_repaired(cluster: ClusterHarness) -> None:
    """Until every file server is up and repair has found nothing to do for a few seconds: it looks once a second."""
    calm_since = time.monotonic()

    def repaired() -> bool:
        nonlocal calm_since
        with Person(cluster) as person:
            answer = person.ask("GET", "/cluster")
        state = answer.json() if answer.status_code == 200 else {}
        up = all(server["state"] == "up" for server in state.get("file_servers", [])) and bool(state)
        if not up or state["repair"]["under_copied"]:
            calm_since = time.monotonic()
        return time.monotonic() - calm_since > CALM_SECONDS

    wait_until(repaired, 180, "the end of repair")


def _damage(scene: Scene) -> None:
    """Flip a bit in new chunk files of a server that is down: its scrubber comes by when it starts. In some: the
    very newest may be what a crash left behind, or replaced already, and removed before."""
    folder = scene.cluster.data_dir("file_server", scene.server) / "chunks"
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: file.stat().st_mtime)[-30::3]:
        body = bytearray(file.read_bytes())
        body[len(body) // 2] ^= 1
        file.write_bytes(body)


def _damage_a_file_server(scene: Scene) -> None:
    scene.cluster.terminate("file_server", scene.server)
    _damage(scene)
    scene.cluster.start("file_server", scene.server, wait=False)


def _make_orphan(scene: Scene) -> None:
    """A chunk file without a row, in the folder that a starting server sweeps first."""
    data = scene.cluster.data_dir("file_server", scene.server)
    folder = data / "chunks" / "00"
    folder.mkdir(exist_ok=True)
    names = names_of(data, _storage_keys(scene))
    orphans = (names.name(Digest(secrets.token_bytes(32))).hex() for _ in range(1 << 20))
    (folder / next(name for name in orphans if name.startswith("00"))).write_bytes(b"left by a crash")


def _storage_keys(scene: Scene) -> Path:
    return scene.cluster.folder.certs_dir / "storage-keys.json"


def _make_format_4(scene: Scene) -> None:
    """The disk of a server that is down becomes one of an older program."""
    make_format_4(scene.cluster.data_dir("file_server", scene.server), _storage_keys(scene))


def _fail_the_disk_for_a_while(scene: Scene) -> None:
    """The server may write nothing to files until it has said so; then its disk is well again."""
    pid = scene.cluster.pid("file_server", scene.server)
    scene.cluster.wait_healthy(scene.cluster.record("file_server", scene.server))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        with Person(scene.cluster) as person:
            wait_until(lambda: _problem(person, scene.server), what="a failed disk in the cluster's state")
    except AssertionError:
        if scene.cluster.record("file_server", scene.server).running:
            raise
    finally:
        if scene.cluster.record("file_server", scene.server).running:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, NO_LIMIT)


def _problem(person: Person, server: int) -> str:
    answer = person.ask("GET", "/cluster")
    if answer.status_code != 200:  # the directory died at its point, which is what this was for
        return "unknown"
    return str(next(one for one in answer.json()["file_servers"] if one["id"] == str(server))["problem"])


def _cut_uploads(scene: Scene) -> None:
    """Begin a long upload through each proxy, and go away in the middle of it."""
    scene.cluster.wait_healthy(scene.cluster.record("file_server", scene.server))
    context = ssl.create_default_context(cafile=str(scene.cluster.ca_file))
    for number, url in enumerate(scene.cluster.proxy_urls * 4):
        address = urlsplit(url)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=60, context=context)
        connection.putrequest("PUT", f"/api/v1{file_path(BUCKET, f'cut-{number}')}")
        connection.putheader("Content-Length", str(30_000_000))
        connection.putheader("X-Api-Key", scene.cluster.admin_key)
        connection.endheaders()
        for _ in range(18):
            connection.send(secrets.token_bytes(1_000_000))
        connection.close()


def _make_garbage(scene: Scene) -> None:
    """Files that are deleted at once, enough of them for every server: those that the crowd writes again and again may
    all be on the others."""
    with Person(scene.cluster) as person:
        names = [f"garbage-{secrets.token_hex(8)}" for _ in range(15)]
        for name in names:
            person.put(name, secrets.token_bytes(1000), bucket=BUCKET)
        for name in names:
            answer = person.patiently("DELETE", file_path(BUCKET, name))
            assert answer.status_code in (200, 204, 404), answer.text


def _rotate_storage_keys(scene: Scene) -> None:
    """Rotate; the armed program dies then, or when it encrypts again. Old keys that nothing needs go first."""
    directory = scene.cluster.record("directory_server")
    scene.cluster.wait_healthy(directory)

    def rotated() -> bool:
        return not directory.running or person.ask("POST", "/cluster/storage-keys/rotate", json={}).status_code == 200

    with Person(scene.cluster) as person, suppress(requests.RequestException):
        for key in person.ask("GET", "/cluster/storage-keys").json()["keys"]:
            if not key["current"]:
                person.ask("POST", f"/cluster/storage-keys/{key['id']}/retire", json={"forget_backups": True})
        wait_until(rotated, what="a rotation")


def _rotate_authority(scene: Scene) -> None:
    """Rotate the certificate authority and retire the old one, until the armed program dies at one of the steps."""
    directory = scene.cluster.record("directory_server")  # it may die on its way up: a rotation goes on at a start

    def is_dead() -> bool:
        if not directory.running:
            return True
        with suppress(requests.RequestException, KeyError):
            found = person.ask("GET", "/cluster/authorities").json()["authorities"]
            if len(found) == 1:
                person.ask("POST", "/cluster/authorities/rotate", json={})
            elif found[1]["state"] == "old":
                person.ask("POST", f"/cluster/authorities/{found[1]['id']}/retire", json={})
        return not directory.running

    with Person(scene.cluster) as person:
        wait_until(is_dead, 120, "the end of the directory in a rotation")


def _send_large(scene: Scene) -> None:
    scene.crowd.send_large.set()


_WIPE_WHILE_DOWN = Reach(before=_wipe, slow=True)
_WIPE = Reach(then=_wipe_a_file_server, slow=True)
_DAMAGE_WHILE_DOWN = Reach(before=_damage, slow=True)
_DAMAGE = Reach(then=_damage_a_file_server, slow=True)
_GARBAGE = Reach(then=_make_garbage, slow=True)
_BAD_DISK = Reach(then=_fail_the_disk_for_a_while, slow=True)
_ROTATE = Reach(then=_rotate_storage_keys)
_ROTATE_AUTHORITY = Reach(then=_rotate_authority)
_ONCE = Reach()
_OFTEN = Reach(passings=6)

_SPECIAL = {
    "directory.heartbeat.saving": _BAD_DISK,
    "directory.register.asked": Reach(then=_restart_a_file_server),
    "directory.register.done": Reach(then=_restart_a_file_server),
    "directory.held.forgetting": _WIPE,
    "directory.held.noted": _WIPE,
    "directory.held.done": _WIPE,
    "directory.repair.ordered": _WIPE,
    "directory.damage.noted": _DAMAGE,
    "directory.collect.dropped": _GARBAGE,
    "directory.clock.saved": Reach(passings=3),
    "directory.checkpoint.moved": Reach(then=_tell_the_directory_to_stop),
    "directory.storage_keys.rotated": _ROTATE,
    "directory.storage_keys.resealed": _ROTATE,
    "directory.authority.introduced": _ROTATE_AUTHORITY,
    "directory.authority.promoted": _ROTATE_AUTHORITY,
    "directory.authority.retired": _ROTATE_AUTHORITY,
    "directory.authority.forgotten": _ROTATE_AUTHORITY,
    "file_server.reseal.placed": _ROTATE,
    "file_server.reseal.recorded": _ROTATE,
    "file_server.upload.kept": Reach(then=_cut_uploads),
    "file_server.copy.fetched": _WIPE_WHILE_DOWN,
    "file_server.copy.sealed": _WIPE_WHILE_DOWN,
    "file_server.copy.reported": _WIPE_WHILE_DOWN,
    "file_server.blob.dropped": _GARBAGE,
    "file_server.collect.forgotten": _GARBAGE,
    "file_server.quarantine.marked": _DAMAGE_WHILE_DOWN,
    "file_server.quarantine.moved": _DAMAGE_WHILE_DOWN,
    "file_server.probe.written": _BAD_DISK,
    "file_server.scrub.remembered": _ONCE,
    "file_server.orphan.removed": Reach(before=_make_orphan),
    "file_server.upgrade.rows-moved": Reach(before=_make_format_4, slow=True),
    "file_server.upgrade.file-named": Reach(before=_make_format_4, slow=True),
    "proxy.window.sent": Reach(then=_send_large, passings=2),
    "proxy.cache.evicting": Reach(env={"LOCKSTEP_PROXY_CACHE_BYTES": "1MiB"}),
}
FIRST_START = (
    "directory.migration.begun",
    "directory.administrator.file-written",
    "directory.administrator.made",
)
"""Passed only when there is no metadata yet, in this order: a test of their own."""


def reach_of(point: str) -> Reach:
    """What brings its program to the point; most are passed again and again while the crowd works."""
    return _SPECIAL.get(point, _OFTEN)


def program_of(point: str) -> Program:
    """Which program dies at the point."""
    return PROGRAMS[point.split(".")[0]]


def points(*, slow: bool) -> list[str]:
    """The points that a running cluster can be brought to; without `slow`, those that it is brought to soon."""
    return [name for name in CRASH_POINTS if name not in FIRST_START and (slow or not reach_of(name).slow)]
