"""Crash points: named places where a program can be made to die as in a power failure.

Only tests use them. This module reads the variable LOCKSTEP_CRASH_POINT once, when it is imported; without the
variable `crash_point` does nothing. With `name` or `name:N` the program sends itself SIGKILL when it passes that point
for the first or the N-th time: nothing is flushed, no handler runs. Every name is declared here and occurs in the code
exactly once; a test compares the two. tests/cluster/test_crash_points.py checks what must be true afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count

ENVIRONMENT = "LOCKSTEP_CRASH_POINT"

CRASH_POINTS = {
    # the directory server
    "directory.begin.linking": "known content is about to be linked; its transaction has not begun",
    "directory.begin.link-put": "inside the transaction that links known content, after its version row",
    "directory.begin.linked": "the link is committed; the reply is not sent",
    "directory.commit.asked": "a commit has arrived; its transaction has not begun",
    "directory.commit.put": "inside the commit's transaction, after the version row and before the holders",
    "directory.commit.holders": "inside the commit's transaction, after the holders",
    "directory.commit.done": "the commit is durable; the reply is not sent",
    "directory.delete.inside": "inside the transaction of a delete, after the change",
    "directory.delete.done": "a delete is durable; the reply is not sent",
    "directory.copy.inside": "inside the transaction of a copy or move, after the target's version row",
    "directory.copy.done": "a copy or move is durable; the reply is not sent",
    "directory.lock.inserted": "inside the transaction that grants a lock, after its number was used",
    "directory.lock.granted": "a lock is granted durably; the reply is not sent",
    "directory.lock.renewed": "inside the transaction that renews a lease",
    "directory.lock.deleted": "inside the transaction that ends a lock, before its paths are handed on",
    "directory.lock.released": "a lock is released durably; the reply is not sent",
    "directory.lock.broken": "a lock is broken durably; the reply is not sent",
    "directory.heartbeat.saving": "a file server's changed state is about to be saved",
    "directory.register.asked": "a file server's registration is about to be saved",
    "directory.register.done": "a file server's registration is durable; the reply is not sent",
    "directory.held.forgetting": "some holder rows of a server with an empty disk are deleted; it is not registered",
    "directory.held.noted": "inside the transaction that counts copies which a file server has made",
    "directory.held.done": "copies that a file server has made are counted durably; the reply is not sent",
    "directory.repair.ordered": "an order to copy a blob is queued and not sent",
    "directory.damage.noted": "damaged copies are marked durably; their repair is not planned",
    "directory.collect.dropped": "holder rows are deleted durably; the file server does not know yet that it may drop",
    "directory.migration.begun": "inside the transaction that makes or changes the tables",
    "directory.administrator.file-written": "the first administrator's credentials file exists; the account does not",
    "directory.administrator.made": "the first administrator's account exists; the bucket `files` does not",
    "directory.clock.saved": "inside a transaction, after directory time was written",
    "directory.store.committing": "a transaction is complete except for its COMMIT",
    "directory.store.committed": "a transaction is durable; its callers do not know yet",
    "directory.checkpoint.moved": "the log is copied into the main file; the page checksums are not updated yet",
    "directory.storage_keys.rotated": "a new storage key is in the key ring on disk; the reply is not sent",
    "directory.storage_keys.resealed": "some of the directory's secrets are encrypted again durably",
    "directory.authority.introduced": "another certificate authority is on disk; no program knows it",
    "directory.authority.promoted": "the new authority issues certificates; no program knows that",
    "directory.authority.retired": "the old authority's key is deleted; the directory still shows its certificate",
    "directory.authority.forgotten": "the directory trusts the new authority alone; no other program knows that",
    # a file server
    "file_server.chunk.staged": "a small chunk is in memory",
    "file_server.file.written": "a chunk's temporary file is written and not flushed",
    "file_server.file.synced": "a chunk's temporary file is flushed and not in place",
    "file_server.file.renaming": "all of a blob's files are flushed; the next one is about to be moved into place",
    "file_server.file.renamed": "a chunk's file is in place; its folder is not flushed",
    "file_server.folder.synced": "a folder with a new chunk file is flushed; the index does not have the chunk",
    "file_server.index.committing": "an index transaction is complete except for its COMMIT",
    "file_server.index.committed": "an index transaction is durable; its callers do not know yet",
    "file_server.replica.sending": "a small write is about to be given to a replica",
    "file_server.replica.streaming": "a large write's stream to a replica is open",
    "file_server.replica.offered": "a frame of a large write is being sent to the replicas and is not staged here",
    "file_server.replica.sealed": "small writes are durable on a replica, which has not replied",
    "file_server.replica.stream-sealed": "a streamed blob is durable on a replica, which has not replied",
    "file_server.settle.begun": "the blob is sealed at the master; the replicas have not replied",
    "file_server.settle.done": "all promised copies are durable; the commit is not requested",
    "file_server.commit.asking": "the commit is about to be requested",
    "file_server.commit.answered": "the directory has replied to a commit; the proxy has no reply",
    "file_server.answer.ready": "a master's reply to small writes is ready and not sent",
    "file_server.answer.stream-ready": "a master's reply to a streamed write is ready and not sent",
    "file_server.upload.kept": "the chunks of an upload that was cut off are kept without a blob",
    "file_server.copy.fetched": "all chunks of an ordered copy have arrived and are not sealed",
    "file_server.copy.sealed": "an ordered copy is sealed and not reported",
    "file_server.copy.reported": "ordered copies are reported",
    "file_server.blob.dropped": "a blob without references is forgotten; its chunks are not collected",
    "file_server.collect.forgotten": "collected chunks are removed from the index; their files still exist",
    "file_server.quarantine.marked": "a damaged chunk is marked; its bytes are not in quarantine yet",
    "file_server.quarantine.moved": "a damaged chunk is in quarantine and not reported",
    "file_server.probe.written": "the probe of a failed disk has written its file and not tried the index",
    "file_server.scrub.remembered": "the scrubber's position is saved",
    "file_server.orphan.removed": "a file without a row is removed",
    "file_server.reseal.placed": "a chunk's file under the new storage key is in place; its row names the old key",
    "file_server.reseal.recorded": "small chunks are under the new storage key durably",
    "file_server.upgrade.rows-moved": "some rows of an index of format 4 are sealed durably, others are plain",
    "file_server.upgrade.file-named": "a chunk file of format 4 has its stored name; others are named by digests",
    # a client proxy
    "proxy.begin.answered": "the directory has issued a ticket; nothing is sent",
    "proxy.body.sending": "a whole body is about to be sent to the master",
    "proxy.small.begun": "the directory has issued the tickets of gathered small writes; nothing is sent",
    "proxy.small.sending": "gathered small writes are about to be sent to their master",
    "proxy.window.sent": "a window of a large body is queued for sending",
    "proxy.write.answered": "the master has replied to a write; the client has no reply",
    "proxy.read.fetched": "chunks are fetched and checked and not served",
    "proxy.cache.written": "a cache entry is written and not in place",
    "proxy.cache.placed": "a cache entry is in place and not counted",
    "proxy.cache.evicting": "an entry is removed from the cache's index; its file still exists",
}
"""Every crash point, with what has and has not been done when the program passes it."""


def armed_by(setting: str) -> Callable[[str], None]:
    """Return the function that is called at each crash point. `setting` is `name`, `name:N` or empty.

    Raises ValueError for an undeclared name or an N below 1, because a test would wait for that crash for ever.
    """
    if not setting:
        return _pass
    name, _, number = setting.partition(":")
    if name not in CRASH_POINTS or (number and not (number.isdecimal() and int(number) > 0)):
        raise ValueError(f"{ENVIRONMENT}={setting!r} is invalid: set it to `name` or `name:N` of a known crash point")
    last = int(number or 1)
    passings = count(1)

    def passed(point: str) -> None:
        if point == name and next(passings) == last:
            os.kill(os.getpid(), signal.SIGKILL)
            while True:  # the signal takes a moment to reach every thread; this one must not continue
                signal.pause()

    return passed


def _pass(point: str) -> None:
    """Do nothing, because no crash point is armed."""


try:
    crash_point = armed_by(os.environ.get(ENVIRONMENT, ""))
except ValueError as error:
    sys.exit(str(error))
