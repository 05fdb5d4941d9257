"""The failure detector: notices within about two seconds that a program of the cluster is gone, hung or cut off.

Long time-outs are needed, because a busy disk makes a healthy program slow; but a program that was stopped would then
hold every caller for as long. So while calls to an address get no further, a TLS handshake is tried beside them. It is
answered by the other side's runtime, not by the threads that wait for the disk: a busy program answers, a stopped or
cut-off one does not. Then the calls to it are cut, and its address is refused at once until a handshake succeeds.

A program whose handshakes work while its calls hang is left to the calls' own time-outs, the second net. What becomes
of a cut call is its caller's business; sockets are `lockstep_store.runtime.peers.caller`'s.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol

from lockstep_store.runtime.tls.contexts import client_context
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.runtime.tracing import log

Address = tuple[str, int]

SUSPECT_SECONDS = 0.5
"""A call that got no further for so long makes its address suspect."""
PROBE_SECONDS = (0.9, 0.6)
"""Patience of the first and the second handshake. One alone is lost with one packet, or to a processor that is busy."""
AGAIN_SECONDS = 0.5
LONGEST_AGAIN_SECONDS = 2.0
"""Between two looks at an address whose calls stay slow: a quarter of their wait, within these bounds."""
REVIVE_SECONDS = 0.5
"""Between two tries whether a silent address answers again."""
FORGET_SECONDS = 10.0
"""An unused silent address is no longer probed after so long; the next call to it finds out again."""
IDLE_SECONDS = 5.0
"""How long the watching thread stays when nothing is under way."""
MIN_PAUSE_SECONDS = 0.02
_CUT_OFF = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


class Answer(Enum):
    """What a handshake showed."""

    ALIVE = "alive"
    SILENT = "silent"
    REFUSED = "refused"


Probe = Callable[[Address, float], Answer]
"""Tries an address for so many seconds."""


class Watched(Protocol):
    """A call under way. `waiting_since` is when its present socket operation began; 0 outside of one."""

    waiting_since: float

    def cut(self, reason: str) -> None:
        """Make the operation under way fail, now, from another thread."""
        ...


class Standing:
    """What is known of one address. `heard_at` is set by the caller whenever something came from there."""

    __slots__ = ("address", "asked_at", "dead_since", "heard_at", "look_at", "looking", "under_way")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.heard_at = 0.0
        self.dead_since = 0.0
        """0 while it counts as alive."""
        self.asked_at = 0.0
        self.look_at = 0.0
        self.looking = False
        self.under_way: dict[Watched, None] = {}


class Liveness:
    """Watches the calls of one client. Thread-safe; times are seconds of `monotonic`.

    `on_dead(address)` runs when an address is found dead. `start` runs an examination beside the watching thread, so
    that two servers which die together are found as fast as one.
    """

    def __init__(
        self,
        probe: Probe,
        on_dead: Callable[[Address], None] = lambda address: None,
        monotonic: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._probe = probe
        self._on_dead = on_dead
        self._monotonic = monotonic
        self._start = start or _in_a_thread
        self._standings: dict[Address, Standing] = {}
        self._guard = threading.Lock()
        self._watching = False
        self._stopped = threading.Event()

    def standing(self, address: Address) -> Standing:
        """The record of an address."""
        found = self._standings.get(address)
        return found if found is not None else self._standings.setdefault(address, Standing(address))

    def enter(self, standing: Standing, call: Watched) -> None:
        """Watch `call` from now until `leave`."""
        standing.under_way[call] = None
        # Read without the lock: the watching thread looks for calls once more after it has said that it ends.
        if not self._watching:
            self._watch_now()

    def leave(self, standing: Standing, call: Watched) -> None:
        """On return `call` will not be cut any more, so its socket may be closed. Safe to repeat."""
        with self._guard:
            standing.under_way.pop(call, None)

    def why_dead(self, standing: Standing) -> str:
        """Why calls to an address are refused at once; empty when they are not."""
        since = standing.dead_since
        if not since:
            return ""
        now = standing.asked_at = self._monotonic()
        if not self._watching:
            self._watch_now()
        return f"has answered no handshake for {now - since + sum(PROBE_SECONDS):.1f} s; it is tried again all the time"

    def stop(self) -> None:
        """End the watching thread; a later call starts it again."""
        self._stopped.set()

    # ------------------------------------------------------------ watching

    def look(self) -> float | None:
        """Have every address that is due examined. Seconds until the next look; None when nothing is under way."""
        now = self._monotonic()
        pause: float | None = None
        for standing in list(self._standings.values()):
            due = self._due_at(standing, now)
            if due is None:
                continue
            if due <= now and not standing.looking:
                standing.looking = True
                self._start(partial(self._examine, standing))
                due = now + SUSPECT_SECONDS
            left = max(due - now, MIN_PAUSE_SECONDS)
            pause = left if pause is None else min(pause, left)
        return pause

    def _due_at(self, standing: Standing, now: float) -> float | None:
        """When to examine an address next; None when nothing calls for it."""
        if standing.looking:
            return now + SUSPECT_SECONDS
        if standing.dead_since:
            if now - standing.asked_at > FORGET_SECONDS:
                standing.dead_since = 0.0
                return None
            return standing.look_at
        if not standing.under_way:
            return None
        return max(self._waiting_since(standing, now) + SUSPECT_SECONDS, standing.look_at)

    @staticmethod
    def _waiting_since(standing: Standing, now: float) -> float:
        """Since when the longest wait of all calls lasts; `now` when none waits."""
        return min((call.waiting_since or now for call in list(standing.under_way)), default=now)

    def _watch_now(self) -> None:
        with self._guard:
            if self._watching:
                return
            self._watching = True
            self._stopped.clear()
        threading.Thread(target=self._watch, name="liveness", daemon=True).start()

    def _watch(self) -> None:
        idle_since = self._monotonic()
        while True:
            pause = self.look()
            if pause is not None:
                idle_since = self._monotonic()
            stopped = self._stopped.wait(SUSPECT_SECONDS if pause is None else min(pause, SUSPECT_SECONDS))
            if stopped or self._monotonic() - idle_since > IDLE_SECONDS:
                with self._guard:
                    self._watching = False
                    again = not stopped and any(standing.under_way for standing in self._standings.values())
                    self._watching = again
                if not again:
                    return

    # ------------------------------------------------------------ examining

    def _examine(self, standing: Standing) -> None:
        standing.look_at = self._monotonic() + AGAIN_SECONDS
        try:
            if standing.dead_since:
                self._try_to_revive(standing)
            else:
                self._judge(standing)
        finally:
            standing.looking = False

    def _judge(self, standing: Standing) -> None:
        began_waiting = self._waiting_since(standing, self._monotonic())
        answer = Answer.SILENT
        probed_at = 0.0
        for seconds in PROBE_SECONDS:
            probed_at = self._monotonic()
            answer = self._probe(standing.address, seconds)
            if answer is not Answer.SILENT:
                break
        now = self._monotonic()
        # Whoever answers calls is alive, even when it takes no new connections.
        if answer is Answer.ALIVE or standing.heard_at >= probed_at:
            waited = now - began_waiting
            standing.look_at = now + min(max(waited / 4, AGAIN_SECONDS), LONGEST_AGAIN_SECONDS)
        elif answer is Answer.REFUSED:
            standing.look_at = now + AGAIN_SECONDS
            self._cut_all(standing, "refuses connections; it is probably not running")
        else:
            standing.dead_since = standing.asked_at = now
            standing.look_at = now + REVIVE_SECONDS
            self._cut_all(standing, "answers no TLS handshake: it hangs, or the way to it is cut")

    def _try_to_revive(self, standing: Standing) -> None:
        answer = self._probe(standing.address, PROBE_SECONDS[0])
        if answer is Answer.SILENT:
            standing.look_at = self._monotonic() + REVIVE_SECONDS
            return
        standing.dead_since = standing.look_at = 0.0
        log.info("%s:%d answers again (%s)", *standing.address, answer.value)

    def _cut_all(self, standing: Standing, reason: str) -> None:
        with self._guard:
            calls = list(standing.under_way)
            for call in calls:
                call.cut(reason)
        log.warning("%s:%d %s; %d calls to it were cut", *standing.address, reason, len(calls))
        self._on_dead(standing.address)


def handshake_probe(identity: Identity) -> Probe:
    """The probe of a real network: a fresh connection, a TLS handshake with our certificate, and good-bye."""

    def probe(address: Address, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        try:
            with socket.create_connection(address, seconds) as connection:
                connection.settimeout(max(0.05, deadline - time.monotonic()))
                with client_context(identity).wrap_socket(connection, server_hostname=address[0]):
                    return Answer.ALIVE
        except TimeoutError:
            return Answer.SILENT
        except ConnectionRefusedError:
            return Answer.REFUSED
        except OSError as error:
            # Anything else, such as a certificate that is not trusted, is an answer; what it means the call will say.
            return Answer.SILENT if error.errno in _CUT_OFF else Answer.ALIVE

    return probe


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="liveness-probe", daemon=True).start()
