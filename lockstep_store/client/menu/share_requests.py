"""The menu's requests about share links."""

from __future__ import annotations

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.text import formatting
from lockstep_store.client.text.shares import made_text, shares_text
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.shares import DAY_SECONDS, DEFAULT_SHARE_SECONDS, ShareLink


class ShareRequests:
    """Requests about links that people without an account open in a browser."""

    def __init__(self, api: ApiCalls, terminal: Terminal) -> None:
        self._api = api
        self._terminal = terminal
        self._numbered: list[ShareLink] = []

    def share(self, path: str) -> None:
        """Make a link to a file, or to a folder (`plans/`)."""
        usual = round(DEFAULT_SHARE_SECONDS / DAY_SECONDS)
        days = self._terminal.ask(f"For how many days (Enter: {usual})? ") or str(usual)
        if not days.isdecimal() or not int(days):
            raise BadRequest(f"{formatting.safe(days)!r} is no number of days: nothing was shared")
        password = self._terminal.ask_secret("A password for the link (Enter: none): ")
        made = self._api.create_share(path, expires_in=int(days) * DAY_SECONDS, password=password)
        self._terminal.say(made_text(made, self._api.share_address(made)))

    def list(self, argument: str) -> None:
        """List the person's links. Remembers numbers for `revoke N`."""
        self._numbered = self._api.shares()
        self._terminal.say(shares_text(self._numbered, self._terminal.width, numbered=True))
        if self._numbered:
            self._terminal.say('Type "revoke 1" to end one of them at once.')

    def revoke(self, number: str) -> bool:
        """Carry out `revoke N` after the list."""
        if not number.isdecimal() or not 1 <= int(number) <= len(self._numbered):
            raise BadRequest("list your share links first, then type revoke and a number from that list")
        link = self._numbered[int(number) - 1]
        self._api.revoke_share(link.id)
        self._terminal.say(f"revoked the link to {formatting.safe(link.path or link.bucket)}")
        return True
