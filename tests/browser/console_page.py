"""The console as a person in front of a browser uses it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tests.browser.page_sources import libraries
from tests.waiting import PATIENCE_SECONDS, wait_until


class ConsolePage:
    """One browser at one proxy. `faults` are the page's own errors and what its policy refused; `requests` are what it
    has asked its proxy for, each as "GET /address"."""

    def __init__(self, context: Any, url: str) -> None:
        self._context = context
        self.url = url
        self.faults: list[str] = []
        self.requests: list[str] = []
        context.set_default_timeout(1000 * PATIENCE_SECONDS)
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self.requests.append(f"{request.method} {urlsplit(request.url).path}"))
        self.page.goto(f"{url}/")

    def _note(self, message: Any) -> None:
        # A browser also calls a refused request an error, such as the first question who is signed in.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def close(self) -> None:
        self._context.close()

    def sign_in(self, name: str, password: str) -> None:
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def register(self, name: str, password: str) -> None:
        self.page.get_by_role("button", name="New here? Create an account").click()
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_label("Password again").fill(password)
        self.page.get_by_role("button", name="Create the account").click()

    def visit(self, place: str) -> None:
        """Open the page at `/console/PLACE` once the person is signed in."""
        self.page.get_by_role("button", name="Sign out").wait_for()
        self.page.goto(f"{self.url}/console/{place}")

    def open_bucket(self, name: str = "files") -> None:
        self.page.get_by_role("link", name="Files", exact=True).click()
        self.page.get_by_role("list", name="Buckets").get_by_role("link", name=name, exact=True).click()
        self.page.get_by_role("button", name="Upload files").wait_for()

    def follows_locks(self) -> None:
        """Wait until the page has a stream of the locks, and has stopped asking for their list."""

        def is_quiet() -> bool:
            before = len(self.requests)
            self.page.wait_for_timeout(2500)  # the longest time between two questions of a page without a stream
            return "GET /api/v1/locks" not in self.requests[before:]

        wait_until(is_quiet, what="the page follows the locks")

    def upload(self, name: str, content: bytes) -> None:
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        self.page.locator("input[type=file]").first.set_input_files([file])

    def row(self, name: str) -> Any:
        """The row of a file or lock."""
        return self.page.get_by_role("row").filter(has_text=name)

    def choose(self, name: str, action: str) -> None:
        """Choose from a file's menu."""
        self.page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
        self.page.get_by_role("menuitem", name=action, exact=True).click()

    def violations(self) -> list[Any]:
        """What axe finds on the page as it is, by all its rules."""
        axe = (libraries() / "axe-core" / "axe.min.js").read_text("utf-8")
        session = self._context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": f"{axe};0"})  # past the page's policy, which refuses it
        found = self.page.evaluate("axe.run(document).then(({violations}) => violations)")
        return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
