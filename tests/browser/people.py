"""The people in front of the console, and their accounts."""

from __future__ import annotations

import requests

from tests.browser.console_page import ConsolePage
from tests.cluster.cluster_harness import ClusterHarness

PASSWORD = "a long sentence of mine"
PHONE = {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark"}


def account(cluster: ClusterHarness, name: str) -> requests.Session:
    """A session of a new account."""
    session, body = cluster.session(), {"username": name, "password": PASSWORD}
    made = session.post(f"{cluster.proxy_urls[0]}/api/v1/auth/register", json=body, timeout=60).json()
    session.headers = requests.structures.CaseInsensitiveDict({"Authorization": f"Bearer {made['token']}"})
    return session


def sign_in_administrator(page: ConsolePage, cluster: ClusterHarness) -> None:
    page.sign_in(cluster.admin["username"], cluster.admin["password"])
