"""Text edited in place under the file's lock, in real browsers at two proxies of a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, account
from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster


def test_text_is_edited_by_one_person_at_a_time(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """The second person reads, sees who edits and the place in line, and gets the lock with the newest text. What is
    saved keeps its metadata and the ends of its lines."""
    session, file = cluster.session(), f"{cluster.proxy_urls[0]}/api/v1/files/files/memo.txt"
    kept = {"X-Lockstep-Metadata": '{"project": "pier"}', "Content-Type": "text/x-memo"}
    session.put(file, data=b"one\r\ntwo\r\n", headers=kept, timeout=60).raise_for_status()
    first, second = open_page(1), open_page(2, **PHONE)
    first.register("sam", PASSWORD)
    first.open_bucket()
    first.choose("memo.txt", "Edit the text")
    field = first.page.get_by_label("Text of memo.txt")
    first.page.get_by_text("You have the lock.").wait_for()
    assert first.violations() == []

    second.register("tess", PASSWORD)
    second.visit("edit/files/memo.txt")
    second.page.get_by_text("Your place in line: 1.").wait_for()
    second.page.get_by_text("sam has had the lock since").wait_for()
    assert second.page.get_by_label("Text of memo.txt").get_attribute("readonly") is not None
    assert second.violations() == []

    field.fill("one\ntwo\nthree\n")
    field.press("Control+s")
    first.page.get_by_text("“memo.txt” has been saved.").wait_for()
    stored = session.get(file, timeout=60)
    assert stored.content == b"one\r\ntwo\r\nthree\r\n"
    assert {name: stored.headers[name] for name in kept} == kept
    field.fill("one\ntwo\nthree\nfour\n")
    first.page.get_by_role("button", name="Save, close and release").click()
    first.row("memo.txt").wait_for()
    second.page.get_by_text("You have the lock.").wait_for()
    shown = second.page.get_by_label("Text of memo.txt")
    wait_until(lambda: shown.input_value().endswith("four\n"), what="the newest text")
    second.page.get_by_role("link", name="files/", exact=True).click()
    first.row("memo.txt").get_by_text("locked by").wait_for(state="detached")


def test_a_lost_lock_is_said_and_loses_no_text(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """After a broken lock and another's change nothing is saved unasked; the text survives a reload, and is saved when
    the person says so."""
    session, url = cluster.session(), f"{cluster.proxy_urls[1]}/api/v1"
    file = f"{url}/files/files/list.txt"
    session.put(file, data=b"milk\n", timeout=60).raise_for_status()
    person = open_page(1, **PHONE)
    person.register("umay", PASSWORD)
    person.visit("edit/files/list.txt")
    person.page.get_by_text("You have the lock.").wait_for()
    person.page.get_by_label("Text of list.txt").fill("milk\nbread\n")
    [lock] = [one for one in session.get(f"{url}/locks", timeout=60).json()["locks"] if one["account"] == "umay"]
    session.delete(f"{url}/locks/{lock['id']}?break=true", timeout=60).raise_for_status()
    session.put(file, data=b"eggs\n", timeout=60).raise_for_status()
    person.page.get_by_text("Your text has not been saved, but is still here.").wait_for()
    assert person.violations() == []

    person.page.on("dialog", lambda question: question.accept())
    person.page.reload()
    person.page.get_by_text("The file has changed in the meantime").wait_for()
    assert person.page.get_by_label("Text of list.txt").input_value() == "milk\nbread\n"
    assert session.get(file, timeout=60).content == b"eggs\n"
    person.page.get_by_role("button", name="Keep my text").click()
    person.page.get_by_role("button", name="Save", exact=True).click()
    person.page.get_by_text("“list.txt” has been saved.").wait_for()
    assert session.get(file, timeout=60).content == b"milk\nbread\n"


def test_what_is_no_text_is_not_locked(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """The page says why it cannot be edited, and nobody has to wait for that."""
    owner, url = account(cluster, "vera"), f"{cluster.proxy_urls[0]}/api/v1"
    owner.put(f"{url}/files/files/raw", data=b"\x00\xff", timeout=60).raise_for_status()
    person = open_page(1)
    person.sign_in("vera", PASSWORD)
    person.open_bucket()
    person.choose("raw", "Edit the text")
    person.page.get_by_text("This file cannot be edited here").wait_for()
    assert person.violations() == []
    assert '"raw"' not in owner.get(f"{url}/locks", timeout=60).text
