"""Follows a rotation of the cluster's certificate authority in the background of a client's requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from lockstep_store.wire.authority_ids import ids_in
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.authorities import TrustNews

log = logging.getLogger("lockstep.client")


class TrustFollower:
    """Compares the authorities that replies name with those in the CA file. Thread-safe; a problem is logged once."""

    def __init__(self, ca_file: Path, ask: Callable[[], TrustNews]) -> None:
        self._ca_file = ca_file
        self._ask = ask
        self._guard = threading.RLock()  # fetching the authorities is a request, too
        self._seen = ""

    def note(self, named: str) -> None:
        """Follow what a reply names: ids, separated by spaces; empty when it names none."""
        if not named or named == self._seen:
            return
        with self._guard:
            if named == self._seen:
                return
            self._seen = named
            try:
                self._follow(named)
            except (LockstepError, OSError, ValueError) as error:
                log.warning("the cluster's certificate authority is being replaced: %s", error)

    def _follow(self, named: str) -> None:
        if set(ids_in(self._ca_file.read_text("ascii"))) == set(named.split()):
            return
        # Loaded only now: it takes longer than many a command.
        from lockstep_store.client.trust import has_other_authorities, learn

        if has_other_authorities(self._ca_file):
            return
        if learn(self._ca_file, self._ask()):
            log.info("%s has the cluster's new certificate authorities", self._ca_file)
