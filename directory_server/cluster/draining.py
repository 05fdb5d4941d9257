"""How file servers leave the cluster: drained first, so that nothing is lost, or given up at once.

What the states mean for writes and reads is the membership's; moving the copies is repair's.
"""

from __future__ import annotations

from directory_server.cluster.membership import Membership
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Conflict

PAGE = 1000


class Draining:
    """Thread-safe. `copies` are promised; `grace` as in repair: how long a silent server's copies still count."""

    def __init__(self, store: MetadataStore, membership: Membership, copies: int, grace: float) -> None:
        self._store = store
        self._membership = membership
        self._copies = copies
        self._grace = grace

    def drain(self, id: str, *, stop: bool = False) -> None:
        """Let `id` take no more writes and have everything moved off it; `stop` takes that back. Safe to repeat.

        NotFound for an unknown server; Conflict for a removed one, and when too few servers would be left to write to.
        """
        if not stop:
            staying = self._membership.staying(without=id)
            if len(staying) < self._copies:
                raise Conflict(
                    f"without file_server-{id} there are {len(staying)} file servers for {self._copies} copies of "
                    "every file: add a file server first, then drain this one",
                    staying=len(staying),
                    copies=self._copies,
                )
        self._membership.drain(id, draining=not stop)
        log.info("file_server-%s %s", id, "stays: it is drained no more" if stop else "is drained")

    def remove(self, id: str, *, force: bool = False) -> None:
        """Forget a server and everything it holds. Durable on return.

        Conflict, with how many blobs have too few copies elsewhere, unless there are none or `force` gives them up.
        """
        short = 0 if force else self.too_few_elsewhere(id)
        if short:
            raise Conflict(
                f"file_server-{id} has {short} blobs of which there are not {self._copies} copies elsewhere: drain it "
                "and wait until it is drained, or remove it with force, which gives up copies that exist nowhere else",
                blobs=short,
            )
        self._membership.remove(id)
        log.warning("file_server-%s was removed from the cluster%s", id, " by force" if force else "")

    def too_few_elsewhere(self, id: str) -> int:
        """How many blobs that `id` holds have fewer copies than promised on servers that stay. Walks over all of its
        blobs, in pages."""
        counted = frozenset(self._membership.living(self._membership.staying(without=id), self._grace))
        after, short = b"", 0
        while True:
            with self._store.read() as reader:
                page = servers.digests_held_by(reader, id, after, PAGE)
                for digest in page:
                    blob = servers.blob_and_holders(reader, digest)
                    if blob is not None and len(counted.intersection(blob.sound)) < self._copies:
                        short += 1
            if len(page) < PAGE:
                return short
            after = page[-1]
