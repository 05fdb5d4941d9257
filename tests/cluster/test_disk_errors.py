"""Disks of running programs that fail or fill up: nothing is acknowledged that is not on two good disks.

Flushes are made to fail by strace, in the running program, so that they can be mended again; disks are filled on
small file systems in memory, which only root can mount; and a limit on file sizes stands in for both where neither is
allowed.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import requests

from local_cluster.health import HealthProbe
from local_cluster.plan import Program
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest
from tests.cluster.cluster_command import lockstep
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person, file_path
from tests.cluster.promised_times import check_time, in_time_once
from tests.cluster.system_calls import flushes_fail, flushes_hang, skip_without_strace, why_not_traced
from tests.waiting import wait_until

SMALL, FILE, STREAM = 2_000, 100_000, 1_300_000
DISK_BYTES = 100 * 1024 * 1024
REFUSALS = (503, 507)
RECOVERY_SECONDS = 60.0
Fault = Callable[[int], AbstractContextManager[None]]


class Disks:
    """A cluster whose directory and file servers 2 and 3 have small disks of their own, where that is allowed."""

    def __init__(self, folder: Path) -> None:
        self.cluster = ClusterHarness(folder, start_now=False, env={"LOCKSTEP_FILE_SERVER_RESERVE_BYTES": "1048576"})
        self.small = [self.cluster.data / name for name in ("directory_server", "file_server-2", "file_server-3")]
        self.mounted = [disk for disk in self.small if _mount(disk)]
        self.acknowledged: dict[str, bytes] = {}
        self.written: dict[tuple[str, int], set[Digest]] = {}
        """Digests acknowledged while the disk of a program was failing."""
        self._names = itertools.count()

    def close(self) -> None:
        self.cluster.close()
        for disk in self.mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=False)

    def write(self, person: Person, size: int) -> tuple[int, Digest]:
        """One write of new content, asked for once; its status and digest."""
        name = f"disk-{next(self._names)}"
        body = random.Random(name).randbytes(size)
        digest = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(body)).digest
        try:
            answer = person.ask("PUT", file_path("files", name), data=body)
        except requests.ConnectionError:
            return 503, digest
        if answer.status_code in (200, 201):
            assert "2/2" in answer.headers["X-Lockstep-Copies"]
            self.acknowledged[name] = body
        else:
            assert answer.status_code in REFUSALS, f"{answer.status_code} {answer.text}"
        return answer.status_code, digest


def _mount(disk: Path) -> bool:
    disk.mkdir(parents=True)
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    disks = Disks(tmp_path_factory.mktemp("disks"))
    try:
        disks.cluster.start_all()
        yield disks
    finally:
        disks.close()


@contextmanager
def no_file_grows(pid: int) -> Iterator[None]:
    """Inside the block the process may write to no regular file: each try gives EFBIG."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS = [pytest.param(flushes_fail, id="flushes-fail"), pytest.param(no_file_grows, id="no-file-grows")]


def _skip_unless_wanted(fault: Fault, request: pytest.FixtureRequest) -> None:
    """The second fault stands in for the first where nothing may be traced; the long form has both."""
    if fault is flushes_fail:
        skip_without_strace()
    elif not (why_not_traced() or request.config.option.soak):
        pytest.skip("the same with failing flushes is more: this one is for the long form")


def _health(cluster: ClusterHarness, program: Program, id: int = 1) -> str:
    return HealthProbe(cluster.folder).fault(cluster.record(program, id))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_server_whose_disk_fails_is_left_out_until_it_is_well(
    disks: Disks, fault: Fault, request: pytest.FixtureRequest
) -> None:
    """Writes go on without it, it says what is wrong, nothing written meanwhile counts on it, and it recovers alone."""
    _skip_unless_wanted(fault, request)
    cluster, victim = disks.cluster, 1
    during: set[Digest] = set()
    with Person(cluster) as one, Person(cluster, 2) as other:
        with fault(cluster.pid("file_server", victim)):
            for person, size in itertools.product((one, other), (SMALL, FILE, STREAM, SMALL)):
                status, digest = disks.write(person, size)
                during.update([digest] if status in (200, 201) else [])
            told = ("disk", "index")  # and not that it was slow to answer
            wait_until(
                lambda: any(word in _health(cluster, "file_server", victim) for word in told),
                RECOVERY_SECONDS,
                "its own word",
            )
            wait_until(lambda: _problem(one, victim), RECOVERY_SECONDS, "the cluster's word")
            _until_written(disks, one)
        wait_until(lambda: not _health(cluster, "file_server", victim), RECOVERY_SECONDS, "its recovery")
        wait_until(lambda: not _problem(one, victim), RECOVERY_SECONDS, "the cluster's word that it is well")
    assert during, "no write was acknowledged while one of three disks failed"
    disks.written.setdefault(("file_server", victim), set()).update(during)


def test_a_file_server_whose_disk_hangs_is_left_out_until_it_answers(disks: Disks) -> None:
    """Every write is taken by others; once the hanging is noticed none waits for it; and it recovers alone."""
    skip_without_strace()
    cluster, victim = disks.cluster, 1
    with Person(cluster) as one, Person(cluster, 2) as other:
        waits: list[float] = []

        def written(person: Person, size: int) -> None:
            started = time.monotonic()
            assert disks.write(person, size)[0] == 201
            waits.append(time.monotonic() - started)

        with flushes_hang(cluster.pid("file_server", victim)):
            while "hangs" not in _problem(one, victim):
                written(one, SMALL)
                assert sum(waits) < RECOVERY_SECONDS * 2, "the hanging was not noticed"
            at_first, waits[:] = max(waits), []

            def noticed(_: int) -> None:
                waits.clear()
                for person, size in itertools.product((one, other), (SMALL, FILE, STREAM)):
                    written(person, size)
                check_time(max(waits), 3.0, "a write beside a disk that hangs")

            in_time_once(noticed)
            assert "hangs" in _health(cluster, "file_server", victim)
        wait_until(lambda: not _problem(one, victim), RECOVERY_SECONDS, "the cluster's word that it is well")
        written(one, FILE)
    print(f"\na disk hangs: longest write {at_first:.1f} s until it is noticed, then {max(waits):.2f} s")


def _problem(person: Person, server: int) -> str:
    answer = person.patiently("GET", "/cluster").json()
    return str(next(one for one in answer["file_servers"] if one["id"] == str(server))["problem"])


def _until_written(disks: Disks, person: Person) -> None:
    wait_until(lambda: disks.write(person, FILE)[0] in (200, 201), RECOVERY_SECONDS, "an acknowledged write")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_directory_whose_disk_fails_acknowledges_nothing(
    disks: Disks, fault: Fault, request: pytest.FixtureRequest
) -> None:
    """Not one write, delete or lock is acknowledged, none shows, reads go on, and it recovers by itself."""
    _skip_unless_wanted(fault, request)
    cluster = disks.cluster
    with Person(cluster) as person:
        person.put("before", b"before the disk failed")
        with fault(cluster.pid("directory_server")):
            answers = [disks.write(person, size)[0] for size in (SMALL, FILE)]
            answers.append(person.ask("PUT", file_path("files", "before"), data=b"refused").status_code)
            answers.append(person.ask("DELETE", file_path("files", "before")).status_code)
            answers.append(person.ask("POST", "/locks", json={"paths": ["files/before"]}).status_code)
            assert set(answers) <= set(REFUSALS), f"answered {answers} while no commit can be flushed"
            assert person.get("before") == b"before the disk failed"
            wait_until(lambda: "disk" in _health(cluster, "directory_server"), RECOVERY_SECONDS, "its own word")
        wait_until(lambda: not _health(cluster, "directory_server"), RECOVERY_SECONDS, "the directory's recovery")
        person.put("before", b"after")
        assert person.get("before") == b"after"


def test_a_directory_killed_while_its_flushes_fail_starts_whole(disks: Disks) -> None:
    """What was refused may be there or not after the restart; what was acknowledged is, and new writes are taken."""
    skip_without_strace()
    cluster = disks.cluster
    with Person(cluster) as person:
        person.put("kept", b"acknowledged")
        with flushes_fail(cluster.pid("directory_server")):
            assert person.ask("PUT", file_path("files", "kept"), data=b"refused").status_code in REFUSALS
            cluster.pause("directory_server")  # so that nothing is written between the tracer's end and its own
        cluster.kill("directory_server")
        cluster.start("directory_server")
        assert person.get("kept") in (b"acknowledged", b"refused")
        _until_written(disks, person)


def test_a_proxy_whose_disk_fails_serves_on(disks: Disks) -> None:
    """Its cache is all that it loses: every read and write is answered as before."""
    cluster = disks.cluster
    with Person(cluster) as one, Person(cluster, 2) as other, ExitStack() as faults:
        one.put("through", b"x" * FILE)
        faults.enter_context(no_file_grows(cluster.pid("client_proxy", 2)))
        assert other.get("through") == b"x" * FILE
        for size in (SMALL, FILE, STREAM):
            assert disks.write(other, size)[0] == 201
        assert one.get("through") == other.get("through")


def test_full_disks_refuse_writes_and_take_them_when_there_is_room(disks: Disks) -> None:
    """One full file server is written around, two are a clean refusal, a full directory too; room ends all of it."""
    if len(disks.mounted) < len(disks.small):
        pytest.skip("only root can mount the small disks that this fills")
    cluster = disks.cluster
    with Person(cluster) as person:
        with full(disks.small[1]):
            wait_until(lambda: "full" in _told(person, 2, disks), RECOVERY_SECONDS, "file server 2 being full")
            _until_written(disks, person)
            assert {disks.write(person, size)[0] for size in (SMALL, FILE, STREAM)} == {201}
            with full(disks.small[2]):
                wait_until(lambda: "full" in _told(person, 3, disks), RECOVERY_SECONDS, "file server 3 being full")
                assert {disks.write(person, size)[0] for size in (SMALL, FILE)} <= set(REFUSALS)
                assert person.get(next(iter(disks.acknowledged)))
        _until_written(disks, person)
        with full(disks.small[0]):
            wait_until(lambda: disks.write(person, SMALL)[0] in REFUSALS, RECOVERY_SECONDS, "a refusal")
            assert person.get(next(iter(disks.acknowledged)))
            status = lockstep(cluster, "status")
            assert status.returncode == 2, status.stdout + status.stderr
            assert "directory server cannot write: " in status.stdout
            assert "free space on its disk" in status.stdout
        wait_until(lambda: not _health(cluster, "directory_server"), RECOVERY_SECONDS, "the directory's recovery")
        _until_written(disks, person)
        assert "directory server cannot write" not in lockstep(cluster, "status").stdout


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk to its last byte, and go on filling what others free on it; empty it again in the end."""
    ballast, stop = disk / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while not stop.is_set():
                for size in (1 << 20, 4096):
                    with contextlib.suppress(OSError):
                        while file.write(bytes(size)) == size:
                            pass
                time.sleep(0.05)

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        wait_until(lambda: shutil.disk_usage(disk).free < 4096, what="a full disk")
        yield
    finally:
        stop.set()
        filler.join()
        ballast.unlink()


def _told(person: Person, server: int, disks: Disks) -> str:
    disks.write(person, FILE)
    return _problem(person, server)


def test_in_the_end_every_disk_agrees(disks: Disks) -> None:
    """Everything acknowledged reads back, no copy is counted on a disk that failed then, and two whole copies exist."""
    with Person(disks.cluster, 2) as person:
        for name, body in disks.acknowledged.items():
            assert person.get(name) == body
    database = disks.cluster.data_dir("directory_server") / "metadata.db"
    checked = stop_and_check_disks(disks.cluster)
    with closing(sqlite3.connect(database)) as db:
        for (_, server), digests in disks.written.items():
            rows = db.execute("SELECT digest FROM holder WHERE server_id = ?", (str(server),))
            assert not digests & {Digest(row[0]) for row in rows}
    print(f"\n{len(disks.acknowledged)} acknowledged writes, {checked.copies} whole copies, 0 after a failure")
