"""Runs tests in child processes, with every check in place or with one of them taken away."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Container, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.security.mutation.instrument import Switch, install

TESTS = ("tests/security", "tests/unit", "tests/s3", "tests/contract")
WITHOUT = (
    # Long, or about other things: none of them would be the first to fail.
    *("tests/contract/openapi", "tests/s3/protocol/test_fuzz.py", "tests/s3/protocol/test_every_member.py"),
    *("tests/unit/project", "tests/unit/harness", "tests/unit/client", "tests/unit/local_cluster"),
    *("tests/security/test_authorization_checks.py", "tests/security/test_slow_clients.py"),
    "tests/s3/test_operation_costs.py",
)
OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "--timeout=60", "-m", "not cluster and not soak"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # plugins are imported before pytest begins
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),  # what a failed test leaves ends no session
)
RECORDING_SECONDS, KILLING_SECONDS = 3600, 240
SESSION_TESTS, FIRST_TESTS, MOST_TESTS = 8, 4, 150
"""So many of the tests that met a refusal are run, the shortest first: mostly one of the first few fails."""
WARM = ("tests.s3.rig", "tests.fakes.directory_rig", "tests.unit.rest_door", "boto3")
"""Imported once, before the children are made."""


class _Plugin:
    """Tells the switch which test runs, times it, and keeps the first that failed."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.seconds: dict[str, float] = {}
        self.failed = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._switch.test = item.nodeid
        began = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid


class _Session:
    """Runs each test once for every check that it is wanted for, and keeps those that fail for that alone.

    Tests of a module share what takes long to make, so this is ten times as fast as a child for each check. What was
    spoiled while a check was away is noticed: the test runs again with the check in its place.
    """

    def __init__(self, switch: Switch, wanted: dict[str, list[str]]) -> None:
        self._switch = switch
        self._wanted = wanted
        self.killers: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._wanted]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        checks = [check for check in self._wanted[item.nodeid] if check not in self.killers]
        if checks and not _fails(item):
            for check in checks:
                self._switch.off = check
                failed = _fails(item)
                self._switch.off = ""
                if failed and _fails(item):
                    break  # spoiled
                if failed:
                    self.killers[check] = item.nodeid
        runtestprotocol(item, log=False, nextitem=nextitem)
        return True


def _fails(item: pytest.Item) -> bool:
    """Run a test, and leave what its module shares."""
    shared: Any = item.parent
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=shared))


class Runner:
    """Make one before anything imports a program: from then on their checks can be taken away."""

    def __init__(self, only: Container[str] | None = None) -> None:
        self._switch = install(only)
        for module in WARM:
            importlib.import_module(module)

    def record(self) -> dict[str, list[str]]:
        """Return the tests that met a refusal of each check, the shortest first."""

        def work() -> Any:
            plugin = _Plugin(self._switch)
            self._switch.noticed.clear()
            pytest.main([*TESTS, *OPTIONS, *(f"--ignore={path}" for path in WITHOUT)], plugins=[plugin])
            seconds = plugin.seconds
            return {
                id: sorted(tests & seconds.keys(), key=lambda test: seconds[test])
                for id, tests in self._switch.noticed.items()
            }

        found = _in_child(work, RECORDING_SECONDS)
        if not found:
            raise SystemExit("the tests could not be recorded")
        recorded: dict[str, list[str]] = found
        return recorded

    def quick_killers(self, tests: dict[str, list[str]]) -> dict[str, str]:
        """Return the test that fails without each check, of those that it takes one session to find."""

        def work() -> Any:
            wanted: dict[str, list[str]] = {}
            for check, met in tests.items():
                for test in met[:SESSION_TESTS]:
                    wanted.setdefault(test, []).append(check)
            session = _Session(self._switch, wanted)
            files = sorted({test.partition("::")[0] for test in wanted})
            pytest.main([*files, *OPTIONS], plugins=[session])
            return session.killers

        found: dict[str, str] = _in_child(work, RECORDING_SECONDS) or {}
        return found

    def killer(self, check: str, tests: Sequence[str], known: str = "") -> str:
        """Take the check away; return the first of the tests that fails, or nothing. `known` is tried before them.

        A test that fails with the check in its place, too, is named, and shows nothing.
        """

        def work(off: str, some: Sequence[str]) -> Any:
            plugin = _Plugin(self._switch)
            self._switch.off = off
            pytest.main([*some, "-x", *OPTIONS], plugins=[plugin])
            return plugin.failed

        for some in ([known] if known else [], tests[:FIRST_TESTS], tests[FIRST_TESTS:MOST_TESTS]):
            left = list(some)
            while left:
                found = _in_child(partial(work, check, left), KILLING_SECONDS)
                if found == "":
                    break
                failed = left[0] if found is None else str(found)  # a test that never ends fails too
                if _in_child(partial(work, "", [failed]), KILLING_SECONDS) == "":
                    return failed
                print(f"{failed} fails with every check in its place", flush=True)
                left = left[left.index(failed) + 1 :]
        return ""


def _in_child(work: Callable[[], Any], seconds: int) -> Any:
    """Return what `work` returns in a child process; None when it does not end in time."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.close(reader)
        try:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                found = work()
            with open(writer, "w") as pipe:
                json.dump(found, pipe)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(0)
    os.close(writer)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(seconds)
    with open(reader) as pipe:
        said = pipe.read()
    signal.alarm(0)
    os.waitpid(child, 0)
    return json.loads(said) if said else None
