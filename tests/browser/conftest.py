"""A browser, and a small real cluster that serves the console.

Both are skipped, with the reason, where the machine has no Chromium or no Node.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_cluster.console import LOG_FILE, STATE_FILE, console_folder, is_built
from local_cluster.console_build import machine_node
from tests import ROOT
from tests.browser.console_page import ConsolePage
from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
BUILD_SECONDS = 240

OpenPage = Callable[..., ConsolePage]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    playwright_api = pytest.importorskip("playwright.sync_api", reason="the library playwright is not installed")

    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def cluster(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    """One file server and two proxies, once the console's page is built."""
    if machine_node() is None:
        pytest.skip("Node 20.19 or newer with npm is not installed")
    folder, env = tmp_path_factory.mktemp("console"), {"LOCKSTEP_CLUSTER_CONSOLE": "yes"}
    with ClusterHarness(folder, file_servers=1, copies=1, env=env) as harness:

        def ended() -> bool:
            state = page / STATE_FILE
            assert not (state.exists() and b'"failed"' in state.read_bytes()), (page / LOG_FILE).read_text()[-4000:]
            return is_built(ROOT, page)

        page = console_folder(ROOT)
        assert page is not None
        wait_until(ended, what="the console's page", seconds=BUILD_SECONDS)
        yield harness


@pytest.fixture
def open_page(browser: Any, cluster: ClusterHarness) -> Iterator[OpenPage]:
    """`open_page(proxy=1, …)` opens the console in a browser of its own; the page must have broken no rule."""
    opened: list[ConsolePage] = []

    def open_one(proxy: int = 1, **options: Any) -> ConsolePage:
        # The certificate is the cluster's own, as a person's browser would warn of once.
        # In the middle of a dialog's fading in, its text has too little contrast for axe.
        context = browser.new_context(ignore_https_errors=True, reduced_motion="reduce", **options)
        opened.append(ConsolePage(context, cluster.proxy_urls[proxy - 1]))
        return opened[-1]

    yield open_one
    for page in opened:
        page.close()
    assert [fault for page in opened for fault in page.faults] == []
