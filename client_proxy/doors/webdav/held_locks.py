"""The cluster's locks as this door sees them: which lock covers an address, and whether a request may change it.

A lock of a folder names the folder and the files that it had. The cluster refuses everybody else's writes to those. It
has no lock on names that do not exist yet, so only this door refuses new ones in the folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.webdav.addresses import Address
from client_proxy.doors.webdav.conditions import State
from client_proxy.doors.webdav.lock_lookup import Place, is_of_folder, locks_on
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import Resource, Resources
from lockstep_store.wire.errors import Locked, PreconditionFailed
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.locks import LockInfo


class Leave(NamedTuple):
    """That a request may change a path: the lock that covers it, and its number if it is on that very path."""

    number: int | None
    lock: LockInfo | None


class HeldLocks:
    """Thread-safe."""

    def __init__(self, directory: Directory, resources: Resources) -> None:
        self._directory = directory
        self._resources = resources

    def on(self, access: str, places: Iterable[Place]) -> dict[Place, LockInfo]:
        """The locks on these paths."""
        return locks_on(self._directory, access, places)

    def covering(self, access: str, address: Address) -> LockInfo | None:
        """The lock that an address is under: its own, or that of a folder which it is in."""
        if not address.path:
            return None
        own = [address.folder] if address.as_folder else [address.path, address.folder]
        parts = address.path.split("/")[:-1]
        above = ["/".join(parts[: count + 1]) + "/" for count in reversed(range(len(parts)))]
        found = self.on(access, [(address.bucket, path) for path in (*own, *above)])
        for path in own:
            if (address.bucket, path) in found:
                return found[address.bucket, path]
        for path in above:
            lock = found.get((address.bucket, path))
            if lock is not None and is_of_folder(lock):
                return lock
        return None

    def demand(self, request: DavRequest, address: Address) -> Leave:
        """Ask leave to change `address`. PreconditionFailed if the header If does not hold, Locked without the token.

        The directory judges again, when it commits.
        """
        self.demand_conditions(request)
        lock = self.covering(request.access, address)
        if lock is None:
            return Leave(None, None)
        # Everybody who may use the bucket sees the tokens in it, and the directory knows no locks of new names.
        if lock.number not in request.conditions.numbers or lock.account != request.caller.account:
            raise locked(lock, address)
        covers = any(path.bucket == address.bucket and path.path == _own(address) for path in lock.paths)
        return Leave(lock.number if covers else None, lock)

    def demand_conditions(self, request: DavRequest) -> None:
        """Raise PreconditionFailed if the header If does not hold."""
        if not request.conditions.holds(request.address, lambda address: self._state(request.access, address)):
            raise PreconditionFailed(
                "the header If does not hold: the lock has ended, is another's, or somebody has changed the file since"
            )

    def _state(self, access: str, address: Address) -> State:
        lock = self.covering(access, address)
        found = self._resources.look(access, address)
        return State(
            frozenset({lock.number} if lock is not None else ()),
            tag_of(found.version) if found is not None and found.version is not None else "",
        )


def _own(address: Address) -> str:
    return address.folder if address.as_folder else address.path


def locked(lock: LockInfo, address: Address) -> Locked:
    """The refusal that names the holder."""
    return Locked(
        f"{address.bucket}/{address.path} is locked by {lock.account} ({lock.client or 'no client named'}) for another "
        f"{lock.seconds_left:.0f} s, lock number {lock.number}",
        holder=lock.account,
        client=lock.client,
        lock_number=lock.number,
        until_at=lock.until_at,
        seconds_left=lock.seconds_left,
    )


def tag_of(version: FileVersion) -> str:
    """The entity tag of a version, with its quotes; empty for somebody who may list the file only.

    It is the version, not the digest: that of encrypted content is known only to whoever reads it.
    """
    return f'"{version.version}"' if version.version else ""


def at(resource: Resource) -> Address:
    """The address of a resource, which says whether it is a folder."""
    return Address(resource.address.bucket, resource.address.path, resource.is_folder)
