"""Deletions of one call, each with its own outcome, in transactions short enough for other writers."""

from __future__ import annotations

from collections.abc import Callable

from directory_server.files.announcements import Announced, unannounced
from directory_server.files.batch import attempt, outcome
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.files import DeleteManyReply, DeleteReply, DeleteRequest
from lockstep_store.wire.names import check_key

AT_ONCE = 50

Delete = Callable[[Tx, Person, DeleteRequest], DeleteReply]


def delete_many(
    store: MetadataStore,
    identify: Callable[[str], Person],
    delete: Delete,
    items: list[DeleteRequest],
    announced: Announced = unannounced,
) -> DeleteManyReply:
    """Run `delete` for each item. Durable on return, safe to repeat with the same write ids."""

    def who(item: DeleteRequest) -> Person:
        check_key(item.path)
        return identify(item.credential)

    def alone(tx: Tx, person: Person | LockstepError, item: DeleteRequest) -> DeleteReply:
        if isinstance(person, LockstepError):
            raise person
        with tx.savepoint():
            return delete(tx, person, item)

    results: list[Outcome[DeleteReply]] = []
    for start in range(0, len(items), AT_ONCE):
        some = [(attempt(who, item), item) for item in items[start : start + AT_ONCE]]

        def work(
            tx: Tx, some: list[tuple[Person | LockstepError, DeleteRequest]] = some
        ) -> list[DeleteReply | LockstepError]:
            return [attempt(alone, tx, person, item) for person, item in some]

        with announced((item.bucket, item.path) for _, item in some):
            results += [outcome(result) for result in store.write(work)]
    return DeleteManyReply(results)
