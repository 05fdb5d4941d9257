"""The console's administration of accounts, in a real browser against a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, account, sign_in_administrator
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def test_an_account_is_created_and_its_owner_sets_a_password(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """The one-time password opens nothing but the question for another one; a taken name is refused in words."""
    admin = open_page(1, **PHONE)
    sign_in_administrator(admin, cluster)
    admin.page.get_by_role("link", name="Accounts", exact=True).first.click()
    admin.page.get_by_role("button", name="New account").click()
    admin.page.get_by_label("User name").fill("admin")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    admin.page.get_by_role("alert").wait_for()
    assert admin.violations() == []
    admin.page.get_by_label("User name").fill("xena")
    admin.page.get_by_label("Role").select_option("read-only")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    one_time = admin.page.locator(".secret").inner_text()
    assert admin.violations() == []
    admin.page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    admin.row("xena").get_by_text("must change the password").wait_for()
    assert admin.violations() == []

    person = open_page(2)
    person.sign_in("xena", one_time)
    person.page.get_by_text("This is a one-time password.").wait_for()
    assert person.violations() == []
    person.page.get_by_label("New password").fill(PASSWORD)
    person.page.get_by_label("Password again").fill("another sentence of mine")
    person.page.get_by_role("button", name="Set the password and sign in").click()
    person.page.get_by_text("The two passwords do not match.").wait_for()
    person.page.get_by_label("Password again").fill(PASSWORD)
    person.page.get_by_role("button", name="Set the password and sign in").click()
    person.page.get_by_role("list", name="Buckets").wait_for()


def test_an_account_is_bounded_locked_out_and_deleted(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """Quotas, log-ins, the switch, a reset and a deletion take effect at once, and the audit has them."""
    url, member = f"{cluster.proxy_urls[0]}/api/v1", account(cluster, "yann")
    member.post(f"{url}/buckets", json={"name": "yanns"}, timeout=60).raise_for_status()
    admin = open_page(2)
    sign_in_administrator(admin, cluster)
    admin.visit("admin/accounts")
    admin.page.get_by_label("Filter by name").fill("yann")
    admin.choose("yann", "Quotas …")
    field = admin.page.get_by_label("Bytes in all versions")
    field.fill("10 GB")
    admin.page.get_by_text("Enter a whole number, or leave this empty.").wait_for()
    field.fill("10")
    assert admin.violations() == []
    admin.page.get_by_role("button", name="Save").click()
    admin.page.get_by_role("dialog").wait_for(state="detached")
    assert member.put(f"{url}/files/yanns/a.txt", data=b"x" * 11, timeout=60).status_code == 507

    admin.choose("yann", "Log-ins and keys …")
    admin.page.get_by_role("button", name="End all").wait_for()
    assert admin.violations() == []
    admin.page.get_by_role("button", name="End all").click()
    admin.page.get_by_text("There are no log-ins and no keys.").wait_for()
    assert member.get(f"{url}/auth/me", timeout=60).status_code == 401
    admin.page.keyboard.press("Escape")
    login = {"username": "yann", "password": PASSWORD}
    admin.choose("yann", "Disable")
    admin.row("yann").get_by_text("disabled").wait_for()
    assert member.post(f"{url}/auth/login", json=login, timeout=60).status_code in (401, 403)
    admin.choose("yann", "Enable")
    admin.row("yann").get_by_text("disabled").wait_for(state="detached")
    admin.choose("yann", "Reset the password …")
    admin.page.get_by_role("button", name="Reset the password").click()
    admin.page.get_by_text("One-time password for yann").wait_for()
    assert member.post(f"{url}/auth/login", json=login, timeout=60).status_code == 401
    admin.page.keyboard.press("Escape")

    admin.choose("yann", "Delete …")
    heir = admin.page.get_by_label("New owner of its buckets")
    heir.fill("nobody-here")
    admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.page.get_by_role("alert").get_by_text("nobody-here").wait_for()
    heir.fill(cluster.admin["username"])
    admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.row("yann").wait_for(state="detached")
    owners = {
        one["name"]: one["owner"] for one in cluster.session().get(f"{url}/buckets", timeout=60).json()["buckets"]
    }
    assert owners["yanns"] == cluster.admin["username"]

    admin.page.get_by_role("link", name="Audit").click()
    admin.page.get_by_label("Filter the events").fill("yann")
    admin.page.get_by_role("row").nth(1).wait_for()
    assert admin.page.get_by_role("row").count() > 3
    assert admin.violations() == []


def test_a_person_makes_and_revokes_keys(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """A key is shown once, works at once, and is refused as soon as it is revoked."""
    me, person = f"{cluster.proxy_urls[1]}/api/v1/auth/me", open_page(1, **PHONE)
    person.register("zara", PASSWORD)
    person.page.get_by_role("link", name="zara", exact=True).click()
    person.page.get_by_label("Name of the new API key").fill("backup job")
    person.page.get_by_role("button", name="Create an API key").click()
    key = person.page.locator(".secret").inner_text()
    assert person.violations() == []
    program = cluster.session(key)
    assert program.get(me, timeout=60).json()["name"] == "zara"
    person.page.get_by_label("Name of the new S3 key").fill("photos")
    person.page.get_by_role("button", name="Create an S3 key").click()
    person.row("photos").wait_for()
    person.page.get_by_role("button", name="Revoke: backup job").click()
    assert person.violations() == []
    person.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    person.row("backup job").wait_for(state="detached")
    assert program.get(me, timeout=60).status_code == 401
