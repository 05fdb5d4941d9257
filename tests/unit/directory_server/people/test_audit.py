"""The journal of security events: bounded, and no account can displace what others did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.people import audit
from directory_server.people.audit import AuditJournal
from lockstep_store.wire.messages.users import AuditEvent, AuditRequest
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

BOUND = 60


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditJournal]:
    """Trimmed at each turn."""
    monkeypatch.setattr(audit, "MAX_EVENTS", BOUND)
    monkeypatch.setattr(audit, "TRIM_EVERY", 0)
    store = open_metadata(tmp_path / "metadata.db")
    yield AuditJournal(store, DirectoryClock(ManualClock()))
    store.close()


def events(journal: AuditJournal) -> list[AuditEvent]:
    return journal.read(AuditRequest(credential="")).events


def trim(journal: AuditJournal) -> None:
    journal._store.write(journal.trim)


def test_what_fits_stays(journal: AuditJournal) -> None:
    """Nothing is dropped below the bound, whoever did it."""
    for number in range(BOUND):
        journal.note("key made", f"account-{number % 3}", subject=str(number))
    trim(journal)
    assert [event.subject for event in events(journal)] == [str(number) for number in range(BOUND)]


def test_an_account_displaces_only_its_own_events(journal: AuditJournal) -> None:
    """Somebody who makes and revokes keys without end cannot make the journal forget what they did before others."""
    for number in range(10):
        journal.note("access changed", "ann", subject=f"ann {number}")
    journal.note("log-in refused", "", subject="admin", address="192.0.2.7")
    for number in range(500):
        journal.note("key made", "mallory", subject=f"key {number}")
    for number in range(5):
        journal.note("program removed", "admin", subject=f"program {number}")
    trim(journal)
    kept = events(journal)
    assert len(kept) == BOUND
    assert [event.subject for event in kept if event.account == "ann"] == [f"ann {number}" for number in range(10)]
    assert [event.subject for event in kept if event.account == "admin"] == [f"program {number}" for number in range(5)]
    assert [event.account for event in kept].count("") == 1
    assert [event.subject for event in kept if event.account == "mallory"][-1] == "key 499", "the newest of its own"


def test_many_accounts_share_the_bound(journal: AuditJournal) -> None:
    """Each keeps as many as the others of those that cannot keep all; more accounts than the bound keep one or none."""
    for number in range(3 * BOUND):
        journal.note("key made", f"account-{number % 3}")
    trim(journal)
    assert {account: [event.account for event in events(journal)].count(account) for account in ("account-0",)} == {
        "account-0": BOUND // 3
    }
    for number in range(2 * BOUND):
        journal.note("account made", f"stranger-{number}")
    trim(journal)
    assert len(events(journal)) <= BOUND


def test_trimming_waits_for_many_new_events(journal: AuditJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the whole journal."""
    trim(journal)
    monkeypatch.setattr(audit, "TRIM_EVERY", 1000)
    for number in range(2 * BOUND):
        journal.note("key made", "ann", subject=str(number))
    trim(journal)
    assert len(events(journal)) == 2 * BOUND
