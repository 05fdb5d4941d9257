"""`flock` and `fcntl` locks in mounted folders of two machines: one lock for all, which ends with its program."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.mounts import Mounted, need_fuse, refusal, said, writable
from tests.fakes.webdav import LOCK_BODY
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.cluster

HOLD = """
import fcntl, os, sys
path, kind, flags = sys.argv[1], sys.argv[2], int(sys.argv[3])
opened = os.open(path, os.O_RDWR)
(fcntl.flock if kind == "flock" else fcntl.lockf)(opened, flags)
print("held", flush=True)
sys.stdin.readline()
"""
"""Takes a lock, says so, and holds it until it gets a line or is killed."""
COUNT = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=240, isolation_level=None)
for _ in range(int(sys.argv[2])):
    database.execute("BEGIN IMMEDIATE")
    (value,) = database.execute("SELECT value FROM counter").fetchone()
    database.execute("UPDATE counter SET value = ?", (value + 1,))
    database.execute("INSERT INTO steps VALUES (?, ?)", (value + 1, "x" * 500))
    database.execute("COMMIT")
"""
TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


@pytest.fixture(autouse=True)
def _fuse() -> None:
    need_fuse()


@pytest.fixture
def machines(shared_cluster: ClusterHarness, tmp_path: Path) -> Iterator[list[Mounted]]:
    """Two machines with the same folder, in which there is a file `f`, through two proxies."""
    bucket = "locks-" + tmp_path.name.strip("_").replace("_", "-").lower()
    with (
        writable(shared_cluster, tmp_path / "1", bucket, 1, "--wait", "0") as first,
        writable(shared_cluster, tmp_path / "2", bucket, 2, "--wait", "0") as second,
    ):
        (first.folder / "f").write_text("one")
        wait_until((second.folder / "f").exists, what="the file on the other machine")
        yield [first, second]


@contextmanager
def _program(path: Path, kind: str = "lockf", flags: int = fcntl.LOCK_EX) -> Iterator[subprocess.Popen[str]]:
    """A program that takes a lock, and perhaps waits for it. It is killed in the end."""
    command = [sys.executable, "-c", HOLD, str(path), kind, str(flags)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def _holds(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    assert program.stdout.readline() == "held\n"


def _clients(cluster: ClusterHarness, mounted: Mounted, role: str) -> list[str]:
    """Who has locks in the folder's bucket (`locks`), or waits for them (`waiters`)."""
    reply = cluster.session().get(f"{cluster.proxy_urls[0]}/api/v1/locks", timeout=60).json()
    return [one["client"] for one in reply[role] if one["paths"][0]["bucket"] == mounted.bucket]


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_a_lock_holds_everywhere_and_dies_with_its_program(
    shared_cluster: ClusterHarness, machines: list[Mounted], kind: str
) -> None:
    """In the same folder, in another machine's, and at every other door; the others see which program has it."""
    first, second = machines
    lock = fcntl.flock if kind == "flock" else fcntl.lockf
    url = f"{shared_cluster.proxy_urls[1]}/api/v1/files/{first.bucket}/f"
    with _program(first.folder / "f", kind) as program:
        _holds(program)
        for other in machines:
            with open(other.folder / "f", "r+b") as opened:
                for flags in (TRY, fcntl.LOCK_SH | fcntl.LOCK_NB):
                    assert refusal(lambda opened=opened, flags=flags: lock(opened, flags)) == errno.EAGAIN
        assert refusal(lambda: (second.folder / "f").write_text("two")) == errno.EBUSY
        assert shared_cluster.session().put(url, data=b"through the API", timeout=60).status_code == 423
        (client,) = _clients(shared_cluster, first, "locks")
        assert client.startswith("mount of ")
        assert client.endswith(f":{program.pid}")
        program.kill()
        program.wait()
        with open(second.folder / "f", "r+b") as opened:
            wait_until(lambda: _is_granted(opened.fileno(), kind), what="the lock of a program that was killed")
            assert shared_cluster.session().put(url, data=b"through the API", timeout=60).status_code == 423
    wait_until(  # the kernel does not wait for an answer when it ends an flock
        lambda: shared_cluster.session().put(url, data=b"through the API", timeout=60).status_code == 200,
        what="the end of the lock at the other doors",
    )


def _api(machine: Mounted, cluster: ClusterHarness, held: str) -> tuple[int, str]:
    """Take the lock, or end the one that is `held`; the status, and what names the lock."""
    url = f"{cluster.proxy_urls[0]}/api/v1/locks"
    if held:
        return cluster.session().delete(f"{url}/{held}", timeout=60).status_code, ""
    body = {"paths": [f"{machine.bucket}/f"], "queue": False}
    answer = cluster.session().post(url, json=body, timeout=60)
    return answer.status_code, answer.json()["lock"]["id"] if answer.ok else ""


def _webdav(machine: Mounted, cluster: ClusterHarness, held: str) -> tuple[int, str]:
    url, session = f"{cluster.proxy_urls[0]}/dav/{machine.bucket}/f", cluster.session()
    session.auth = (cluster.admin["username"], cluster.admin_key)
    if held:
        return session.request("UNLOCK", url, headers={"Lock-Token": held}, timeout=60).status_code, ""
    answer = session.request("LOCK", url, data=LOCK_BODY.format(scope="exclusive", owner="ann"), timeout=60)
    return answer.status_code, answer.headers.get("Lock-Token", "")


@pytest.mark.parametrize("door", [_api, _webdav])
def test_the_locks_of_other_doors_and_of_programs_exclude_each_other(
    shared_cluster: ClusterHarness, machines: list[Mounted], door: Callable[..., tuple[int, str]]
) -> None:
    """One is refused while the other holds; who waits in a folder is granted when the other door's lock ends."""
    first, second = machines
    with _program(first.folder / "f") as program:
        _holds(program)
        assert door(second, shared_cluster, "")[0] == 423
    status, lock = wait_until(
        lambda: _if_granted(door(second, shared_cluster, "")), what="the lock of a program that was killed"
    )
    assert status == 200
    with open(second.folder / "f", "r+b") as opened:
        assert refusal(lambda: fcntl.flock(opened, TRY)) == errno.EAGAIN
    with _program(second.folder / "f", "flock") as program:
        wait_until(lambda: _clients(shared_cluster, first, "waiters"), what="a place in line")
        assert door(second, shared_cluster, lock)[0] == 204
        _holds(program)


def _if_granted(answer: tuple[int, str]) -> tuple[int, str] | None:
    return answer if answer[1] else None


def _is_granted(descriptor: int, kind: str) -> bool:
    try:
        (fcntl.flock if kind == "flock" else fcntl.lockf)(descriptor, TRY)
    except BlockingIOError:
        return False
    return True


def test_who_waits_is_granted_in_turn_and_reads_what_was_written(
    shared_cluster: ClusterHarness, machines: list[Mounted]
) -> None:
    """A program that waits can be interrupted; its place in line ends with it."""
    first, second = machines
    with _program(first.folder / "f") as holder:
        _holds(holder)
        with _program(second.folder / "f") as impatient, _program(second.folder / "f") as killed:
            wait_until(lambda: _clients(shared_cluster, first, "waiters"), what="a place in line")
            impatient.send_signal(signal.SIGINT)
            assert impatient.wait(PATIENCE_SECONDS) == -signal.SIGINT
            killed.kill()
            assert killed.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        wait_until(lambda: not _clients(shared_cluster, first, "waiters"), what="the end of the place in line")
        script = "flock 9; cat f; echo three > f"
        waiting = subprocess.Popen(
            ["sh", "-c", f"({script}) 9<f"], cwd=second.folder, stdout=subprocess.PIPE, text=True
        )
        wait_until(lambda: _clients(shared_cluster, first, "waiters"), what="a place in line")
        (first.folder / "f").write_text("two")
        assert holder.communicate("\n") == ("", None)
        assert waiting.communicate(timeout=PATIENCE_SECONDS) == ("two", None)
    assert (first.folder / "f").read_text() == "three\n"


def test_scripts_take_turns_with_a_lock_file(machines: list[Mounted]) -> None:
    """`( flock 9; … ) 9>lock` counts right, although each of them opens the file for writing, and may create it."""
    step = "for i in 1 2 3 4 5; do ( flock 9; n=$(cat f); echo $((n+1)) > f ) 9>lock || exit 1; done"
    (machines[0].folder / "f").write_text("0")
    scripts = [subprocess.Popen(["sh", "-c", step], cwd=one.folder) for one in machines * 2]
    assert [script.wait(PATIENCE_SECONDS * 4) for script in scripts] == [0, 0, 0, 0]
    assert [(one.folder / "f").read_text() for one in machines] == ["20\n", "20\n"]


def test_programs_of_one_machine_lock_ranges(machines: list[Mounted]) -> None:
    """Exactly those; other machines have none meanwhile. A child that ends keeps its parent's lock."""
    first, second = machines
    with open(first.folder / "f", "r+b") as opened, open(second.folder / "f", "r+b") as elsewhere:
        fcntl.lockf(opened, TRY, 10, 0)
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        said(sys.executable, "-c", _attempt(first.folder / "f", "TRY, 10, 20"))
        refused = subprocess.run([sys.executable, "-c", _attempt(first.folder / "f", "TRY, 10, 5")], check=False)
        assert refused.returncode == errno.EAGAIN
        assert said(sys.executable, "-c", _who_has(first.folder / "f")).split() == ["1", "0", "10", str(os.getpid())]
        assert said(sys.executable, "-c", _who_has(second.folder / "f")).split() == ["1", "0", "0", "0"]
        assert refusal(lambda: fcntl.lockf(elsewhere, TRY, 10, 20)) == errno.EAGAIN
        fcntl.lockf(opened, fcntl.LOCK_UN, 5, 0)
        assert refusal(lambda: fcntl.lockf(elsewhere, TRY)) == errno.EAGAIN
        fcntl.lockf(opened, fcntl.LOCK_UN, 5, 5)
        fcntl.lockf(elsewhere, TRY)


def _attempt(path: Path, arguments: str) -> str:
    return f"""
import fcntl, sys
TRY = fcntl.LOCK_EX | fcntl.LOCK_NB
try:
    fcntl.lockf(open({str(path)!r}, "r+b"), {arguments})
except OSError as error:
    sys.exit(error.errno)
"""


def _who_has(path: Path) -> str:
    """Prints the kind, the range and the process of the lock that is in the way."""
    return f"""
import fcntl, struct
asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
found = fcntl.fcntl(open({str(path)!r}, "r+b"), fcntl.F_GETLK, asked)
kind, _, start, length, process = struct.unpack("hhqqi4x", found)
print(kind, start, length, process)
"""


def test_two_machines_use_one_sqlite_database(machines: list[Mounted]) -> None:
    """Both have it open all the time, and add one again and again: no step is lost, and the database is whole."""
    first, second = machines
    database = sqlite3.connect(first.folder / "db", isolation_level=None)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.execute("CREATE TABLE counter (value INTEGER)")
    database.execute("CREATE TABLE steps (value INTEGER PRIMARY KEY, filler TEXT)")
    database.execute("INSERT INTO counter VALUES (0)")
    wait_until((second.folder / "db").exists, what="the database on the other machine")
    counters = [
        subprocess.Popen([sys.executable, "-c", COUNT, str(one.folder / "db"), "12"]) for one in (*machines, second)
    ]
    try:
        assert [counter.wait(300) for counter in counters] == [0, 0, 0]
    finally:
        for counter in counters:
            counter.kill()
            counter.wait()
    for other in machines:
        looking = sqlite3.connect(other.folder / "db", timeout=60)
        assert looking.execute("SELECT value FROM counter").fetchone() == (36,)
        assert looking.execute("SELECT count(*), max(value) FROM steps").fetchone() == (36, 36)
        assert looking.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        looking.close()
    assert database.execute("SELECT value FROM counter").fetchone() == (36,)
    database.close()
    assert not (first.folder / "db-journal").exists()


def test_a_transaction_of_a_machine_that_died_is_rolled_back(
    shared_cluster: ClusterHarness, machines: list[Mounted]
) -> None:
    """The other one finds the journal when the lock has ended, here because somebody broke it."""
    first, second = machines
    database = sqlite3.connect(first.folder / "db", isolation_level=None)
    database.execute("CREATE TABLE t (filler TEXT)")
    database.execute("PRAGMA cache_size = 10")
    database.execute("BEGIN")
    database.executemany("INSERT INTO t VALUES (?)", [("x" * 4000,)] * 100)  # more than its memory takes
    wait_until((second.folder / "db-journal").exists, what="the journal on the other machine")
    first.kill()
    session = shared_cluster.session()
    for lock in session.get(f"{shared_cluster.proxy_urls[1]}/api/v1/locks", timeout=60).json()["locks"]:
        if lock["paths"][0]["bucket"] == first.bucket:
            session.delete(f"{shared_cluster.proxy_urls[1]}/api/v1/locks/{lock['id']}?break=true", timeout=60)
    looking = sqlite3.connect(second.folder / "db", timeout=60)
    assert looking.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert looking.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    looking.close()


def test_a_read_only_folder_refuses_locks_rather_than_pretend(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """The kernel alone would grant them on each machine."""
    with writable(shared_cluster, tmp_path / "1", "locks-read-only") as mounted:
        (mounted.folder / "f").write_text("one")
    with Mounted(shared_cluster, tmp_path / "2", "locks-read-only:") as mounted, open(mounted.folder / "f") as opened:
        for lock in (fcntl.flock, fcntl.lockf):
            assert refusal(lambda lock=lock: lock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)) == errno.ENOLCK
