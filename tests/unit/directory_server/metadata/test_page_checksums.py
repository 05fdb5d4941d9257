"""Damage to the directory's metadata: every flipped bit, cut and swap is found, and nothing is made of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata.engines.sqlite import page_checksums
from directory_server.metadata.engines.sqlite.page_checksums import MARK_SUFFIX, PAGES_SUFFIX, forget_checks
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import people
from directory_server.metadata.store import Tx
from lockstep_store.wire.errors import Damaged

NAME = "metadata.db"
ROWS = 400
EVERYDAY, SOAK = 60, 1000


def put(store: SqliteStore, number: int, text: str) -> None:
    store.write(lambda tx: people.write_setting(tx, f"name-{number}", text))


def settings_in(store: SqliteStore) -> dict[int, str | None]:
    with store.read() as reader:
        return {number: people.read_setting(reader, f"name-{number}") for number in range(ROWS)}


def fill(store: SqliteStore, random: random.Random, rows: range) -> None:
    def work(tx: Tx) -> None:
        for number in rows:
            people.write_setting(tx, f"name-{number}", random.randbytes(100).hex())

    store.write(work)


@pytest.fixture(params=["stopped", "killed", "killed between checkpoints"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, seed: int, monkeypatch: Any) -> Path:
    """A store's folder as a stopped process leaves it, or a killed one with everything, or a part, in its log."""
    source = random.Random(seed)
    if request.param == "killed between checkpoints":
        monkeypatch.setattr("directory_server.metadata.engines.sqlite.store.CHECKPOINT_FRAMES", 20)
    store = SqliteStore(tmp_path / "live" / NAME)
    fill(store, source, range(ROWS // 2))
    for number in range(ROWS // 2, ROWS, 8):
        fill(store, source, range(number, number + 8))
    if request.param == "stopped":
        store.close()
    left = tmp_path / "left"
    left.mkdir()
    for file in (tmp_path / "live").iterdir():
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, left)
    store.close()
    return left


def flip(data: bytearray, source: random.Random) -> str:
    at = source.randrange(len(data))
    data[at] ^= 1 << source.randrange(8)
    return f"bit flipped in byte {at}"


def cut(data: bytearray, source: random.Random) -> str:
    length = source.randrange(len(data))
    del data[length:]
    return f"cut to {length}"


def swap(data: bytearray, source: random.Random) -> str:
    pages = len(data) // 4096
    one, other = source.randrange(pages), source.randrange(pages)
    a, b = slice(one * 4096, one * 4096 + 4096), slice(other * 4096, other * 4096 + 4096)
    data[a], data[b] = data[b], data[a]
    return f"pages {one} and {other} swapped"


def harm(file: Path, source: random.Random) -> str:
    data = bytearray(file.read_bytes())
    kinds: list[Callable[[bytearray, random.Random], str]] = [flip, flip, cut]
    if len(data) >= 8192:
        kinds.append(swap)
    what = source.choice(kinds)(data, source)
    file.write_bytes(data)
    return f"{file.name}: {what}"


def look(folder: Path, truth: dict[int, str | None]) -> bool:
    """Open the store and read everything: True when it refuses, else what it says must be true."""
    try:
        store = SqliteStore(folder / NAME)
    except Damaged:
        return True
    try:
        assert settings_in(store) == truth
        assert store.defects() == []
    finally:
        store.close()
    return False


def run(folder: Path, seed: int, rounds: int) -> None:
    source = random.Random(seed)
    shutil.copytree(folder, folder.parent / "whole")
    whole = SqliteStore(folder.parent / "whole" / NAME)
    truth = settings_in(whole)
    whole.close()
    assert None not in truth.values()
    refused = 0
    for number in range(rounds):
        copy = folder.parent / f"harmed-{number}"
        shutil.copytree(folder, copy)
        chosen = source.choice([file for file in sorted(copy.iterdir()) if file.stat().st_size])
        what = harm(chosen, source)
        try:
            refused += look(copy, truth)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {what}: {error}") from error
        shutil.rmtree(copy)
    print(f"{rounds} damages: {refused} refused by name, {rounds - refused} harmless, 0 believed")
    with (folder / NAME).open("r+b") as file:
        file.truncate((folder / NAME).stat().st_size - 1)
    assert look(folder, truth), "one that is never harmless, whatever chance has chosen before"


def test_damage_is_refused_or_harmless(folder: Path, seed: int) -> None:
    """After a flipped bit, a cut or swapped pages anywhere beside the metadata, it is refused or read as written."""
    run(folder, seed, EVERYDAY // 3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_damages_are_refused_or_harmless(folder: Path, seed: int) -> None:
    """The same a thousand times."""
    run(folder, seed, SOAK)


def test_damage_while_it_runs_is_found_by_the_walk(tmp_path: Path, seed: int) -> None:
    """The paced walk finds it; from then on every call is refused, and the health says why."""
    store = SqliteStore(tmp_path / NAME)
    fill(store, random.Random(seed), range(ROWS))
    store.close()
    store = SqliteStore(tmp_path / NAME)
    try:
        assert store.check_some() > 0
        assert store.problem == ""
        with (tmp_path / NAME).open("r+b") as file:
            file.seek(3 * 4096 + 77)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 4]))
        store.check_some()
        assert "page 4" in store.problem
        with pytest.raises(Damaged, match="restore a backup"):
            settings_in(store)
        with pytest.raises(Damaged):
            put(store, 0, "changed")
    finally:
        store.close()


def test_checkpoints_carry_the_checksums_on(tmp_path: Path, seed: int, monkeypatch: Any) -> None:
    """Over many checkpoints, readers that hold some of them up, and restarts, no page is ever taken for damaged."""
    monkeypatch.setattr("directory_server.metadata.engines.sqlite.store.CHECKPOINT_FRAMES", 30)
    monkeypatch.setattr(page_checksums, "STEP_PAGES", 5)
    source = random.Random(seed)
    for _ in range(2):
        store = SqliteStore(tmp_path / NAME)
        for _ in range(15):
            with store.read() as reader:
                people.read_setting(reader, "name-1")
                for _ in range(source.randrange(6)):
                    fill(store, source, range(source.randrange(ROWS), ROWS))
            fill(store, source, range(source.randrange(ROWS), ROWS))
            store.check_some()
            assert store.problem == ""
        store.close()


def test_checksums_that_are_lost_are_made_again(tmp_path: Path, seed: int) -> None:
    """Without them, or with damaged ones, the structure is checked and they are made anew."""
    store = SqliteStore(tmp_path / NAME)
    fill(store, random.Random(seed), range(ROWS))
    truth = settings_in(store)
    store.close()
    for harmed in (PAGES_SUFFIX, MARK_SUFFIX, None):
        if harmed is None:
            forget_checks(tmp_path / NAME)
        else:
            (tmp_path / (NAME + harmed)).write_bytes(b"something else")
        assert look(tmp_path, truth) is False
        assert (tmp_path / (NAME + PAGES_SUFFIX)).exists()
