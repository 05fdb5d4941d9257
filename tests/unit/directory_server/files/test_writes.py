"""Begin and commit: what makes a write true, and what refuses it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import update

from directory_server.files.writes import SAME_SERVERS_SECONDS
from directory_server.metadata import schema
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import servers
from directory_server.metadata.store import Tx
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadDigest,
    BadRequest,
    Forbidden,
    NotFound,
    NotLoggedIn,
    TicketRefused,
    TooFewHolders,
    Unavailable,
)
from lockstep_store.wire.messages.buckets import ChangeBucketRequest
from lockstep_store.wire.messages.servers import MAX_SMALL_STREAM_BYTES, CommitItem, RegisterRequest
from lockstep_store.wire.messages.writes import BeginItem, GiveUpRequest
from lockstep_store.wire.tickets import TicketSigner
from tests.fakes.directory_rig import (
    TICKET_SECONDS,
    DirectoryRig,
    PeopleByName,
    heartbeat,
    only_if_absent,
    replicas_of,
)


def test_a_write_is_what_a_lookup_then_finds(rig: DirectoryRig) -> None:
    """The committed version, with everything that was said at begin, is the path's current one at once."""
    begun = rig.begin("notes.txt", content_type="text/plain", metadata={"mood": "good"})
    made = rig.commit(begun, b"hello").version
    found = rig.lookup("notes.txt")
    assert (found.version, found.digest, found.size) == (made.version, chunk_digest(b"hello"), 5)
    assert (found.author, found.content_type, found.metadata) == ("ann", "text/plain", {"mood": "good"})
    assert made.created
    assert {holder.id for holder in found.holders} == {begun.master.id, *replicas_of(rig, begun)}  # type: ignore[union-attr]


@pytest.mark.parametrize("number", range(8))
def test_a_small_version_between_does_not_move_a_large_file(rig: DirectoryRig, number: int) -> None:
    """The servers of the older large version, which may share chunks with the next one, are the next one's, too."""
    large, path = MAX_SMALL_STREAM_BYTES + 1, f"drawing-{number}"
    before = rig.begin(path, size=large)
    assert before.master is not None
    first = {before.master.id, *replicas_of(rig, before)}
    rig.commit(before, bytes(large))
    rig.commit(rig.begin(path, size=3), b"new")
    again = rig.begin(path, size=large + 1)
    assert again.master is not None
    assert {again.master.id, *replicas_of(rig, again)} == first


def test_small_writes_of_a_moment_go_to_the_same_servers(rig: DirectoryRig) -> None:
    """So they share calls and flushes there. The next moments are other servers', in equal parts."""
    masters: Counter[str] = Counter()
    for _ in range(300):
        begun = [rig.begin(path, size=100) for path in ("a", "b", "c")]
        servers = {(each.master and each.master.id, *replicas_of(rig, each)) for each in begun}
        assert len(servers) == 1
        masters[str(servers.pop()[0])] += 1
        rig.time.advance(SAME_SERVERS_SECONDS)
        for id in ("1", "2", "3"):
            rig.server_up(id)
    assert sorted(masters) == ["1", "2", "3"]
    assert min(masters.values()) > 70


@pytest.mark.parametrize("kind", ["large", "of unknown size", "locked"])
def test_other_writes_go_to_the_servers_of_their_path(rig: DirectoryRig, kind: str) -> None:
    """Where chunks of large files are already, and where the numbers of a path's locks are remembered."""
    size = {"large": MAX_SMALL_STREAM_BYTES + 1, "of unknown size": None, "locked": 100}[kind]
    masters = set()
    for path in map(str, range(20)):
        lock = rig.lock(path).number if kind == "locked" else None
        begun = []
        for _ in range(5):
            begun.append(rig.begin(path, size=size, lock_number=lock).master)
            rig.time.advance(SAME_SERVERS_SECONDS)
            for id in ("1", "2", "3"):
                rig.server_up(id)
        first = begun[0]
        assert first is not None
        assert begun == [first] * 5
        masters.add(first.id)
    assert masters == {"1", "2", "3"}


def test_nothing_is_visible_before_the_commit(rig: DirectoryRig) -> None:
    """A begun write, alone, changes nothing."""
    rig.begin("notes.txt")
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")


def test_a_ticket_names_distinct_servers(rig: DirectoryRig) -> None:
    """The ticket's master and replicas are as many different servers as copies are promised."""
    begun = rig.begin("notes.txt")
    assert begun.master is not None
    assert len({begun.master.id, *replicas_of(rig, begun)}) == begun.copies == 2


def test_the_next_version_goes_where_the_last_one_is(rig: DirectoryRig) -> None:
    """The current version's holders are kept, because they have most of the chunks already."""
    rig.write("notes.txt", bytes(MAX_SMALL_STREAM_BYTES + 1))
    first = {holder.id for holder in rig.lookup("notes.txt").holders}
    begun = rig.begin("notes.txt")
    assert begun.master is not None
    assert {begun.master.id, *replicas_of(rig, begun)} == first


def test_a_repeated_commit_gives_the_same_version(rig: DirectoryRig) -> None:
    """An answer lost on the way is asked for again and makes no second version, even after the ticket's time."""
    begun = rig.begin("notes.txt")
    first = rig.commit(begun, b"hello")
    rig.time.advance(2 * TICKET_SECONDS)
    again = rig.commit(begun, b"hello")
    assert again.version.version == first.version.version
    assert len(rig.versions("notes.txt")) == 1


@pytest.mark.parametrize("versioning", ["enabled", "off", "suspended"])
def test_a_repeat_is_recognised_after_others_wrote(rig: DirectoryRig, versioning: str) -> None:
    """Also when a later write has replaced the version, a repeat hears of its own and disturbs nothing."""
    rig.bucket("mine", versioning=versioning)
    write_id = rig.write_id()
    begun = rig.begin("notes.txt", bucket="mine", write_id=write_id)
    first = rig.commit(begun, b"first").version
    rig.write("notes.txt", b"second", bucket="mine")
    assert rig.commit(begun, b"first").version.version == first.version
    again = rig.begin("notes.txt", bucket="mine", write_id=write_id)
    assert again.ticket is None
    assert again.version is not None
    assert again.version.version == first.version
    assert rig.lookup("notes.txt", bucket="mine").digest == chunk_digest(b"second")


def test_a_write_id_is_for_one_write(rig: DirectoryRig) -> None:
    """The id of a committed write cannot be used for another path, or to commit other content."""
    write_id = rig.write_id()
    begun = rig.begin("a.txt", write_id=write_id)
    rig.commit(begun, b"a")
    with pytest.raises(BadRequest, match="another write"):
        rig.begin("b.txt", write_id=write_id)
    with pytest.raises(TicketRefused, match="other content"):
        rig.commit(begun, b"b")


def test_known_content_is_linked_at_once(rig: DirectoryRig) -> None:
    """A begin that names content the cluster holds is committed without a byte."""
    rig.write("a.txt", b"same")
    begun = rig.begin("b.txt", digest=chunk_digest(b"same"), size=4)
    assert begun.ticket is None
    assert begun.version is not None
    assert begun.version.size == 4
    assert rig.lookup("b.txt").digest == rig.lookup("a.txt").digest
    assert rig.references(chunk_digest(b"same")) == 2


def test_content_held_by_too_few_living_servers_is_sent_again(rig: DirectoryRig) -> None:
    """A link never counts on servers that are gone: with one holder down, the writer gets a ticket."""
    rig.write("a.txt", b"same")
    dead = rig.lookup("a.txt").holders[0].id
    rig.time.advance(30)
    for id in {"1", "2", "3"} - {dead}:
        rig.server_up(id)
    begun = rig.begin("b.txt", digest=chunk_digest(b"same"))
    assert begun.ticket is not None
    assert dead not in {begun.master.id, *replicas_of(rig, begun)}  # type: ignore[union-attr]


def test_a_link_with_the_wrong_size_is_refused(rig: DirectoryRig) -> None:
    """A digest and a size that do not belong together are a mistake of the caller."""
    rig.write("a.txt", b"same")
    with pytest.raises(BadDigest):
        rig.begin("b.txt", digest=chunk_digest(b"same"), size=5)


@pytest.mark.parametrize(
    ("holders", "why"),
    [([], "none"), (["1"], "one"), (["1", "1"], "the same twice"), (["1", "99"], "one unknown")],
)
def test_too_few_copies_are_never_acknowledged(rig: DirectoryRig, holders: list[str], why: str) -> None:
    """A commit by fewer distinct servers of the cluster than promised is refused, and nothing is written."""
    begun = rig.begin("notes.txt")
    with pytest.raises(TooFewHolders):
        rig.commit(begun, b"hello", holders)
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")
    assert rig.references(chunk_digest(b"hello")) is None


def test_a_removed_server_is_no_copy(rig: DirectoryRig) -> None:
    """A server that was removed from the cluster between begin and commit does not count."""
    begun = rig.begin("notes.txt")
    rig.membership.remove(replicas_of(rig, begun)[0])
    with pytest.raises(TooFewHolders):
        rig.commit(begun, b"hello")


def test_without_enough_servers_begin_is_refused(tmp_path: Path) -> None:
    """One server for two copies: 503 before any byte is sent, saying how many are there and needed."""
    rig = DirectoryRig(tmp_path, servers=1)
    with pytest.raises(TooFewHolders) as refused:
        rig.begin("notes.txt")
    assert refused.value.facts["needed"] == 2
    rig.close()


def test_excluded_servers_are_not_chosen(rig: DirectoryRig) -> None:
    """What the proxy could not reach is not in the next ticket."""
    begun = rig.begin("notes.txt", exclude=["2"])
    assert begun.master is not None
    assert {begun.master.id, *replicas_of(rig, begun)} == {"1", "3"}


def test_an_expired_ticket_is_refused(rig: DirectoryRig) -> None:
    """Directory time, not the wall clock, ends a ticket."""
    begun, other = rig.begin("notes.txt"), rig.begin("other.txt")
    rig.time.step_wall(10 * TICKET_SECONDS)
    rig.time.advance(TICKET_SECONDS - 1)
    rig.commit(begun, b"in time")
    rig.time.advance(2)
    with pytest.raises(TicketRefused, match="expired"):
        rig.commit(other, b"late")


def test_a_ticket_under_a_lock_says_when_its_lease_ends(rig: DirectoryRig) -> None:
    """Holders can refuse a late stream without having heard of a newer lock; renewing gives later tickets more."""
    lock = rig.lock("notes.txt", seconds=30.0)

    def lease_until() -> float:
        begun = rig.begin("notes.txt", lock_number=lock.number)
        assert begun.ticket is not None
        return rig.signer.verify(begun.ticket, 0.0).lease_until

    first = lease_until()
    rig.time.advance(2.0)
    rig.locks.renew("ann", lock.id)
    assert lease_until() == pytest.approx(first + 2.0)
    unlocked = rig.begin("other.txt").ticket
    assert unlocked is not None
    assert rig.signer.verify(unlocked, 0.0).lease_until == 0.0


def _lose_disk(rig: DirectoryRig, id: str) -> None:
    """The server comes back with an empty disk as soon as it may."""
    rig.time.advance(3.5)
    url = f"https://server-{id}"
    rig.membership.register(id, RegisterRequest(url, "new-store", zone=f"zone-{id}"))
    rig.membership.heartbeat(id, heartbeat(url, "new-store", 1 << 40))
    for other in {"1", "2", "3"} - {id}:
        rig.server_up(other)


def test_a_holder_that_lost_its_disk_since_the_write_began_does_not_count(rig: DirectoryRig) -> None:
    """What it sealed went with its disk, so a commit that names it has too few copies."""
    begun = rig.begin("notes.txt")
    assert begun.master is not None
    _lose_disk(rig, begun.master.id)
    with pytest.raises(TooFewHolders):
        rig.commit(begun, b"content")
    rig.commit(rig.begin("notes.txt"), b"content")


def test_a_repeat_is_not_answered_while_copies_are_missing(rig: DirectoryRig) -> None:
    """The write is done, but nobody hears so with fewer copies than promised: repair makes them first."""
    begun = rig.begin("notes.txt", write_id="a-write-that-is-repeated")
    rig.commit(begun, b"content")
    assert begun.master is not None
    _lose_disk(rig, begun.master.id)
    with pytest.raises(TooFewHolders, match="lost since"):
        rig.commit(begun, b"content")
    with pytest.raises(TooFewHolders, match="lost since"):
        rig.begin("notes.txt", write_id="a-write-that-is-repeated")


def test_a_write_that_was_given_up_is_never_committed(rig: DirectoryRig) -> None:
    """Neither its ticket nor its id is good any more; giving up twice is once."""
    begun = rig.begin("notes.txt", write_id="a-write-that-is-given-up")
    request = GiveUpRequest("ann", "a-write-that-is-given-up", "files", "notes.txt")
    for _ in range(2):
        assert rig.writes.give_up(request).version is None
    with pytest.raises(TicketRefused, match="given up"):
        rig.commit(begun, b"late")
    with pytest.raises(TicketRefused, match="given up"):
        rig.begin("notes.txt", write_id="a-write-that-is-given-up")
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")


def test_a_write_that_is_done_cannot_be_given_up(rig: DirectoryRig) -> None:
    """Whoever asks hears of the version, and it stays."""
    begun = rig.begin("notes.txt", write_id="a-write-that-is-done-by-now")
    made = rig.commit(begun, b"content").version
    found = rig.writes.give_up(GiveUpRequest("ann", "a-write-that-is-done-by-now", "files", "notes.txt"))
    assert found.version is not None
    assert (found.version.version, found.copies) == (made.version, 2)
    assert rig.lookup("notes.txt").version == made.version


def test_altered_and_foreign_tickets_are_refused(rig: DirectoryRig) -> None:
    """A ticket that this directory did not sign, or that is for other servers, commits nothing."""
    begun = rig.begin("notes.txt")
    assert begun.ticket is not None
    ticket = rig.signer.verify(begun.ticket, 0.0)
    forged = TicketSigner(b"f" * 32).sign(ticket)
    digest = chunk_digest(b"x")
    for text, server in ((forged, "1"), (begun.ticket[:-4] + "AAAA", "1"), (begun.ticket, "9"), ("rubbish", "1")):
        item = CommitItem(text, digest, 1, ["1", "2"])
        with pytest.raises(TicketRefused):
            rig.commits.commit([item], server).results[0].unwrap()
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")


def test_what_was_announced_must_be_stored(rig: DirectoryRig) -> None:
    """A write begun with a digest or a size cannot be committed with another one."""
    with pytest.raises(BadDigest):
        rig.commit(rig.begin("a.txt", digest=chunk_digest(b"one")), b"two")
    with pytest.raises(BadDigest):
        rig.commit(rig.begin("b.txt", size=1), b"two")


def test_items_of_a_batch_stand_alone(rig: DirectoryRig) -> None:
    """In one call, one item is refused and the others are committed."""
    first, bad, last = (rig.begin(path) for path in ("a.txt", "b.txt", "c.txt"))
    assert first.ticket is not None
    assert bad.ticket is not None
    assert last.ticket is not None
    items = [
        CommitItem(first.ticket, chunk_digest(b"a"), 1, ["1", "2", "3"]),
        CommitItem(bad.ticket, chunk_digest(b"b"), 1, ["1"]),
        CommitItem(last.ticket, chunk_digest(b"c"), 1, ["1", "2", "3"]),
    ]
    reply = rig.commits.commit(items, "1")
    assert [outcome.problem.code if outcome.problem else "" for outcome in reply.results] == ["", "too_few_holders", ""]
    assert [file.path for file in rig.list().files] == ["a.txt", "c.txt"]


def test_a_write_counts_references(rig: DirectoryRig) -> None:
    """Each version that names a blob is one reference; replacing the null version gives it back."""
    rig.bucket("plain", versioning="off")
    rig.write("a", b"one", bucket="plain")
    rig.write("b", b"one")
    assert rig.references(chunk_digest(b"one")) == 2
    rig.write("a", b"two", bucket="plain")
    assert rig.references(chunk_digest(b"one")) == 1
    assert rig.references(chunk_digest(b"two")) == 1


def test_a_failing_store_refuses_the_whole_call(rig: DirectoryRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the commit itself fails, no item of the call is answered as done."""
    begun = rig.begin("notes.txt")

    def broken(tx: Tx) -> None:
        raise Unavailable("the disk is away")

    rig.store.last_in_each_transaction(broken)
    with pytest.raises(Unavailable, match="the disk is away"):
        rig.commit(begun, b"hello")
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")


def test_one_batch_of_begins_mixes_everything(rig: DirectoryRig) -> None:
    """Tickets, links and refusals come back in the order they were asked for."""
    rig.write("known", b"known")
    items = [
        BeginItem("ann", rig.write_id(), "files", "new"),
        BeginItem("", rig.write_id(), "files", "nobody"),
        BeginItem("ann", rig.write_id(), "files", "linked", digest=chunk_digest(b"known")),
        BeginItem("ann", rig.write_id(), "files", "known", preconditions=only_if_absent()),
    ]
    results = rig.writes.begin(items).results
    assert results[0].unwrap().ticket is not None
    assert results[1].problem is not None
    assert results[1].problem.code == "not_logged_in"
    assert results[2].unwrap().version is not None
    assert results[3].problem is not None
    assert results[3].problem.code == "precondition_failed"


def test_a_link_whose_copies_vanish_becomes_a_ticket(rig: DirectoryRig) -> None:
    """When the collector takes a copy away between the look and the link, the writer is asked for the bytes."""
    rig.write("known", b"known")
    digest = chunk_digest(b"known")
    holder = rig.lookup("known").holders[0].id
    forget = Statement(update(schema.setting).values(value="x"))

    def collect(tx: Tx) -> None:
        tx.run(forget)
        servers.drop_holder(tx, digest, holder)

    rig.store.first_in_each_transaction(collect)
    begun = rig.begin("linked", digest=digest)
    assert begun.ticket is not None
    assert begun.version is None


def test_a_right_that_is_withdrawn_stops_a_write_that_has_begun(rig: DirectoryRig) -> None:
    """At the commit, and where known content is linked."""
    rig.bucket("team", shared=True)
    ann = PeopleByName().authenticate("ann")
    rig.write("known", b"known", who="bob", bucket="team")
    begun = rig.begin("late", who="bob", bucket="team")
    unshare = ChangeBucketRequest("ann", "team", shared=False)
    rig.buckets.change(ann, unshare)
    with pytest.raises(Forbidden):
        rig.commit(begun, b"late")
    rig.buckets.change(ann, ChangeBucketRequest("ann", "team", shared=True))
    private = Statement(update(schema.bucket).where(schema.bucket.c.name == "team").values(shared=False))
    rig.store.first_in_each_transaction(lambda tx: tx.run(private))
    with pytest.raises(Forbidden):
        rig.begin("linked", who="bob", bucket="team", digest=chunk_digest(b"known"), size=5)
    assert [file.path for file in rig.list(bucket="team").files] == ["known"]


def test_giving_up_needs_a_log_in(rig: DirectoryRig) -> None:
    """Nobody stops a write without a credential."""
    begun = rig.begin("a.txt", write_id="write-given-up-1")
    with pytest.raises(NotLoggedIn):
        rig.writes.give_up(GiveUpRequest("", "write-given-up-1", "files", "a.txt"))
    assert rig.commit(begun, b"content").version.path == "a.txt"


def test_a_server_that_registered_during_a_write_is_looked_at_again(rig: DirectoryRig) -> None:
    """It may be back with an older disk, without the copy that counts now, and its first inventory may be over: until
    it has taken another one, nobody else's copy is dropped because of its."""
    before, during = rig.begin("a.txt"), rig.begin("b.txt")
    rig.commit(before, b"committed before")
    assert during.ticket is not None
    ticket = rig.signer.verify(during.ticket, 0.0)
    holders = [holder.id for holder in (ticket.master, *ticket.replicas)]
    assert [rig.membership.owed_inventory(id) for id in holders] == [0, 0]
    rig.time.advance(1.0)
    back = holders[1]
    rig.membership.register(back, RegisterRequest(f"https://server-{back}", f"store-{back}", zone=f"zone-{back}"))
    rig.server_up(back)
    assert rig.membership.statuses(0.0)[back].inventoried
    rig.commit(during, b"in flight meanwhile")
    assert rig.membership.owed_inventory(holders[0]) == 0
    owed = rig.membership.owed_inventory(back)
    assert owed
    rig.server_up(back)
    assert not rig.membership.statuses(0.0)[back].inventoried
    beat = heartbeat(f"https://server-{back}", f"store-{back}")
    beat.inventory_done = owed
    assert rig.membership.heartbeat(back, beat)
    assert rig.membership.owed_inventory(back) == 0
    assert rig.membership.statuses(0.0)[back].inventoried
    rig.commit(rig.begin("c.txt"), b"begun after it")
    assert [rig.membership.owed_inventory(id) for id in ("1", "2", "3")] == [0, 0, 0]
