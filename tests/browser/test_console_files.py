"""What the console does with files beside the folder's list, in a real browser against a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.test_console import PASSWORD, PHONE
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def test_a_search_shows_its_hits_while_the_person_types(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """From a filter without a match to the file in another folder; the address keeps the search; axe finds nothing."""
    session, files = cluster.session(), f"{cluster.proxy_urls[0]}/api/v1/files/files"
    for path in ("deep/down/harbour map.txt", "deep/harbour.png"):
        session.put(f"{files}/{path}", data=b"x", timeout=60).raise_for_status()
    person = open_page(1, **PHONE)
    person.register("nora", PASSWORD)
    person.open_bucket()
    person.page.get_by_label("Filter by name").fill("harbour")
    person.page.get_by_role("link", name="Search in all folders").click()
    person.row("harbour map.txt").wait_for()
    assert person.violations() == []

    field = person.page.get_by_label("Search for")
    field.press_sequentially(" map")
    person.row("harbour.png").wait_for(state="detached")
    person.page.reload()
    person.page.get_by_text("1 file.", exact=True).wait_for()
    assert field.input_value() == "harbour map"
    field.press("Enter")
    person.page.wait_for_function("document.activeElement.textContent === 'harbour map.txt'")
    field.fill("harbuor.png")
    person.page.get_by_text("these are similar").wait_for()
    person.row("harbour.png").get_by_role("link", name="files/deep/").click()
    person.page.get_by_role("row").filter(has_text="down").wait_for()
