"""The console's groups and tenants, in a real browser against a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.console_page import ConsolePage
from tests.browser.people import PASSWORD, PHONE, account, sign_in_administrator
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def add_member(person: ConsolePage, name: str, role: str = "member") -> None:
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Account", exact=True).fill(name)
    dialog.get_by_label("Role", exact=True).select_option(role)
    dialog.get_by_role("button", name="Add", exact=True).click()


def test_a_group_is_made_managed_shared_with_and_deleted(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """An administrator makes it, its manager adds members, a grant to it lets them read until it is deleted."""
    url = f"{cluster.proxy_urls[0]}/api/v1"
    owner, member = account(cluster, "gil"), account(cluster, "hana")
    owner.post(f"{url}/buckets", json={"name": "gils"}, timeout=60).raise_for_status()
    owner.put(f"{url}/files/gils/a.txt", data=b"a", timeout=60).raise_for_status()
    admin = open_page(1, **PHONE)
    sign_in_administrator(admin, cluster)
    admin.visit("admin/groups")
    admin.page.get_by_role("button", name="New group").click()
    admin.page.get_by_label("Name of the group").fill("bad/name")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    admin.page.get_by_role("dialog").get_by_role("alert").wait_for()
    assert admin.violations() == []
    admin.page.get_by_label("Name of the group").fill("Editors")
    admin.page.get_by_label("Description (optional)").fill("who writes the plans")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    admin.page.get_by_role("dialog").get_by_text("Nobody is in this group yet.").wait_for()
    add_member(admin, "nobody-here")
    admin.page.get_by_role("alert").get_by_text("nobody-here").wait_for()
    add_member(admin, "gil", "manager")
    admin.page.get_by_label("Role of gil").wait_for()
    assert admin.violations() == []
    admin.page.keyboard.press("Escape")
    admin.row("editors").get_by_text("who writes the plans").wait_for()
    assert admin.violations() == []

    manager = open_page(2)
    manager.sign_in("gil", PASSWORD)
    manager.page.get_by_role("link", name="gil", exact=True).click()
    manager.page.get_by_role("button", name="Members: editors").click()
    add_member(manager, "hana")
    manager.page.get_by_label("Role of hana").wait_for()
    assert manager.violations() == []
    manager.page.keyboard.press("Escape")
    assert manager.page.get_by_role("button", name="New group").count() == 0
    manager.open_bucket("gils")
    manager.choose("a.txt", "Share …")
    field = manager.page.get_by_label("Account or group")
    manager.page.locator('#known-groups option[value="group:editors"]').wait_for(state="attached")
    assert field.get_attribute("list") == "known-groups"
    field.fill("group:editors")
    manager.page.get_by_role("button", name="Give access").click()
    manager.page.get_by_label("What Group editors may do").wait_for()
    assert member.get(f"{url}/files/gils/a.txt", timeout=60).content == b"a"

    admin.page.get_by_role("button", name="Members: editors").click()
    admin.page.get_by_label("Role of hana").select_option(label="remove from the group")
    admin.page.get_by_label("Role of hana").wait_for(state="detached")
    assert member.get(f"{url}/files/gils/a.txt", timeout=60).status_code == 403
    admin.page.keyboard.press("Escape")
    admin.page.get_by_role("button", name="Delete: editors").click()
    admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.row("editors").wait_for(state="detached")
    assert [grant["account"] for grant in owner.get(f"{url}/access/gils?path=a.txt", timeout=60).json()["grants"]] == []


def test_a_tenant_gets_an_administrator_who_sees_only_it(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """Made with its quota by the cluster's administrator; its own one makes accounts in it, and sees no others."""
    admin = open_page(2)
    sign_in_administrator(admin, cluster)
    admin.visit("admin/tenants")
    admin.page.get_by_role("button", name="New tenant").click()
    admin.page.get_by_label("Name of the tenant").fill("Not A Tenant")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    admin.page.get_by_role("dialog").get_by_role("alert").wait_for()
    assert admin.violations() == []
    admin.page.get_by_label("Name of the tenant").fill("acme")
    admin.page.get_by_role("button", name="Create", exact=True).click()
    dialog = admin.page.get_by_role("dialog", name="New administrator of acme")
    dialog.get_by_label("User name").fill("ann")
    dialog.get_by_text("acme\\ann", exact=False).wait_for()
    assert admin.violations() == []
    dialog.get_by_role("button", name="Create", exact=True).click()
    one_time = admin.page.locator(".secret").inner_text()
    admin.page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    admin.row("acme").get_by_text("acme\\ann").wait_for()
    admin.choose("acme", "Quotas …")
    admin.page.get_by_label("Files", exact=True).fill("1000")
    assert admin.violations() == []
    admin.page.get_by_role("button", name="Save").click()
    admin.page.get_by_role("dialog").wait_for(state="detached")
    admin.choose("acme", "Delete …")
    admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.page.get_by_role("dialog").get_by_role("alert").get_by_text("account").wait_for()
    admin.page.keyboard.press("Escape")
    assert admin.violations() == []

    boss = open_page(1, **PHONE)
    boss.sign_in("acme\\ann", one_time)
    boss.page.get_by_label("New password").fill(PASSWORD)
    boss.page.get_by_label("Password again").fill(PASSWORD)
    boss.page.get_by_role("button", name="Set the password and sign in").click()
    boss.page.get_by_role("link", name="Accounts", exact=True).first.click()
    boss.page.get_by_role("region", name="Tenant acme").get_by_text("0 of 1,000").wait_for()
    boss.page.get_by_role("button", name="New account").click()
    boss.page.get_by_label("User name").fill("ben")
    boss.page.get_by_role("button", name="Create", exact=True).click()
    boss.page.get_by_text("One-time password for acme\\ben").wait_for()
    boss.page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    boss.row("acme\\ben").wait_for()
    assert boss.page.get_by_role("rowheader").all_inner_texts() == ["acme\\ann", "acme\\ben"]
    assert boss.violations() == []
    parts = boss.page.get_by_role("navigation", name="Administration").get_by_role("link").all_inner_texts()
    assert parts == ["Accounts", "Groups", "Audit"]
    assert boss.page.get_by_role("link", name="Cluster").count() == 0
    boss.page.goto(f"{boss.url}/console/cluster")
    boss.page.get_by_text("This page is for administrators.").wait_for()
