"""Read leases across starts: after a start, the first change waits until leases of the run before have ended.

A mark in the metadata shows that there may be such leases. It is durable before the first grant, and a stop removes it
if no lease outlives the run. A restore sets it, because the metadata that it restores may be older than the mark.
"""

from __future__ import annotations

from collections.abc import Callable

from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.read_leases.ledger import LeaseLedger
from lockstep_store.wire.messages.read_leases import TERM_SECONDS

MARK = "read_leases"
GRANTED, NONE = "granted", ""


def lasting_leases(store: MetadataStore, monotonic: Callable[[], float]) -> LeaseLedger:
    """Return the leases of this run of the directory, which guard every commit of `store` from now on."""
    with store.read() as reader:
        granted = people.read_setting(reader, MARK)
    held_until = monotonic() + TERM_SECONDS if granted else float("-inf")

    def remember() -> None:
        store.write(lambda tx: people.write_setting(tx, MARK, GRANTED))

    leases = LeaseLedger(monotonic, held_until=held_until, remember=remember)
    store.guard_each_commit(leases.commit_guard)
    return leases


def forget_leases(tx: Tx, leases: LeaseLedger) -> None:
    """At a stop: remove the mark if no lease outlives this run."""
    if not leases.is_held and people.read_setting(tx, MARK):
        people.write_setting(tx, MARK, NONE)
