"""Measures each cell at each peer in turns, A B C and then C B A, so that other load affects all of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measurements import make_file
from benchmarks.peers import accounting
from benchmarks.peers.accounting import Usage
from benchmarks.peers.cells import MIB, PAGE, PAGED_KEYS, SMALL, Cell, hot_keys
from benchmarks.peers.generator import Generator, Load, LoadFailed
from benchmarks.peers.job import Job
from benchmarks.peers.lockstep import Lockstep
from benchmarks.peers.peer import REGION, Endpoint, Peer

BUCKET = "peers"
PART_BYTES = 64 * MIB
FILL_CLIENTS = 32
FILL_SECONDS = 600.0


@dataclass(frozen=True)
class Sample:
    """One peer's turn in one cell."""

    load: Load
    servers: Usage
    others_seconds: float
    """Processor time of other programs than this peer and the generator."""


@dataclass
class Row:
    """A cell at one peer: its turns, or the reason why there are none."""

    cell: Cell
    peer: str
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""
    resident_bytes: int = 0
    proportional_bytes: int = 0


class Contestant:
    """A running peer, and the keys that earlier cells have created there."""

    def __init__(self, peer: Peer, endpoint: Endpoint, generator: Generator) -> None:
        self.peer = peer
        self.endpoint = endpoint
        self._generator = generator
        self._made: set[str] = set()
        self.job = Job(
            operation="",
            endpoints=endpoint.urls[:1],
            ca_file=str(endpoint.ca_file),
            access_key=endpoint.access_key,
            secret_key=endpoint.secret_key,
            region=REGION,
            api_key=endpoint.api_key,
            bucket=BUCKET,
            seed=secrets.token_hex(16),
        )
        self._generator.run(self.job.but(operation="make_bucket", limit=1))

    def fill(self, prefix: str, size: int, keys: int) -> None:
        """Create `keys` keys below a prefix, unless an earlier cell has."""
        if prefix not in self._made:
            job = self.job.but(operation="put", prefix=prefix, size=size, seconds=FILL_SECONDS)
            self._generator.run(job.but(clients=min(FILL_CLIENTS, keys), limit=keys))
            self._made.add(prefix)

    def has(self, cell: Cell) -> bool:
        return len(self.endpoint.urls) >= cell.doors and (not cell.lockstep_only or bool(self.endpoint.api_key))


class Runner:
    """Runs cells over contestants."""

    def __init__(self, generator: Generator, folder: Path, seconds: float, turns: int) -> None:
        self._generator, self._folder = generator, folder
        self._seconds, self._turns = seconds, turns
        self._special: dict[str, Callable[[Cell, Contestant, Row], Sample]] = {"edit": self._edit, "idle": self._idle}

    def run(self, cell: Cell, contestants: Sequence[Contestant]) -> list[Row]:
        """Measure a cell at every contestant that has it. A failure ends the cell for that peer only."""
        able = [one for one in contestants if one.has(cell)]
        rows = {one.peer.name: Row(cell, one.peer.name) for one in able}
        for turn in range(self._turns):
            for one in able if turn % 2 == 0 else reversed(able):
                row = rows[one.peer.name]
                if not row.failure:
                    self._take_turn(cell, one, row)
        return list(rows.values())

    def _take_turn(self, cell: Cell, one: Contestant, row: Row) -> None:
        try:
            special = self._special.get(cell.operation)
            sample = special(cell, one, row) if special else self._drive(self._job(cell, one, len(row.samples)), one)
            row.samples.append(sample)
        except (LoadFailed, RuntimeError, OSError) as error:
            row.failure = str(error) or type(error).__name__

    def _job(self, cell: Cell, one: Contestant, turn: int) -> Job:
        """The generator's job for one turn, with the keys that it needs in place and, for reads, warm."""
        job = one.job.but(operation=cell.operation, size=cell.size, clients=cell.clients, seconds=self._seconds)
        job = job.but(endpoints=one.endpoint.urls[: cell.doors], prefix=f"{cell.operation}-{cell.size}/")
        if cell.operation == "put":
            return job.but(prefix=f"put-{cell.size}-x{cell.clients}-{turn}/")
        if cell.operation == "delete":
            job = job.but(prefix=f"delete-{turn}/")
            made = self._generator.run(job.but(operation="put", clients=FILL_CLIENTS)).operations
            return job.but(limit=made)
        if cell.operation in ("get", "head", "list"):
            job = job.but(prefix=f"hot-{cell.size}/", keys=hot_keys(cell.size))
            one.fill(job.prefix, cell.size, PAGED_KEYS if cell.size == SMALL else job.keys)
            if cell.operation == "list":
                return job.but(keys=PAGE)
            for door in job.endpoints if cell.operation == "get" else []:
                self._generator.run(job.but(endpoints=[door], limit=job.keys, seconds=FILL_SECONDS))
        return job

    def _drive(self, job: Job, one: Contestant) -> Sample:
        with self._generator.connect(job) as load, _accounted(one.peer) as account:
            done = load.go()
            account.generator_seconds = done.processor_seconds
        return Sample(done, account.servers, account.others_seconds)

    def _edit(self, cell: Cell, one: Contestant, row: Row) -> Sample:
        """Save a large file with one changed byte, as the peer's clients do it."""
        if not isinstance(one.peer, Lockstep):
            job = one.job.but(operation="upload", prefix="edited-", size=cell.size, part_size=PART_BYTES)
            return self._drive(job.but(clients=cell.clients), one)
        file = self._folder / "edited"
        if not file.exists():
            make_file(file, cell.size, 1)
        if not row.samples:
            one.peer.save(file, "edited")
        _change_a_byte(file, cell.size * (len(row.samples) + 1) // (self._turns + 1))
        with _accounted(one.peer) as account:
            started = time.perf_counter()
            account.generator_seconds = one.peer.save(file, "edited")
            taken = time.perf_counter() - started
        load = Load(1, 1 / taken, taken, account.generator_seconds, [int(1e6 * taken)])
        return Sample(load, account.servers, account.others_seconds)

    def _idle(self, cell: Cell, one: Contestant, row: Row) -> Sample:
        """The costs of an idle peer. `operations` are seconds, so costs are per second."""
        with _accounted(one.peer) as account:
            time.sleep(2 * self._seconds)
        row.resident_bytes, row.proportional_bytes = accounting.resident_bytes(one.peer.processes())
        load = Load(1, 0.0, 2 * self._seconds, 0.0, [])
        return Sample(load, account.servers, account.others_seconds)


class _Account:
    servers: Usage
    generator_seconds = 0.0
    others_seconds = 0.0


@contextmanager
def _accounted(peer: Peer) -> Iterator[_Account]:
    """Measure the peer's costs of the block, and the use by other programs meanwhile."""
    account = _Account()
    machine, before = accounting.machine_seconds(), accounting.usage(peer.processes())
    yield account
    account.servers = accounting.usage(peer.processes()).since(before)
    used = accounting.machine_seconds() - machine
    account.others_seconds = max(0.0, used - account.servers.total_seconds - account.generator_seconds)


def _change_a_byte(file: Path, place: int) -> None:
    with file.open("r+b") as content:
        content.seek(place)
        byte = content.read(1)
        content.seek(place)
        content.write(bytes([byte[0] ^ 1]))
