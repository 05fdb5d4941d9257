"""Detects within about two seconds that another program of the cluster is gone, hung or cut off.

Long time-outs are needed, because a busy disk makes a healthy program slow; but a program that was stopped would then
block every caller for as long. So while calls to an address make no progress, a TLS handshake is tried in parallel. The
other side's runtime answers it, not the threads that wait for the disk: a busy program answers, a stopped or cut-off
one does not. Then its calls are cut, and new calls to the address fail at once until a handshake succeeds.

If handshakes work while calls hang, the calls' own time-outs end them. The caller decides what to do about a cut call;
sockets are `lockstep_store.runtime.peers.caller`'s.
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
"""A call that makes no progress for this long makes its address suspect."""
PROBE_SECONDS = (0.9, 0.6)
"""Time limits of the first and second handshake. One alone could fail for a lost packet or a busy processor."""
AGAIN_SECONDS = 0.5
LONGEST_AGAIN_SECONDS = 2.0
"""Bounds of the pause before a slow address is examined again: a quarter of the time its calls have waited."""
REVIVE_SECONDS = 0.5
"""Pause between two handshakes with an address that does not answer."""
FORGET_SECONDS = 10.0
"""A silent address that nobody calls for this long is no longer probed. The next call to it tries it again."""
IDLE_SECONDS = 5.0
"""How long the watching thread stays alive without calls to watch."""
MIN_PAUSE_SECONDS = 0.02
_CUT_OFF = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


class ProbeResult(Enum):
    """The result of a handshake."""

    ALIVE = "alive"
    SILENT = "silent"
    REFUSED = "refused"


Probe = Callable[[Address, float], ProbeResult]
"""Tries a handshake with an address for at most that many seconds."""


class Watched(Protocol):
    """A call under way. `waiting_since` is when its present socket operation began; 0 outside of one."""

    waiting_since: float

    def cut(self, reason: str) -> None:
        """Make the operation under way fail, now, from another thread."""
        ...


class PeerState:
    """The state of one address. The caller sets `answered_at` whenever bytes arrive from it."""

    __slots__ = ("address", "answered_at", "asked_at", "dead_since", "look_at", "looking", "under_way")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.answered_at = 0.0
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
        self._states: dict[Address, PeerState] = {}
        self._guard = threading.Lock()
        self._watching = False
        self._stopped = threading.Event()

    def state(self, address: Address) -> PeerState:
        """The state of an address."""
        found = self._states.get(address)
        return found if found is not None else self._states.setdefault(address, PeerState(address))

    def enter(self, state: PeerState, call: Watched) -> None:
        """Watch `call` from now until `leave`."""
        state.under_way[call] = None
        # Read without the lock: the watching thread looks for calls once more after it has announced its end.
        if not self._watching:
            self._watch_now()

    def leave(self, state: PeerState, call: Watched) -> None:
        """Stop watching `call`. It is not cut after this returns, so its socket may be closed. Safe to repeat."""
        with self._guard:
            state.under_way.pop(call, None)

    def why_dead(self, state: PeerState) -> str:
        """Why calls to an address fail at once; empty when they do not."""
        since = state.dead_since
        if not since:
            return ""
        now = state.asked_at = self._monotonic()
        if not self._watching:
            self._watch_now()
        return f"has not answered a handshake for {now - since + sum(PROBE_SECONDS):.1f} s; it will be tried again"

    def stop(self) -> None:
        """End the watching thread; a later call starts it again."""
        self._stopped.set()

    # ------------------------------------------------------------ watching

    def look(self) -> float | None:
        """Examine every address that is due. Returns the seconds until the next look; None without calls to watch."""
        now = self._monotonic()
        pause: float | None = None
        for state in list(self._states.values()):
            due = self._due_at(state, now)
            if due is None:
                continue
            if due <= now and not state.looking:
                state.looking = True
                self._start(partial(self._examine, state))
                due = now + SUSPECT_SECONDS
            left = max(due - now, MIN_PAUSE_SECONDS)
            pause = left if pause is None else min(pause, left)
        return pause

    def _due_at(self, state: PeerState, now: float) -> float | None:
        """When to examine an address next; None if it need not be."""
        if state.looking:
            return now + SUSPECT_SECONDS
        if state.dead_since:
            if now - state.asked_at > FORGET_SECONDS:
                state.dead_since = 0.0
                return None
            return state.look_at
        if not state.under_way:
            return None
        return max(self._waiting_since(state, now) + SUSPECT_SECONDS, state.look_at)

    @staticmethod
    def _waiting_since(state: PeerState, now: float) -> float:
        """When the longest wait among the calls began; `now` when none waits."""
        return min((call.waiting_since or now for call in list(state.under_way)), default=now)

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
                    again = not stopped and any(state.under_way for state in self._states.values())
                    self._watching = again
                if not again:
                    return

    # ------------------------------------------------------------ examining

    def _examine(self, state: PeerState) -> None:
        state.look_at = self._monotonic() + AGAIN_SECONDS
        try:
            if state.dead_since:
                self._try_to_revive(state)
            else:
                self._judge(state)
        finally:
            state.looking = False

    def _judge(self, state: PeerState) -> None:
        began_waiting = self._waiting_since(state, self._monotonic())
        answer = ProbeResult.SILENT
        probed_at = 0.0
        for seconds in PROBE_SECONDS:
            probed_at = self._monotonic()
            answer = self._probe(state.address, seconds)
            if answer is not ProbeResult.SILENT:
                break
        now = self._monotonic()
        # A program that answers calls is alive, even when it accepts no new connections.
        if answer is ProbeResult.ALIVE or state.answered_at >= probed_at:
            waited = now - began_waiting
            state.look_at = now + min(max(waited / 4, AGAIN_SECONDS), LONGEST_AGAIN_SECONDS)
        elif answer is ProbeResult.REFUSED:
            state.look_at = now + AGAIN_SECONDS
            self._cut_all(state, "refuses connections; it is probably not running")
        else:
            state.dead_since = state.asked_at = now
            state.look_at = now + REVIVE_SECONDS
            self._cut_all(state, "does not answer TLS handshakes: it hangs, or the network to it is cut")

    def _try_to_revive(self, state: PeerState) -> None:
        answer = self._probe(state.address, PROBE_SECONDS[0])
        if answer is ProbeResult.SILENT:
            state.look_at = self._monotonic() + REVIVE_SECONDS
            return
        state.dead_since = state.look_at = 0.0
        log.info("%s:%d answers again (%s)", *state.address, answer.value)

    def _cut_all(self, state: PeerState, reason: str) -> None:
        with self._guard:
            calls = list(state.under_way)
            for call in calls:
                call.cut(reason)
        log.warning("%s:%d %s; %d calls to it were cut", *state.address, reason, len(calls))
        self._on_dead(state.address)


def handshake_probe(identity: Identity) -> Probe:
    """Probes over the real network: a new connection and a TLS handshake with our certificate."""

    def probe(address: Address, seconds: float) -> ProbeResult:
        deadline = time.monotonic() + seconds
        try:
            with socket.create_connection(address, seconds) as connection:
                connection.settimeout(max(0.05, deadline - time.monotonic()))
                with client_context(identity).wrap_socket(connection, server_hostname=address[0]):
                    return ProbeResult.ALIVE
        except TimeoutError:
            return ProbeResult.SILENT
        except ConnectionRefusedError:
            return ProbeResult.REFUSED
        except OSError as error:
            # Any other error, such as an untrusted certificate, shows a live program. The call itself reports it.
            return ProbeResult.SILENT if error.errno in _CUT_OFF else ProbeResult.ALIVE

    return probe


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="liveness-probe", daemon=True).start()
