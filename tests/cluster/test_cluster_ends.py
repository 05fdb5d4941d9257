"""How a cluster in front of its command ends: signals, the menu, Ctrl-C on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from local_cluster.processes import process_mark
from tests.cluster.cluster_command import Foreground, listens
from tests.cluster.cluster_harness import ClusterHarness, run_cluster
from tests.cluster.conftest import MakeCluster
from tests.waiting import wait_until


def test_without_a_terminal_it_stays_until_told_to_stop(make_cluster: MakeCluster) -> None:
    """With nobody to type, the command stays in front; SIGTERM and SIGINT stop everything with exit code 0."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        with Foreground(cluster, stdin=subprocess.DEVNULL) as command:
            wait_until(cluster.folder.cluster_file.exists, what="the start")
            pids = [one.pid for one in cluster.programs]
            assert command.poll() is None
            assert "run_cluster.sh" in run_cluster("--data", cluster.data, "--detach").stderr
            command.send_signal(number)
            assert command.wait(60) == 0
            assert len(pids) == 3
            assert not any(process_mark(pid) for pid in pids)


def test_stop_ends_a_cluster_that_stands_in_front_elsewhere(make_cluster: MakeCluster) -> None:
    """--stop from another terminal also ends the command that stands in front of the cluster."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    with Foreground(cluster, stdin=subprocess.DEVNULL) as command:
        wait_until(cluster.folder.cluster_file.exists, what="the start")
        assert run_cluster("--data", cluster.data, "--stop").returncode == 0
        assert command.wait(60) == 0
        assert cluster.programs == []


def test_the_menus_end_is_the_clusters_end(make_cluster: MakeCluster) -> None:
    """With a pipe for input the menu reads it, and its end stops everything."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    ended = cluster.command(input="")
    assert "Menu on proxy 1" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert cluster.programs == []
    assert not listens(cluster.ports.base)


class Terminal:
    """The cluster command in front of its cluster, on a terminal of its own."""

    def __init__(self, cluster: ClusterHarness) -> None:
        self._person, terminal = pty.openpty()
        command = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, *command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=cluster.env,
        )
        os.close(terminal)
        self.shown = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._person)

    def type(self, keys: bytes) -> None:
        os.write(self._person, keys)

    def until(self, words: bytes, times: int = 1) -> None:
        """Wait until the terminal has shown `words` so often."""
        self._read_until(lambda: self.shown.count(words) >= times)
        assert self.shown.count(words) >= times, self.shown.decode("utf-8", "replace")

    def until_after(self, earlier: bytes, words: bytes) -> None:
        """Wait until the terminal has shown `words` behind the last `earlier`."""
        self._read_until(lambda: words in self.shown.rpartition(earlier)[2])
        assert words in self.shown.rpartition(earlier)[2], self.shown.decode("utf-8", "replace")

    def until_ended(self) -> int:
        """Wait for the command's end; return its exit code."""
        self._read_until(lambda: False)
        return self.process.wait(60)

    def _read_until(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 200
        while not is_enough() and self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown.decode("utf-8", "replace")
            if select.select([self._person], [], [], 0.5)[0]:
                with contextlib.suppress(OSError):  # the terminal's other end is gone
                    self.shown += os.read(self._person, 65536)


def test_ctrl_c_in_the_menu_on_a_terminal_stops_everything(make_cluster: MakeCluster) -> None:
    """On a terminal the menu opens on the first proxy, and Ctrl-C at its prompt leaves nothing running."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    with Terminal(cluster) as terminal:
        terminal.until(b"User name")
        terminal.type(b"\x03")
        assert terminal.until_ended() == 0, terminal.shown.decode("utf-8", "replace")
    assert b"Traceback" not in terminal.shown
    assert b"Stop anyway" not in terminal.shown
    assert cluster.programs == []


def test_ctrl_c_in_front_of_other_peoples_work_asks(make_cluster: MakeCluster) -> None:
    """While somebody holds a lock, Ctrl-C asks; no returns to the menu, and a second Ctrl-C stops at once."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    with Terminal(cluster) as terminal:
        terminal.until(b"User name")
        body = {"paths": ["files/x"], "client": "another person's program", "lease_seconds": 300}
        locks = f"{cluster.proxy_urls[0]}/api/v1/locks"
        with cluster.session() as session:
            assert session.post(locks, json=body, timeout=60).status_code == 200
        terminal.type(b"\x03")
        terminal.until(b"1 lock is held, and 0 places in line taken. Stop anyway? [y/N]")
        terminal.type(b"n\n")
        # Not a count: the line editor may draw a question twice.
        terminal.until_after(b"Stop anyway?", b"User name")
        assert all(one.running for one in cluster.programs)
        terminal.type(b"\x03")
        terminal.until(b"Stop anyway?", 2)
        terminal.type(b"\x03")
        assert terminal.until_ended() == 0, terminal.shown.decode("utf-8", "replace")
    assert b"Traceback" not in terminal.shown
    assert cluster.programs == []


# Makes the terminal on standard input the new session's own, so that Ctrl-C typed there becomes a signal.
_OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_stopping_answers_those_who_wait_for_a_lock(cluster: ClusterHarness) -> None:
    """A long wait for a lock does not hold up the end of the cluster, and is answered with its place."""
    waiting = threading.Event()
    answers: list[int] = []

    def wait() -> None:
        with cluster.session() as session:
            waiting.set()
            body = {"paths": ["files/x"], "wait_seconds": 30, "client": "two"}
            answers.append(session.post(f"{cluster.proxy_urls[0]}/api/v1/locks", json=body, timeout=60).status_code)

    with cluster.session() as session:
        answer = session.post(f"{cluster.proxy_urls[0]}/api/v1/locks", json={"paths": ["files/x"], "client": "one"})
        assert answer.status_code == 200
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait(60)
        locks = f"{cluster.proxy_urls[1]}/api/v1/locks"
        wait_until(lambda: session.get(locks, timeout=60).json()["waiters"], what="a place in line")
    assert cluster.command("--stop").returncode == 0
    thread.join(60)
    assert answers == [202], "had the wait gone on, the program would have been killed in it"
