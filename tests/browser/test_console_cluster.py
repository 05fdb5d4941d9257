"""The console's page about the cluster, for administrators, in a real browser against a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, sign_in_administrator
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def test_the_page_shows_the_cluster_and_checks_it(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """Healthy, with its programs, keys and backups; a check runs to its end; draining asks first, and says why not."""
    person = open_page(1, **PHONE)
    sign_in_administrator(person, cluster)
    person.page.get_by_role("link", name="Cluster", exact=True).click()
    person.page.get_by_text("Everything works, and everything has as many copies as promised.").wait_for()
    for address in cluster.proxy_urls:
        person.page.get_by_role("cell", name=address).wait_for()
    person.page.get_by_role("cell", name="issues certificates").wait_for()
    assert person.violations() == []
    person.page.get_by_role("button", name="Check every byte").click()
    person.page.get_by_text("found nothing").wait_for()
    with person.page.expect_download() as download:
        person.page.get_by_role("link", name="Download a backup").click()
    assert download.value.failure() is None
    person.page.get_by_text("The last backup was made on").wait_for()

    person.page.get_by_role("button", name="Drain: 1").click()
    assert person.violations() == []
    person.page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    person.page.get_by_role("alert").get_by_text("add a file server first").wait_for()
    person.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    person.page.get_by_role("dialog").wait_for(state="detached")


def test_a_dead_server_is_named_with_what_to_do(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """Without a reload, and only administrators have the page."""
    member = open_page(2)
    member.register("walt", PASSWORD)
    member.visit("cluster")
    member.page.get_by_text("This page is for administrators.").wait_for()
    assert member.page.get_by_role("link", name="Cluster", exact=True).count() == 0

    person = open_page(1)
    sign_in_administrator(person, cluster)
    person.visit("cluster")
    person.page.get_by_text("Healthy", exact=True).wait_for()
    cluster.kill("file_server", 1)
    person.page.get_by_text("but 1 copy is promised").wait_for()
    state = person.page.get_by_role("status").filter(has_text="What to do:")
    state.get_by_text("File server 1").wait_for()
    assert person.violations() == []
