"""Takes a person through a log-in at an OpenID Connect provider, with a browser here or on any other device."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

from lockstep_store.client.api.single_sign_on import SignOnCalls
from lockstep_store.client.browser_answer import BrowserAnswer
from lockstep_store.wire.errors import BadRequest, NotFound, NotLoggedIn
from lockstep_store.wire.messages.people import LoginReply
from lockstep_store.wire.messages.single_sign_on import SignOn, SignOnMethod, SignOnOffer

Say = Callable[[str], None]
_SLICE_SECONDS = 1.0
"""The longest wait that a person's Ctrl-C has to wait for."""


@dataclass(frozen=True)
class SignOnChoice:
    """What the person wants. Without `method`, a browser if this machine has one, else a device if that is offered."""

    provider: str = ""
    method: SignOnMethod | None = None
    opens_browser: bool = True
    redirect_port: int = 0


def log_in(api: SignOnCalls, choice: SignOnChoice, say: Say, sleep: Callable[[float], None] = time.sleep) -> LoginReply:
    """Log in, and use the new token from now on. `say` shows the person what to do.

    Raises NotFound without a provider, NotLoggedIn if the provider refuses or it took too long, Forbidden or
    AlreadyExists if there is no account for the person.
    """
    offer = _offer(api.sign_on_offers(), choice.provider)
    method = choice.method or ("device" if offer.device and not has_browser() else "browser")
    if method == "device":
        if not offer.device:
            raise BadRequest(f"{offer.name} has no log-ins for devices without a browser: leave out --device")
        return _with_device(api, offer, say, sleep)
    return _with_browser(api, offer, choice, say, sleep)


def has_browser() -> bool:
    """Whether a program here can show the person a page. Browsers in the terminal do not count."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _offer(offers: list[SignOnOffer], name: str) -> SignOnOffer:
    if not offers:
        raise NotFound("single sign-on is not set up here: log in with a password")
    names = ", ".join(one.name for one in offers)
    if name:
        found = next((one for one in offers if one.name == name), None)
        if found is None:
            raise NotFound(f"there is no identity provider {name!r}: choose one of {names}")
        return found
    if len(offers) > 1:
        raise BadRequest(f"there are several identity providers ({names}): name one with --provider")
    return offers[0]


def _with_browser(
    api: SignOnCalls, offer: SignOnOffer, choice: SignOnChoice, say: Say, sleep: Callable[[float], None]
) -> LoginReply:
    with BrowserAnswer(choice.redirect_port) as browser:
        started = api.start_sign_on(offer.name, "browser", browser.address)
        browser.expect(started.authorization_url)
        opened = choice.opens_browser and has_browser() and webbrowser.open(started.authorization_url)
        say(f"Log in at {offer.name} in your browser" + (", which was opened. If it was not, open:" if opened else ":"))
        say(started.authorization_url)
        until = time.monotonic() + started.seconds_left
        while not (answer := browser.wait(_SLICE_SECONDS)):
            if time.monotonic() > until:
                raise NotLoggedIn("this log-in took too long: begin again")
        return _finish(api, api.continue_sign_on(started.id, answer), sleep)


def _with_device(api: SignOnCalls, offer: SignOnOffer, say: Say, sleep: Callable[[float], None]) -> LoginReply:
    found = api.start_sign_on(offer.name, "device")
    while not found.user_code:
        _pause(found, sleep)
        found = api.continue_sign_on(found.id)
    minutes = max(1, round(found.seconds_left / 60))
    say(f"Log in at {offer.name}: open {found.verification_uri} on any device, and type the code {found.user_code}")
    if found.verification_uri_complete:
        say(f"or open {found.verification_uri_complete}")
    say(f"The code is good for {minutes} min. Never type a code that somebody sent you.")
    return _finish(api, found, sleep)


def _finish(api: SignOnCalls, found: SignOn, sleep: Callable[[float], None]) -> LoginReply:
    while found.login is None:
        _pause(found, sleep)
        found = api.continue_sign_on(found.id)
    return found.login


def _pause(found: SignOn, sleep: Callable[[float], None]) -> None:
    left = found.poll_seconds
    while left > 0:
        sleep(min(left, _SLICE_SECONDS))
        left -= _SLICE_SECONDS
