"""What every test run has: the seed it can be repeated with, and the long forms only when asked for.

`--seed N` repeats a run: it seeds the `seed` fixture and Hypothesis. `--soak` also runs the tests marked `soak`.
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from lockstep_store.runtime.jobs import BackgroundJob
from tests.fakes.cheap_setup import cheap_setup
from tests.fakes.metadata_engines import address_of

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

# How long an example takes says nothing of what it proves: a machine that stops for a moment is no failure.
settings.register_profile("lockstep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockstep")

PROOFS = ("tests/cluster/", "tests/properties/", "tests/simulation/")
CLUSTER_RING = Path(__file__).parent / "cluster"
LONGEST = (
    *("test_run_cluster", "test_forgetful_programs", "test_real_clients", "test_hostile_traffic", "test_crash_points"),
    *("test_cluster_ends", "test_programs_alone"),
    *("test_kms", "test_membership", "test_histories", "test_amqp", "test_notifications", "test_lock_proofs"),
    *("test_simulation", "test_generated_requests", "test_forgetful", "test_lock_model", "test_peers_command"),
    *("test_typescript_client", "test_digest_upgrade", "test_fuzz", "test_protocol"),
)
"""Files that take longest: begun first, so that no worker is left with one of them when the others are done."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lockstep")
    group.addoption("--soak", action="store_true", help="also run the long forms (marked soak)")
    group.addoption("--seed", type=int, default=None, help="repeat a run by the seed that its header printed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Hundreds of clusters are started; only the browser ring builds the console's page.
    os.environ.setdefault("LOCKSTEP_CLUSTER_CONSOLE", "no")
    # A shell that starts a run in the background has it ignore Ctrl-C, and so would every program that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.seed is None:
        config.option.seed = secrets.randbelow(2**32)
    # Hypothesis reads its own option when it is configured, so one seed repeats both kinds of tests.
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(config.option.seed)


def pytest_sessionstart(session: pytest.Session) -> None:
    # Not pytest_report_header: the project runs quietly by default, and quiet runs have no header.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"seed {session.config.option.seed} (repeat this run with --seed)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(CLUSTER_RING):
            item.add_marker(pytest.mark.cluster)
        if not config.option.soak and item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="a long form: give --soak"))
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests and their modules stay until the end: looking for garbage among them is in vain."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what the proofs measured: the last line that each of them printed, also when all of them passed."""
    passed = [one for one in terminalreporter.stats.get("passed", []) if one.nodeid.startswith(PROOFS)]
    figures = [(one.nodeid.rpartition("::")[2], one.capstdout.strip().splitlines()[-1:]) for one in passed]
    if any(lines for _, lines in figures):
        terminalreporter.section("figures")
        for name, lines in figures:
            for line in lines:
                terminalreporter.write_line(f"{name}: {line}")


@pytest.fixture(scope="session", autouse=True)
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Setting up costs little; see there for what that leaves out."""
    with cheap_setup(tmp_path_factory.mktemp("template")):
        yield


def running_jobs() -> dict[threading.Thread, BackgroundJob]:
    """The background jobs of this process that nobody has stopped."""
    found = {thread: getattr(getattr(thread, "_target", None), "__self__", None) for thread in threading.enumerate()}
    return {thread: job for thread, job in found.items() if isinstance(job, BackgroundJob) and not job._stopping}


@pytest.fixture(autouse=True)
def no_jobs_left() -> Iterator[None]:
    """A job that outlives its test acts in the middle of later ones, whose failures then look like chance."""
    before = running_jobs()
    yield
    left = {thread: job.name for thread, job in running_jobs().items() if thread not in before}
    assert not left, f"background jobs were started and not stopped: {sorted(left.values())}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed, mixed with the test's name: equal for a repeated run, different between tests."""
    return random.Random(f"{request.config.option.seed}:{request.node.nodeid}").randrange(2**32)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started for the first test that asks for it. Skips where there is none, or no driver."""
    pytest.importorskip("psycopg")
    from tests.fakes.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def every_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test with each engine of metadata, as far as it opens it with `open_metadata`."""
    if request.param == "sqlite":
        yield request.param
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with ExitStack() as databases:
        known: dict[Path, str] = {}

        def address(path: Path) -> str:
            if path not in known:
                known[path] = databases.enter_context(server.database())
            return known[path]

        address_of.append(address)
        yield request.param
        address_of.remove(address)
