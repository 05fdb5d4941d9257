"""Uploads in the console that pause, go on and send only what changed, in a real browser against a real cluster."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.console_page import ConsolePage
from tests.browser.people import PASSWORD, PHONE
from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

MIB = 1024 * 1024
SLOW = 4 * MIB
"""Bytes a second: slow enough to do something in mid-upload, fast enough for a test."""


class Wire:
    """The bytes of the files that one page sends, and how fast it may."""

    def __init__(self, person: ConsolePage) -> None:
        self._session = person.page.context.new_cdp_session(person.page)
        self._session.send("Network.enable")
        self._puts: list[Any] = []
        person.page.on("request", lambda request: request.method == "PUT" and self._puts.append(request))

    def limit(self, bytes_each_second: int = -1) -> None:
        limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_each_second}
        self._session.send("Network.emulateNetworkConditions", limits)

    def sent(self) -> list[int]:
        """The length of each body that was sent to its end since the last call; 0 for the others."""
        puts, self._puts = self._puts, []
        return [int(request.all_headers().get("content-length", 0)) for request in puts]


def choose(person: ConsolePage, *files: Path) -> None:
    person.page.locator("input[type=file]").first.set_input_files(list(files))


def upload_row(person: ConsolePage, name: str) -> Any:
    return person.page.get_by_role("list", name="Uploads").get_by_role("listitem").filter(has_text=name)


def wait_for_share(person: ConsolePage, name: str, least: int) -> None:
    def share() -> int:
        row = upload_row(person, name)
        found = re.search(r"\n(\d+) %", row.inner_text()) if row.get_attribute("data-state") == "sending" else None
        return int(found[1]) if found else 0

    wait_until(lambda: share() >= least, what=f"{least} % of {name}", look_seconds=0.1)


def cut_bodies(cluster: ClusterHarness, proxy: int) -> float:
    """How many writes of that proxy ended early, from its metrics."""
    text = cluster.session().get(f"{cluster.proxy_urls[proxy - 1]}/metrics", timeout=60).text
    lines = [line for line in text.splitlines() if 'method="PUT"' in line and 'status="400"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "requests_total" in line)


def test_an_upload_pauses_goes_on_and_later_sends_only_what_changed(
    open_page: OpenPage, cluster: ClusterHarness, tmp_path: Path
) -> None:
    """What has arrived is not sent again. An edited file sends about its changed chunks, and equal content nothing."""
    big = tmp_path / "scan.raw"
    content = random.Random(7).randbytes(64 * MIB)
    big.write_bytes(content)
    person = open_page(1, **PHONE)
    wire = Wire(person)
    person.register("uma", PASSWORD)
    person.open_bucket()
    wire.limit(SLOW)
    before = cut_bodies(cluster, 1)
    choose(person, big)
    wait_for_share(person, "scan.raw", 40)
    upload_row(person, "scan.raw").get_by_role("button", name="Pause scan.raw").click()
    upload_row(person, "scan.raw").get_by_text("paused").wait_for()
    assert person.violations() == []
    wait_until(lambda: cut_bodies(cluster, 1) > before, what="the proxy to notice the pause", look_seconds=0.1)
    assert person.row("scan.raw").count() == 0
    wire.limit()
    wire.sent()
    upload_row(person, "scan.raw").get_by_role("button", name="Continue").click()
    person.page.get_by_text("1 of 1 uploaded").wait_for()
    assert 10 * MIB < sum(wire.sent()) < len(content) * 0.75
    url, reader = f"{cluster.proxy_urls[1]}/api/v1/files/files/scan.raw", cluster.session()
    assert reader.get(url, timeout=60).content == content

    edited = content[: 30 * MIB] + b"an edit, which moves all that follows" + content[30 * MIB :]
    big.write_bytes(edited)
    choose(person, big)
    upload_row(person, "scan.raw").get_by_role("button", name="Replace it").click()
    person.page.get_by_text("2 of 2 uploaded").wait_for()
    assert sum(wire.sent()) < 9 * MIB
    assert reader.get(url, timeout=60).content == edited


def test_an_upload_goes_on_when_its_proxy_is_back(open_page: OpenPage, cluster: ClusterHarness, tmp_path: Path) -> None:
    """The page says that the proxy is away, shows nothing as done meanwhile, and needs no click after that."""
    film = tmp_path / "film.raw"
    film.write_bytes(random.Random(8).randbytes(24 * MIB))
    person = open_page(2)
    wire = Wire(person)
    person.register("vic", PASSWORD)
    person.open_bucket()
    wire.limit(SLOW)
    choose(person, film)
    wait_for_share(person, "film.raw", 30)
    cluster.kill("client_proxy", 2)
    upload_row(person, "film.raw").get_by_text("The upload goes on by itself.").wait_for()
    person.page.get_by_text("0 of 1 uploaded").wait_for()
    assert person.violations() == []
    url, reader = f"{cluster.proxy_urls[0]}/api/v1/files/files/film.raw", cluster.session()
    assert reader.head(url, timeout=60).status_code == 404
    wire.limit()
    cluster.start("client_proxy", 2)
    person.page.get_by_text("1 of 1 uploaded").wait_for()
    assert reader.get(url, timeout=60).content == film.read_bytes()


def test_a_file_that_changes_before_it_is_sent_is_refused(
    open_page: OpenPage, cluster: ClusterHarness, tmp_path: Path
) -> None:
    """In words, with nothing saved; chosen again, it is uploaded as it is now."""
    notes = tmp_path / "notes.raw"
    notes.write_bytes(random.Random(9).randbytes(24 * MIB))
    person = open_page(1)
    wire = Wire(person)
    person.register("wes", PASSWORD)
    person.open_bucket()
    wire.limit(SLOW)
    choose(person, notes)
    wait_for_share(person, "notes.raw", 20)
    upload_row(person, "notes.raw").get_by_role("button", name="Pause notes.raw").click()
    wire.limit()
    changed = random.Random(10).randbytes(24 * MIB)
    notes.write_bytes(changed)
    upload_row(person, "notes.raw").get_by_role("button", name="Continue").click()
    upload_row(person, "notes.raw").get_by_text("The file has changed since you chose it.").wait_for()
    url, reader = f"{cluster.proxy_urls[0]}/api/v1/files/files/notes.raw", cluster.session()
    assert reader.head(url, timeout=60).status_code == 404
    person.page.get_by_role("button", name="Clear the list").click()
    choose(person, notes)
    person.page.get_by_text("1 of 1 uploaded").wait_for()
    assert reader.get(url, timeout=60).content == changed
