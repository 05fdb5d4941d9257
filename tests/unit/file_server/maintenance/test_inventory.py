"""A file server's inventory: everything held is named, what is missing is looked for again, and nothing is dropped."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from file_server.store.local import index_reader
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.servers import InventoryOrder
from tests.fakes.blobs import put
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import DIRECTORY_URL, Cluster
from tests.fakes.older_storage import make_format_4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 2)
    cluster.server("1").inventory.step()  # what registering began
    cluster.directory.pages.clear()
    yield cluster
    cluster.stop()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    """Blobs in a page, for this test."""
    monkeypatch.setattr("file_server.maintenance.inventory.MAX_INVENTORY", 20)
    return 20


def walk(cluster: Cluster, id: str = "1") -> list[Digest]:
    """Steps until the walk is over; everything that was named."""
    server = cluster.server(id)
    for _ in range(100):
        if server.inventory.step() == 60.0:
            break
    return [digest for page in cluster.directory.pages for digest in page.digests]


def order(cluster: Cluster, id: int = 7, **fields: int | bool) -> None:
    cluster.directory.inventory = InventoryOrder(id, **fields)  # type: ignore[arg-type]
    cluster.server("1").link.step()


def pass_round(cluster: Cluster) -> None:
    assert isinstance(cluster.clock, ManualClock)
    cluster.clock.advance(24 * 3600.0)


def test_everything_is_named_once_in_digest_order_and_in_pages(cluster: Cluster, small_pages: int) -> None:
    """A walk names every blob exactly once, rising, in pages that leave no gap between them."""
    digests = sorted(put(cluster.server("1").store, b"%d" % number) for number in range(small_pages + 5))
    order(cluster)
    assert walk(cluster) == digests
    pages = cluster.directory.pages
    assert [page.id for page in pages] == [7, 7]
    assert [(page.after, page.through) for page in pages] == [
        (None, digests[small_pages - 1]),
        (digests[small_pages - 1], None),
    ]


def test_a_daily_round_comes_by_itself_and_not_sooner(cluster: Cluster) -> None:
    """After a round the next begins a day later, without an order."""
    put(cluster.server("1").store, b"held")
    walk(cluster)
    assert not cluster.directory.pages
    pass_round(cluster)
    assert len(walk(cluster)) == 1
    assert [page.id for page in cluster.directory.pages] == [0]


def test_a_walk_that_a_restart_cut_off_begins_with_the_first_blob(cluster: Cluster, small_pages: int) -> None:
    """Everything is named after a start, also what was compared before: the disk may be an older one since."""
    digests = sorted(put(cluster.server("1").store, b"%d" % number) for number in range(small_pages + 5))
    pass_round(cluster)
    cluster.server("1").inventory.step()
    cluster.server("1").stop()
    cluster.directory.pages.clear()
    cluster.start("1")
    assert walk(cluster) == digests
    assert [page.after for page in cluster.directory.pages] == [None, digests[small_pages - 1]]


def test_a_heartbeat_says_whether_everything_was_compared(cluster: Cluster, small_pages: int) -> None:
    """Not before the last page, and not after the server has registered again until a whole walk that began then."""
    for number in range(small_pages + 5):
        put(cluster.server("1").store, b"%d" % number)
    cluster.server("1").stop()
    server = cluster.start("1")

    def told() -> bool:
        server.link.step()
        return bool(cluster.directory.beats[-1].inventoried)

    assert not told()
    server.inventory.step()
    assert not told()
    cluster.directory.known.clear()
    server.link.step()  # in the middle of the walk
    server.inventory.step()
    assert not told(), "the first page of the new walk was taken for the last of the old one"
    server.inventory.step()
    assert told()


def test_what_is_missing_is_reported_with_the_orders_id(cluster: Cluster) -> None:
    """A copy that the metadata counts and that is not here is reported as damaged, so that it is made again."""
    held = put(cluster.server("1").store, b"held")
    gone = Digest(bytes(31) + b"\x01")
    cluster.directory.counted = {held, gone}
    order(cluster)
    walk(cluster)
    assert cluster.directory.damaged == [("1", gone)]
    assert cluster.directory.held == []


def test_a_blob_that_arrives_while_a_page_is_compared_is_not_reported(cluster: Cluster) -> None:
    """What was sealed after the page was read is looked for again, found, and never called missing."""
    store = cluster.server("1").store
    new = put(cluster.server("2").store, b"new")  # its digest
    cluster.directory.counted = {new}
    cluster.directory.during_inventory = lambda: put(store, b"new") and None
    order(cluster)
    walk(cluster)
    assert cluster.directory.damaged == []


def test_a_blob_that_returns_during_the_report_is_counted_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that brings a missing blob back just when it is reported leaves a copy that counts."""
    store = cluster.server("1").store
    back = put(cluster.server("2").store, b"back")
    cluster.directory.counted = {back}
    ask = cluster.server("1").inventory._directory.ask

    def ask_while_a_write_comes(call: object, request: object, timeout: float | None = None) -> object:
        if getattr(call, "path", "") == "/v1/damaged":
            put(store, b"back")
        return ask(call, request, timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster.server("1").inventory._directory, "ask", ask_while_a_write_comes)
    order(cluster)
    walk(cluster)
    assert cluster.directory.damaged == [("1", back)]
    assert cluster.directory.held == [back]


def test_a_damaged_blob_is_not_named_as_held(cluster: Cluster, tmp_path: Path) -> None:
    """A blob with a chunk that failed its check is left out, and reported when the metadata counts it."""
    store = cluster.server("1").store
    good, bad = put(store, b"good"), put(store, b"bad")
    with closing(sqlite3.connect(tmp_path / "data-1" / "index.db", isolation_level=None)) as db:
        db.execute("UPDATE chunk SET place = 2 WHERE name = ?", (bytes.fromhex(store.stored_name(bad)),))
    cluster.directory.counted = {good, bad}
    order(cluster)
    assert walk(cluster) == [good]
    assert cluster.directory.damaged == [("1", bad)]


def test_a_directory_that_is_away_is_asked_again_from_the_same_place(cluster: Cluster) -> None:
    """A page whose answer was lost is sent again, and the walk still ends."""
    held = put(cluster.server("1").store, b"held")
    order(cluster)
    cluster.network.dead.add(DIRECTORY_URL)
    assert cluster.server("1").inventory.step() < 60
    cluster.network.dead.clear()
    cluster.network.lost_answers = 1
    assert cluster.server("1").inventory.step() < 60
    assert walk(cluster) == [held, held]
    assert cluster.server("1").inventory.done == 7


def test_an_order_is_carried_out_once_and_told_with_the_heartbeat(cluster: Cluster) -> None:
    """The same order in every heartbeat is one walk; its id goes back with the next one."""
    order(cluster)
    walk(cluster)
    cluster.server("1").link.step()
    assert cluster.directory.beats[-1].inventory_done == 7
    pages = len(cluster.directory.pages)
    cluster.server("1").link.step()
    walk(cluster)
    assert len(cluster.directory.pages) == pages
    order(cluster, 8)
    walk(cluster)
    assert cluster.server("1").inventory.done == 8


def test_commits_leave_notes_that_a_restored_directory_is_sent(cluster: Cluster) -> None:
    """Notes of what was committed behind the backup's cursor are sent, those from before it and after it are not."""
    written = [cluster.write(b"%d" % number, cluster.ticket(path=f"{number}.txt")) for number in range(1, 5)]
    cluster.directory.counted = set()
    order(cluster, notes_after=1, notes_through=3)
    walk(cluster)
    assert [(note.write_id, note.version.path) for note in cluster.directory.notes] == [
        ("write-000000000002", "2.txt"),
        ("write-000000000003", "3.txt"),
    ]
    assert {blob.digest for blob in cluster.directory.found_blobs} == {reply.digest for reply in written}
    assert cluster.server("2").store.notes(0, 100, 10) == [], "only the master keeps notes"


def test_long_notes_are_sent_a_few_at_a_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends by its bytes too; what it leaves out comes with the next, and none is lost."""
    monkeypatch.setattr(index_reader, "NOTES_BYTES", 1)
    for number in range(1, 4):
        cluster.write(b"%d" % number, cluster.ticket(path=f"{number}.txt"))
    server = cluster.server("1")
    server.store.keep_notes()
    assert [note.version.path for note in server.store.notes(0, 100, 10)] == ["1.txt"]
    cluster.directory.counted = set()
    order(cluster, notes_after=0, notes_through=100)
    walk(cluster)
    assert [note.version.path for note in cluster.directory.notes] == ["1.txt", "2.txt", "3.txt"]


def test_a_server_that_stops_in_good_order_keeps_its_last_notes(cluster: Cluster) -> None:
    """The note of a write in the last second, too: an upgrade stops every server, and its way back needs the notes."""
    written = cluster.write(b"the last one", cluster.ticket())
    cluster.server("1").stop()
    (note,) = cluster.start("1").store.notes(0, 100, 10)
    assert note.version.digest == written.digest


def test_notes_go_with_their_blob_and_survive_a_restart(cluster: Cluster) -> None:
    """A note is durable without any other write, and dropped with the blob that it is about."""
    written = cluster.write(b"noted", cluster.ticket())
    server = cluster.server("1")
    server.store.keep_notes()
    server.stop()
    server = cluster.start("1")
    (note,) = server.store.notes(0, 100, 10)
    assert note.version.digest == written.digest
    generation = server.store.generation(written.digest)
    assert generation is not None
    assert server.store.drop_blob(written.digest, generation)
    assert server.store.notes(0, 100, 10) == []


def test_a_deep_order_reads_every_byte_first(cluster: Cluster, tmp_path: Path) -> None:
    """With `deep`, damage that nobody has read yet is found and reported before the blobs are named."""
    store = cluster.server("1").store
    bad = put(store, b"flipped")
    with closing(sqlite3.connect(tmp_path / "data-1" / "index.db", isolation_level=None)) as db:
        db.execute("UPDATE inline SET sealed = zeroblob(length(sealed))")
    order(cluster, deep=True)
    assert walk(cluster) == []
    cluster.server("1").link.step()
    assert ("1", bad) in cluster.directory.damaged


def test_storage_of_the_first_format_is_brought_up_to_date(cluster: Cluster, tmp_path: Path) -> None:
    """A folder without commit notes opens, keeps its blobs, and gets the new format's name."""
    digest = put(cluster.server("1").store, b"old")
    cluster.server("1").stop()
    data = tmp_path / "data-1"
    make_format_4(data, tmp_path / "keys.json")
    with closing(sqlite3.connect(data / "index.db", isolation_level=None)) as db:
        db.execute("DROP TABLE note")
    (data / "format").write_text("lockstep file server storage 1\n")
    server = cluster.start("1")
    assert server.store.generation(digest) is not None
    assert server.store.notes(0, 100, 10) == []
    assert (data / "format").read_text() == "lockstep file server storage 5\n"
