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


def test_a_file_gets_a_description_and_tags(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """While somebody else has the lock, and without a new version; what is wrong is said beside its field."""
    url, owner, other = f"{cluster.proxy_urls[0]}/api/v1", account(cluster, "tess"), account(cluster, "ulf")
    owner.put(f"{url}/files/files/tess.txt", data=b"roof", timeout=60).raise_for_status()
    other.post(f"{url}/locks", json={"paths": ["files/tess.txt"]}, timeout=60).raise_for_status()
    before = owner.get(f"{url}/facts/files/tess.txt", timeout=60).json()
    person = open_page(2, **PHONE)
    person.sign_in("tess", PASSWORD)
    person.open_bucket()
    person.choose("tess.txt", "Description and tags")
    dialog = person.page.get_by_role("dialog", name="About “tess.txt”")
    dialog.get_by_text("text/plain").wait_for()
    dialog.get_by_label("Description").fill("Offer for the roof\nof the barn")
    dialog.get_by_role("button", name="Add a tag").click()
    dialog.get_by_label("Value of tag 1").fill("roof")
    dialog.get_by_text("A tag needs a name.").wait_for()
    assert dialog.get_by_role("button", name="Save").is_disabled()
    assert person.violations() == []
    dialog.get_by_label("Name of tag 1").fill("bad!")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").wait_for()
    dialog.get_by_label("Name of tag 1").fill("team")
    dialog.get_by_role("button", name="Save").click()
    dialog.wait_for(state="detached")
    now = owner.get(f"{url}/facts/files/tess.txt", timeout=60).json()
    assert now == before | {"description": "Offer for the roof\nof the barn", "tags": {"team": "roof"}}

    person.choose("tess.txt", "Description and tags")
    dialog.get_by_role("button", name="Remove the tag team").click()
    owner.patch(f"{url}/facts/files/tess.txt", json={"tags": {"by": "owner"}}, timeout=60).raise_for_status()
    dialog.get_by_role("button", name="Save").click()
    dialog.wait_for(state="detached")
    assert owner.get(f"{url}/facts/files/tess.txt", timeout=60).json()["tags"] == {"by": "owner"}


def test_what_is_stored_is_shown_in_charts(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """By bucket, type, age and author, with growth as a line and in numbers; of one bucket, or of all one's own."""
    url, owner = f"{cluster.proxy_urls[0]}/api/v1", account(cluster, "vera")
    for bucket in ("veras", "veras-too"):
        owner.post(f"{url}/buckets", json={"name": bucket, "versioning": "enabled"}, timeout=60).raise_for_status()
    for path, size in (("veras/a.txt", 3000), ("veras/a.txt", 5000), ("veras/b.png", 500), ("veras-too/c.txt", 9000)):
        owner.put(f"{url}/files/{path}", data=b"x" * size, timeout=60).raise_for_status()
    person = open_page(1, **PHONE)
    person.sign_in("vera", PASSWORD)
    person.page.get_by_role("link", name="What is stored").click()

    def table(name: str) -> list[str]:
        rows = person.page.get_by_role("region", name=name).locator("tbody tr").all_inner_texts()
        return [row.split()[0] for row in rows]

    person.page.get_by_role("heading", name="Growth").wait_for()
    person.page.get_by_role("region", name="By type").wait_for()
    assert table("By bucket") == ["veras-too", "veras"]
    person.page.get_by_text("17.5 kB today.").wait_for()  # a line needs two days
    amounts = {"files": 1, "file_bytes": 1000, "versions": 2}
    days = [{"name": f"2026-03-{day:02}", **amounts, "version_bytes": 2000 * day} for day in range(1, 21)]
    person.page.route("**/api/v1/analytics/growth**", lambda route: route.fulfill(json={"days": days}))
    person.page.get_by_label("In the last").select_option(label="year")
    person.page.get_by_text("From 2 kB on 1 Mar 2026 to 40 kB on 20 Mar 2026.").wait_for()
    person.page.get_by_text("Show the numbers").click()
    assert person.page.get_by_role("region", name="Growth").get_by_role("row").count() == 13
    assert person.violations() == []
    person.page.get_by_label("In the bucket").select_option("veras")
    person.page.get_by_role("region", name="By bucket").wait_for(state="detached")
    person.page.get_by_role("region", name="By type").get_by_text("8 kB").wait_for()
    assert table("By type") == ["text/plain", "image/png"]
    person.page.get_by_label("Count").select_option(label="current files")
    person.page.get_by_role("region", name="By type").get_by_text("5 kB").wait_for()
    person.page.reload()
    person.page.get_by_role("region", name="By author").get_by_text("vera").wait_for()
    assert person.page.get_by_label("In the bucket").input_value() == "veras"
    assert person.violations() == []


def test_a_bucket_gets_lifecycle_rules(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """A rule without sense is not saved; what only S3 programs set is said in words, and stays when a rule changes."""
    url, owner = f"{cluster.proxy_urls[0]}/api/v1", account(cluster, "wim")
    owner.post(f"{url}/buckets", json={"name": "wims"}, timeout=60).raise_for_status()
    rule = {"id": "one", "prefix": "in/", "tags": {"kind": "draft"}, "expire_days": 9}
    owner.put(f"{url}/lifecycles/wims", json={"rules": [rule]}, timeout=60).raise_for_status()
    person = open_page(1, **PHONE)
    person.sign_in("wim", PASSWORD)
    person.page.get_by_role("button", name="Settings: wims").click()
    person.page.get_by_role("button", name="Lifecycle …").click()
    dialog = person.page.get_by_role("dialog", name="Lifecycle of “wims”")
    dialog.get_by_text("Files are deleted 9 days after they were written.").wait_for()
    assert person.violations() == []
    dialog.get_by_role("button", name="Change: Below “in/”, with the tag kind=draft").click()
    form = person.page.get_by_role("dialog", name="Rule", exact=True)
    form.get_by_label("Delete files after (days)").fill("soon")
    form.get_by_text("Enter a whole number of days from 1").wait_for()
    assert form.get_by_role("button", name="Save").is_disabled()
    assert person.violations() == []
    third = {"id": "three", "prefix": "old/", "expire_days": 1}
    owner.put(f"{url}/lifecycles/wims", json={"rules": [rule, third]}, timeout=60).raise_for_status()
    form.get_by_label("Delete files after (days)").fill("10")
    form.get_by_role("button", name="Save").click()
    dialog.get_by_text("Files are deleted 10 days after they were written.").wait_for()
    dialog.get_by_role("button", name="New rule").click()
    form.get_by_label("Remove older versions after (days)").fill("1")
    form.get_by_label("But keep this many").fill("3")
    form.get_by_role("button", name="Save").click()
    dialog.get_by_text("Older versions are removed 1 day after they were replaced, except the newest 3.").wait_for()
    dialog.get_by_role("button", name="Switch off: All files").click()
    dialog.get_by_text("switched off").wait_for()
    first, kept, second = owner.get(f"{url}/lifecycles/wims", timeout=60).json()["rules"]
    assert (first, kept) == ({**rule, "expire_days": 10}, third)  # what somebody else set meanwhile
    assert (second["noncurrent_days"], second["keep_newer"], second["enabled"]) == (1, 3, False)
    for name in ("Below “in/”", "Below “old/”", "All files"):
        dialog.get_by_role("button", name=f"Delete: {name}").click()
    dialog.get_by_text("There are no rules").wait_for()
    assert owner.get(f"{url}/lifecycles/wims", timeout=60).json() == {"rules": []}
