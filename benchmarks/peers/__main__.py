"""`./run_tests.sh bench peers`: starts every peer, measures, prints tables, writes JSON, and cleans up."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.peers import machine
from benchmarks.peers.cells import GIB, MIB, Cell, all_cells
from benchmarks.peers.generator import Generator, LoadFailed
from benchmarks.peers.lockstep import Lockstep
from benchmarks.peers.peer import Peer, PeerUnavailable
from benchmarks.peers.results import BUSY_SHARE, CellResult, others_share, result_of
from benchmarks.peers.runner import Contestant, Row, Runner
from benchmarks.peers.seaweedfs import SeaweedFS
from benchmarks.peers.table import print_tables

TURNS = 2
SHORT_SECONDS = 0.4
LIMIT_SECONDS = 2.0
Say = Callable[[str], None]
PEERS: dict[str, Callable[[Path, Say], Peer]] = {
    "lockstep": Lockstep,
    "seaweedfs": SeaweedFS,
}


def _say(text: str) -> None:
    click.echo(text, err=True)


def _cells(text: str, short: bool) -> list[Cell]:
    """The cells whose names contain one of the words, in any case."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    cells = all_cells(short)
    for word in words:
        if not any(word in cell.name.lower() for cell in cells):
            known = "; ".join(cell.name for cell in cells)
            raise click.BadParameter(f"no cell has {word!r} in its name; there are: {known}", param_hint="--cells")
    return [cell for cell in cells if not words or any(word in cell.name.lower() for word in words)]


def _chosen(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()] or list(PEERS)
    for name in names:
        if name not in PEERS:
            raise click.BadParameter(f"{name!r} is not a peer; there are {', '.join(PEERS)}", param_hint="--peers")
    return list(dict.fromkeys(names))


@click.command("run_tests.sh bench peers", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cells", default="", help="Only cells with one of these words in their names: put,list,64 mib.")
@click.option("--peers", default="", help=f"Only these peers, in this order: {','.join(PEERS)}.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Also measure the build in this checkout of Lockstep.",
)
@click.option("--seconds", default=4.0, show_default=True, type=click.FloatRange(0.1), help="Length of each turn.")
@click.option("--short", is_flag=True, help="Check in about a minute that everything works; the results are rough.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(cells: str, peers: str, against: Path | None, seconds: float, short: bool, out: Path) -> None:
    """Measure Lockstep and its peers side by side on this machine."""
    chosen = _cells(cells, short)
    names = _chosen(peers)
    if not Path("/proc/self/smaps_rollup").exists():
        raise click.ClickException("this benchmark needs Linux: it reads the programs' costs from /proc")
    seconds = SHORT_SECONDS if short else seconds
    started = time.time()
    with _one_interruption(), ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="lockstep-peers-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_say, "stopping every program and removing their folders …")
        stack.callback(_finish_in_peace)
        generator = Generator(folder, _say, shutil.which("go"))
        _say("measuring the limits of the machine …")
        limits = machine.limits(folder, min(seconds, LIMIT_SECONDS), 64 * MIB if short else GIB)
        taking_part = _start(_made(names, against, folder), generator, stack)
        runner = Runner(generator, folder, seconds, TURNS)
        rows = _measure(runner, chosen, taking_part)
        found = [result_of(row) for row in rows]
        absent = {peer.name: reason for peer, _, reason in taking_part if reason}
        peers_shown = [peer for peer, _, _ in taking_part]
        print_tables(found, peers_shown[0].name, [_note(peer, absent) for peer in peers_shown])
        settings = {"seconds": seconds, "turns": TURNS, "short": short, "generator": generator.language}
        absentees = [CellResult("start", name, reason) for name, reason in absent.items()]
        _write(out, started, settings, limits, peers_shown, [*absentees, *found])


def _note(peer: Peer, absent: Mapping[str, str]) -> str:
    reason = absent.get(peer.name)
    return f"{peer.name} {reason}." if reason else f"{peer.name} {peer.version}: {peer.note}"


SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _one_interruption() -> Iterator[None]:
    """Let SIGTERM end the run like Ctrl-C: everything is stopped and removed."""
    before = [signal.signal(number, signal.default_int_handler) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _finish_in_peace() -> None:
    """Ignore a second Ctrl-C from now on, because it would leave programs running."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _made(names: Iterable[str], against: Path | None, folder: Path) -> list[Peer]:
    """The peers, each with its own folder. The first is the reference of the ratios."""
    made: list[Peer] = []
    for name in names:
        home = folder / name
        home.mkdir()
        made.append(PEERS[name](home, _say))
    if against is not None:
        home = folder / "against"
        home.mkdir()
        made.append(Lockstep(home, _say, against, f"Lockstep in {against.name}"))
    return made


Start = tuple[Peer, Contestant | None, str]
"""A peer, and its contestant or the reason why it has none."""


def _start(peers: Iterable[Peer], generator: Generator, stack: ExitStack) -> list[Start]:
    started: list[Start] = []
    for peer in peers:
        _say(f"starting {peer.name} …")
        stack.callback(_stop, peer)
        try:
            started.append((peer, Contestant(peer, peer.start(), generator), ""))
        except (PeerUnavailable, LoadFailed) as error:
            _say(f"  {peer.name} does not take part: {error}")
            started.append((peer, None, f"does not take part: {error}"))
    return started


def _stop(peer: Peer) -> None:
    try:
        peer.stop()
    except (PeerUnavailable, OSError) as error:
        _say(f"  {peer.name} could not be stopped: {error}")


def _measure(runner: Runner, cells: Iterable[Cell], started: Sequence[Start]) -> list[Row]:
    contestants = [contestant for _, contestant, _ in started if contestant]
    rows: list[Row] = []
    for cell in cells:
        _say(f"measuring {cell.name} …")
        for row in runner.run(cell, contestants):
            rows.append(row)
            found = result_of(row)
            _say(f"  {row.peer}: {found.failure or f'{found.rate:,.1f}/s, {found.processor_ms:.3g} ms/op'}")
    return rows


def _write(
    out: Path,
    started: float,
    settings: dict[str, Any],
    limits: dict[str, float],
    peers: Iterable[Peer],
    found: Sequence[CellResult],
) -> None:
    share = others_share(found)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(started))
    record = {
        "at": stamp,
        "settings": settings,
        "machine": machine.description(),
        "limits": limits,
        "others_share": share,
        "busy": share > BUSY_SHARE,
        "peers": [{"name": peer.name, "version": peer.version, "note": peer.note} for peer in peers],
        "cells": [one.record() for one in found],
    }
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"peers-{stamp}.json"
    file.write_text(json.dumps(record, indent=2) + "\n")
    click.echo(f"written: {file}, after {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
