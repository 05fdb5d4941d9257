"""What the console does with files beside the folder's list, in a real browser against a real cluster."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, account
from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

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
    person.page.locator("a:focus", has_text="harbour map.txt").wait_for()
    field.fill("harbuor.png")
    person.page.get_by_text("these are similar").wait_for()
    person.row("harbour.png").get_by_role("link", name="files/deep/").click()
    person.page.get_by_role("row").filter(has_text="down").wait_for()


def test_deleted_files_come_back_or_go_for_good(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """The trash restores a file, offers another name where one is taken, names what has to stay, and is emptied."""
    olga = account(cluster, "olga")
    url = f"{cluster.proxy_urls[0]}/api/v1"
    olga.post(f"{url}/buckets", json={"name": "drafts"}, timeout=60).raise_for_status()
    olga.patch(f"{url}/buckets/drafts", json={"versioning": "enabled"}, timeout=60).raise_for_status()
    for name in ("one.txt", "two.txt", "three.txt"):
        olga.put(f"{url}/files/drafts/{name}", data=name.encode(), timeout=60).raise_for_status()
        olga.delete(f"{url}/files/drafts/{name}", timeout=60).raise_for_status()
    olga.put(f"{url}/files/drafts/two.txt", data=b"new", timeout=60).raise_for_status()

    person = open_page(2, **PHONE)
    person.sign_in("olga", PASSWORD)
    person.open_bucket("drafts")
    person.page.get_by_role("link", name="Trash").click()
    person.page.get_by_text("3 files with").wait_for()
    assert person.violations() == []
    person.page.get_by_role("button", name="Restore: one.txt").click()
    person.page.get_by_text("“one.txt” has been restored.").wait_for()
    person.page.get_by_role("button", name="Restore: two.txt").click()
    person.page.get_by_role("dialog").get_by_text("There is a new file “two.txt”").wait_for()
    assert person.violations() == []
    person.page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    person.page.get_by_text("“two (2).txt” has been restored.").wait_for()
    kept = {name: olga.get(f"{url}/files/drafts/{name}", timeout=60).content for name in ("two.txt", "two (2).txt")}
    assert kept == {"two.txt": b"new", "two (2).txt": b"two.txt"}

    person.page.get_by_role("button", name="How long to keep").click()
    person.page.get_by_label("automatically, after a number of days").click()
    person.page.get_by_label("Days after the deletion").fill("0")
    person.page.get_by_text("Enter a whole number of days from 1 to 36500.").wait_for()
    person.page.get_by_label("Days after the deletion").fill("7")
    assert person.violations() == []
    person.page.get_by_role("button", name="Save").click()
    person.page.get_by_text("Deleted files stay here for 7 days.").wait_for()
    olga.post(f"{url}/locks", json={"paths": ["drafts/three.txt"]}, timeout=60).raise_for_status()
    person.page.get_by_role("button", name="Empty the trash").click()
    person.page.get_by_role("dialog").get_by_role("button", name="Empty the trash").click()
    person.page.get_by_role("dialog").get_by_text("1 file could not be removed:").wait_for()
    assert person.violations() == []
    person.page.keyboard.press("Escape")
    [lock] = olga.get(f"{url}/locks", timeout=60).json()["locks"]
    olga.delete(f"{url}/locks/{lock['id']}", timeout=60).raise_for_status()
    person.page.get_by_role("button", name="Remove for good: three.txt").click()
    person.page.get_by_role("dialog").get_by_role("button", name="Remove for good").click()
    person.page.get_by_text("There are no deleted files.").wait_for()


def test_a_bucket_is_created_set_up_and_deleted(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """By its owner; a bad name and a bucket that is not empty are refused in words; other people's have no settings."""
    owner, url = account(cluster, "zoe"), f"{cluster.proxy_urls[0]}/api/v1"
    person = open_page(1, **PHONE)
    person.sign_in("zoe", PASSWORD)
    person.page.get_by_role("button", name="New bucket").click()
    person.page.get_by_label("Name of the bucket").fill("Bad Name")
    person.page.get_by_role("button", name="Create", exact=True).click()
    person.page.get_by_role("alert").wait_for()
    assert person.violations() == []
    person.page.get_by_label("Name of the bucket").fill("zoes-plans")
    person.page.get_by_role("button", name="Create", exact=True).click()
    shown = person.page.get_by_role("list", name="Buckets").get_by_role("listitem").filter(has_text="zoes-plans")
    shown.get_by_text("keeps versions").wait_for()
    assert person.page.get_by_role("button", name="Settings: files").count() == 0

    owner.put(f"{url}/files/zoes-plans/a.txt", data=b"a", timeout=60).raise_for_status()
    person.page.get_by_role("button", name="Settings: zoes-plans").click()
    person.page.get_by_label("Share links into it").select_option("off")
    person.page.get_by_label("Every account may use it").click()
    shown.get_by_text("shared with everyone").wait_for()
    person.page.get_by_label("Versions").select_option("suspended")
    shown.get_by_text("keeps versions").wait_for(state="detached")
    assert person.violations() == []
    wait_until(
        lambda: owner.get(f"{url}/share-rules/zoes-plans", timeout=60).json() == {"links": "off"}, what="the rule"
    )

    person.page.get_by_role("button", name="Delete the bucket").click()
    person.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    person.page.get_by_role("dialog").get_by_role("alert").wait_for()
    [version] = owner.get(f"{url}/versions/zoes-plans/a.txt", timeout=60).json()["versions"]
    there = {"version": version["version"]}
    owner.delete(f"{url}/files/zoes-plans/a.txt", params=there, timeout=60).raise_for_status()
    person.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    shown.wait_for(state="detached")
    person.page.get_by_role("dialog").wait_for(state="detached")


def test_a_selection_is_downloaded_as_one_zip_file(
    open_page: OpenPage, cluster: ClusterHarness, tmp_path: Path
) -> None:
    """What is selected by mouse or keyboard, or the whole folder; what is gone meanwhile is refused in words."""
    url, owner = f"{cluster.proxy_urls[0]}/api/v1", account(cluster, "yara")
    owner.post(f"{url}/buckets", json={"name": "yaras"}, timeout=60).raise_for_status()
    names = ("one.txt", "two.txt", "three.txt", "deep/four.txt", "deep/down/five.txt")
    for name in names:
        owner.put(f"{url}/files/yaras/in/{name}", data=name.encode(), timeout=60).raise_for_status()
    person = open_page(2, **PHONE)
    person.page.route("**/api/v1/changes**", lambda route: route.abort())  # the list stays as it was loaded
    person.sign_in("yara", PASSWORD)
    person.open_bucket("yaras")
    person.page.get_by_role("link", name="in", exact=True).click()

    def downloaded(button: str) -> tuple[str, dict[str, bytes]]:
        with person.page.expect_download() as download:
            person.page.get_by_role("button", name=button, exact=True).click()
        saved = tmp_path / "saved.zip"
        download.value.save_as(saved)
        with zipfile.ZipFile(saved) as found:
            return download.value.suggested_filename, {name: found.read(name) for name in found.namelist()}

    assert downloaded("Download this folder") == ("in.zip", {name: name.encode() for name in sorted(names)})
    person.page.get_by_label("Select deep").click()
    person.row("two.txt").get_by_role("link").press("Space")
    assert person.violations() == []
    chosen = ("deep/down/five.txt", "deep/four.txt", "two.txt")
    assert downloaded("Download 2 selected") == ("in.zip", {name: name.encode() for name in chosen})
    person.page.get_by_role("button", name="Clear the selection").click()
    person.page.get_by_label("Select one.txt").click()
    assert downloaded("Download 1 selected") == ("one.txt.zip", {"one.txt": b"one.txt"})
    person.page.get_by_label("Select all").click()
    person.page.get_by_label("Select all").click()
    person.page.get_by_role("button", name="Download 4 selected").wait_for()

    person.page.get_by_label("Select all").click()
    person.page.get_by_label("Select two.txt").click()
    owner.delete(f"{url}/files/yaras/in/two.txt", timeout=60).raise_for_status()
    person.page.get_by_role("button", name="Download 1 selected").click()
    person.page.get_by_role("alert").get_by_text("in/two.txt").wait_for()
    with person.page.expect_download() as download:
        person.choose("deep", "Download as a zip file")
    assert download.value.suggested_filename == "deep.zip"
