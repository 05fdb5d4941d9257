"""The console shares files with accounts and by link, in a real browser against a real cluster."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.people import PASSWORD, PHONE, account
from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster


def test_access_is_given_explained_and_taken_away(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """An unknown account is refused in words; the other account sees why it has access, and loses it again."""
    url = f"{cluster.proxy_urls[0]}/api/v1"
    owner, other = account(cluster, "pia"), account(cluster, "quin")
    owner.post(f"{url}/buckets", json={"name": "atlas"}, timeout=60).raise_for_status()
    owner.put(f"{url}/files/atlas/maps/north.txt", data=b"north", timeout=60).raise_for_status()
    person = open_page(1)
    person.sign_in("pia", PASSWORD)
    person.open_bucket("atlas")
    person.choose("maps", "Share …")
    people = person.page.get_by_role("list", name="People with access")
    people.get_by_text("Owns bucket 'atlas'").wait_for()
    account_field = person.page.get_by_label("Account or group", exact=True)
    account_field.fill("nobody-here")
    person.page.get_by_role("button", name="Give access").click()
    person.page.get_by_role("alert").get_by_text("There is no account 'nobody-here'").wait_for()
    account_field.fill("quin")
    person.page.get_by_label("May", exact=True).select_option("write")
    person.page.get_by_role("button", name="Give access").click()
    people.get_by_label("What quin may do").wait_for()
    assert person.violations() == []
    other.put(f"{url}/files/atlas/maps/south.txt", data=b"south", timeout=60).raise_for_status()

    guest = open_page(2, **PHONE)
    guest.sign_in("quin", PASSWORD)
    guest.page.get_by_role("list", name="Shared with you").get_by_role("link", name="atlas/maps/").click()
    guest.row("north.txt").wait_for()
    guest.choose("north.txt", "Share …")
    guest.page.get_by_text("A grant on the folder “maps/”.").wait_for()
    assert guest.page.get_by_role("button", name="Give access").count() == 0
    assert guest.violations() == []

    people.get_by_label("What quin may do").select_option(label="take access away")
    people.get_by_text("quin", exact=True).wait_for(state="detached")
    assert other.get(f"{url}/files/atlas/maps/north.txt", timeout=60).status_code == 403
    everybody = person.page.get_by_role("checkbox", name="Everybody may read it")
    everybody.click()
    people.get_by_role("listitem").filter(has_text="People without an account").get_by_text(
        "read", exact=True
    ).wait_for()
    assert everybody.is_checked()


def test_a_link_is_made_opened_and_revoked(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """A link with a password works without an account, a drop box takes files, and a revoked link is dead at once."""
    url = f"{cluster.proxy_urls[0]}/api/v1"
    owner = account(cluster, "rosa")
    owner.post(f"{url}/buckets", json={"name": "offers"}, timeout=60).raise_for_status()
    owner.put(f"{url}/files/offers/tender.txt", data=b"our price", timeout=60).raise_for_status()
    person = open_page(1, **PHONE)
    person.sign_in("rosa", PASSWORD)
    person.open_bucket("offers")
    person.choose("tender.txt", "Share …")
    person.page.get_by_role("tab", name="Links").click()
    person.page.get_by_text("There are no links.").wait_for()
    person.page.get_by_label("Maximum downloads").fill("none")
    person.page.get_by_text("Enter a whole number from 1, or leave this empty.").wait_for()
    person.page.get_by_label("Maximum downloads").fill("3")
    person.page.get_by_label("Password (optional)").fill("correct horse")
    person.page.get_by_role("button", name="Make a link").click()
    address = person.page.get_by_label("The link’s address").input_value()
    assert person.violations() == []
    visitor = cluster.session()
    visitor.headers.clear()
    assert b"tender.txt" not in visitor.get(address, timeout=60).content
    visitor.post(address, data={"password": "correct horse"}, timeout=60).raise_for_status()
    assert visitor.get(f"{address}/f", timeout=60).content == b"our price"
    person.page.keyboard.press("Escape")

    person.page.get_by_role("button", name="Share this bucket").click()
    person.page.get_by_role("tab", name="Links").click()
    person.page.get_by_label("drop box").click()
    person.page.get_by_label("Maximum MB per file").fill("1")
    person.page.get_by_label("The link lasts").select_option(label="until it is revoked")
    person.page.get_by_role("button", name="Make a link").click()
    box = person.page.get_by_label("The link’s address").input_value()
    visitor.post(box, files={"file": ("bid.txt", b"a bid")}, timeout=60).raise_for_status()
    assert owner.get(f"{url}/files/offers/bid.txt", timeout=60).content == b"a bid"
    person.page.keyboard.press("Escape")

    person.page.get_by_role("link", name="Links", exact=True).click()
    person.row("offers/tender.txt").get_by_text("1 of 3").wait_for()
    assert person.violations() == []
    person.page.get_by_role("button", name="Revoke: offers/tender.txt").click()
    person.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    person.row("offers/tender.txt").wait_for(state="detached")
    assert visitor.get(f"{address}/f", timeout=60).status_code == 404


def test_a_policy_is_explained_before_it_is_saved(open_page: OpenPage, cluster: ClusterHarness) -> None:
    """A text that is no policy is refused in words; who gains access is shown with the reason; then it is saved."""
    url = f"{cluster.proxy_urls[0]}/api/v1"
    owner, other = account(cluster, "sven"), account(cluster, "tilda")
    owner.post(f"{url}/buckets", json={"name": "sven-maps"}, timeout=60).raise_for_status()
    owner.put(f"{url}/files/sven-maps/in/a.txt", data=b"a", timeout=60).raise_for_status()
    person = open_page(2, **PHONE)
    person.sign_in("sven", PASSWORD)
    person.page.get_by_role("button", name="Settings: sven-maps").click()
    person.page.get_by_role("button", name="Policy …").click()
    dialog = person.page.get_by_role("dialog", name="Policy of “sven-maps”")
    text, save = dialog.get_by_label("Policy (JSON)"), dialog.get_by_role("button", name="Save the policy")
    text.fill('{"Version": ')
    dialog.get_by_text("This is not a JSON object.").wait_for()
    assert person.violations() == []
    dialog.get_by_label("Begin with").select_option(label="an account reads the bucket")
    ask = dialog.get_by_role("button", name="What would it allow?")
    ask.click()
    dialog.get_by_role("alert").wait_for()  # there is no account NAME
    assert save.is_disabled()
    policy = text.input_value().replace("NAME", "tilda").replace("sven-maps/*", "sven-maps/in/*")
    text.fill(policy)
    ask.click()
    gains = dialog.get_by_role("list", name="Below “in/”").get_by_role("listitem")
    gains.get_by_text("the policy of bucket 'sven-maps' allows it", exact=False).wait_for()
    assert gains.filter(has_text="tilda").get_by_text("until now: no access").count() == 1
    assert gains.count() == 1
    assert dialog.get_by_text("Nothing changes here.").count() == 1  # for the whole bucket
    assert person.violations() == []
    assert other.get(f"{url}/files/sven-maps/in/a.txt", timeout=60).status_code == 403
    text.press("End")
    text.press("Space")
    dialog.get_by_text("The text has changed.").wait_for()
    assert save.is_disabled()
    text.press("Backspace")
    save.click()
    dialog.wait_for(state="detached")
    assert other.get(f"{url}/files/sven-maps/in/a.txt", timeout=60).content == b"a"

    person.page.get_by_role("button", name="Settings: sven-maps").click()
    person.page.get_by_role("button", name="Policy …").click()
    assert "tilda" in text.input_value()
    text.fill("")
    ask.click()
    dialog.get_by_role("button", name="Save without a policy").click()
    dialog.wait_for(state="detached")
    assert other.get(f"{url}/files/sven-maps/in/a.txt", timeout=60).status_code == 403
