"""The console in a real browser against a real cluster: what people see, from sign-in to a lock that changes hands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.authenticator import Authenticator
from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, sign_in_administrator
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def test_a_file_from_sign_in_to_its_older_version(open_page: OpenPage, cluster: ClusterHarness, tmp_path: Path) -> None:
    """A wrong password is a sentence, an upload is at every proxy, no file is replaced unasked, and the older version
    comes back. The browser saves a stored page and does not show it. axe finds nothing on the way."""
    person = open_page()
    person.register("ann", PASSWORD)
    person.open_bucket()
    person.upload("plan.html", b"<script>document.title = 'ran'</script>")
    person.row("plan.html").get_by_role("link").wait_for()
    other = cluster.session().get(f"{cluster.proxy_urls[1]}/api/v1/files/files/plan.html", timeout=60)
    assert other.content == b"<script>document.title = 'ran'</script>"
    person.upload("plan.html", b"second")
    person.page.get_by_role("button", name="Replace it").wait_for()
    assert person.violations() == []
    person.page.get_by_role("button", name="Replace it").click()
    person.page.get_by_text("2 of 2 uploaded").wait_for()

    person.choose("plan.html", "Versions")
    person.page.get_by_text("current", exact=True).wait_for()
    assert person.violations() == []
    person.page.get_by_role("button", name="Restore").click()
    person.page.get_by_role("listitem").nth(2).wait_for()
    person.page.keyboard.press("Escape")
    with person.page.expect_download() as download:
        person.row("plan.html").get_by_role("link").click()
    saved = tmp_path / "saved"
    download.value.save_as(saved)
    assert (download.value.suggested_filename, saved.read_bytes()[:8]) == ("plan.html", b"<script>")
    assert "ran" not in person.page.title()

    person.choose("plan.html", "Delete")
    person.page.get_by_role("dialog").wait_for()
    assert person.violations() == []
    person.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    person.page.get_by_text("This folder is empty").wait_for()
    person.page.get_by_role("button", name="Sign out").click()
    person.sign_in("ann", "not her password")
    person.page.get_by_text("The user name or the password is wrong.").wait_for()
    assert person.violations() == []


def test_a_folder_is_created_renamed_and_deleted_with_what_is_in_it(
    open_page: OpenPage, cluster: ClusterHarness
) -> None:
    """From the page, and seen through the API; a name that is taken is refused in words."""
    person, session = open_page(), cluster.session()
    files = f"{cluster.proxy_urls[1]}/api/v1/files/files"
    person.register("fay", PASSWORD)
    person.open_bucket()
    for _ in range(2):
        person.page.get_by_role("button", name="New folder").click()
        person.page.get_by_label("Name of the folder").fill("drafts")
        person.page.get_by_role("button", name="Create", exact=True).click()
        person.row("drafts").wait_for()
    person.page.get_by_role("dialog").get_by_role("alert").wait_for()
    assert person.violations() == []
    person.page.keyboard.press("Escape")

    session.put(f"{files}/drafts/sub/a.txt", data=b"a", timeout=60).raise_for_status()
    person.choose("drafts", "Rename")
    person.page.get_by_label("Name of the folder").fill("final")
    person.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    person.row("final").wait_for()
    assert session.get(f"{files}/final/sub/a.txt", timeout=60).content == b"a"
    assert session.get(f"{files}/drafts/sub/a.txt", timeout=60).status_code == 404

    person.choose("final", "Delete")
    person.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    person.row("final").wait_for(state="detached")
    assert session.get(f"{files}/final/sub/a.txt", timeout=60).status_code == 404


def test_a_lock_is_seen_by_others_at_once_and_changes_hands(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """Two browsers at two proxies: what one does with a lock, the other shows without a reload."""
    cluster.session().put(f"{cluster.proxy_urls[0]}/api/v1/files/files/roof.txt", data=b"roof", timeout=60)
    holder, waiter = open_page(1), open_page(2, **PHONE)
    holder.register("ben", PASSWORD)
    holder.open_bucket()
    waiter.register("cleo", PASSWORD)
    waiter.page.get_by_role("link", name="Locks").click()
    waiter.page.get_by_text("This list updates itself.").wait_for()
    for person in (holder, waiter):
        person.follows_locks()
        person.requests.clear()

    holder.choose("roof.txt", "Lock")
    holder.row("roof.txt").get_by_text("locked by you").wait_for()
    waiter.row("roof.txt").get_by_text("ben").wait_for()
    assert waiter.violations() == []
    waiter.page.get_by_role("button", name="Wait in line").click()
    holder.page.get_by_text("cleo is waiting for your lock").wait_for()
    assert holder.violations() == []

    holder.choose("roof.txt", "Release")
    waiter.page.get_by_text("You have the lock on “files/roof.txt”.").wait_for()
    holder.row("roof.txt").get_by_text("locked by cleo").wait_for()
    holder.upload("roof.txt", b"mine")
    holder.page.get_by_text("Locked by cleo. Nobody else").wait_for()
    waiter.page.get_by_role("button", name="Release").click()
    waiter.row("roof.txt").wait_for(state="detached")
    # All of that came by itself: nobody has asked for the list again.
    assert [one for person in (holder, waiter) for one in person.requests if one == "GET /api/v1/locks"] == []


def test_an_administrator_breaks_a_lock(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """After a question, with a reason that the holder sees at once; and only administrators have that button."""
    cluster.session().put(f"{cluster.proxy_urls[0]}/api/v1/files/files/wall.txt", data=b"wall", timeout=60)
    holder, admin = open_page(1), open_page(2)
    holder.register("dora", PASSWORD)
    holder.open_bucket()
    holder.choose("wall.txt", "Lock")
    holder.row("wall.txt").get_by_text("locked by you").wait_for()
    holder.follows_locks()
    sign_in_administrator(admin, cluster)
    admin.page.get_by_role("link", name="Locks").click()
    admin.row("wall.txt").get_by_role("button", name="Break").click()
    admin.page.get_by_label("Reason (optional)").fill("The wall must be painted.")
    assert admin.violations() == []
    admin.page.get_by_role("button", name="Break the lock").click()
    admin.row("wall.txt").wait_for(state="detached")
    holder.page.get_by_role("alert").get_by_text(
        "has broken your lock on “files/wall.txt”. Reason: The wall"
    ).wait_for()
    assert holder.violations() == []
    audit = cluster.session().get(f"{cluster.proxy_urls[0]}/api/v1/audit", timeout=60).json()
    (broken,) = [event for event in audit["events"] if event["kind"] == "lock broken"]
    assert broken["detail"].endswith("of dora: The wall must be painted.")


def test_a_second_factor_is_asked_for(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """The page asks for the code after the password, refuses a wrong one, and goes on with the right one."""
    url, session = f"{cluster.proxy_urls[0]}/api/v1/auth", cluster.session()
    account = {"username": "emil", "password": PASSWORD}
    session.post(f"{url}/register", json=account, timeout=60).raise_for_status()
    app = Authenticator(session.post(f"{url}/mfa", json=account, timeout=60).json()["secret"], time.time)
    session.post(f"{url}/mfa/confirm", json={**account, "code": app.code()}, timeout=60).raise_for_status()

    person = open_page(**PHONE)
    person.sign_in("emil", PASSWORD)
    field = person.page.get_by_label("Code of your authenticator app")
    field.fill(app.wrong())
    person.page.keyboard.press("Enter")
    person.page.get_by_text("That code is wrong.").wait_for()
    assert person.violations() == []
    field.fill(app.code(1))
    person.page.keyboard.press("Enter")
    person.page.get_by_role("list", name="Buckets").wait_for()


def test_the_page_speaks_another_language_and_works_from_the_keyboard(
    open_page: OpenPage, cluster: ClusterHarness
) -> None:
    """German by the browser's choice; arrow keys move through the files, and Delete asks."""
    for name in ("keys-1.txt", "keys-2.txt"):
        cluster.session().put(f"{cluster.proxy_urls[0]}/api/v1/files/files/keys/{name}", data=b"x", timeout=60)
    person = open_page(locale="de-DE", color_scheme="dark")
    person.page.get_by_label("Benutzername").fill(cluster.admin["username"])
    person.page.get_by_label("Passwort", exact=True).fill(cluster.admin["password"])
    person.page.keyboard.press("Enter")
    person.page.get_by_role("list", name="Buckets").wait_for()
    person.page.goto(f"{person.url}/console/files/files/keys")
    person.page.get_by_role("link", name="keys-1.txt").focus()
    person.page.keyboard.press("ArrowDown")
    person.page.locator("a:focus", has_text="keys-2.txt").wait_for()
    assert person.violations() == []
    person.page.keyboard.press("Delete")
    person.page.get_by_role("dialog").get_by_text("„keys-2.txt“ kommt mit allen Versionen in den Papierkorb").wait_for()
    person.page.keyboard.press("Escape")
    person.page.get_by_role("dialog").wait_for(state="detached")
