"""`./run_tests.sh bench`: measures everything, prints a table, writes JSON and one plot."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import figures, s3, scaling
from benchmarks.cluster import BenchmarkCluster
from benchmarks.figures import Figure
from benchmarks.limits import GIB, BareServer


def _table(results: list[Figure]) -> Table:
    table = Table(title="Lockstep, beside the limits of this machine in this run")
    for column in ("figure", "measured", "goal", "", "detail"):
        table.add_column(column)
    for figure in results:
        sign = "≥" if figure.better == "more" else "≤"
        table.add_row(
            figure.name,
            f"{figure.value:.3g} {figure.unit}",
            f"{sign} {figure.goal:g}",
            "ok" if figure.reached else "MISSED",
            figure.detail,
        )
    return table


def _plot(results: list[Figure], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(figsize=(9, 0.5 * len(results) + 1.5), layout="constrained")
    margins = [
        figure.value / figure.goal if figure.better == "more" else figure.goal / max(figure.value, 1e-9)
        for figure in results
    ]
    axes.barh([figure.name for figure in results], margins, color=["#2a7" if f.reached else "#c43" for f in results])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("margin to the goal (1 = reached exactly, more is better)")
    axes.invert_yaxis()
    picture.savefig(file, dpi=120)


PARTS = (
    "small",
    "locks",
    "large",
    "memory",
    "memory at a time",
    "s3 doors",
    "s3 listing",
    "s3 memory",
    "start",
    "scaling",
)


def _known(_: click.Context, option: click.Parameter, value: str) -> str:
    """Refuse a name that is in no figure's: a run that measures nothing would look like one that is fine."""
    if not any(value in name for name in PARTS):
        raise click.BadParameter(f"no figure has {value!r} in its name; there are {', '.join(PARTS)}", param=option)
    return value


@click.command()
@click.option("--seconds", default=6.0, show_default=True, help="How long each rate is measured.")
@click.option("--clients", default=32, show_default=True, help="Clients of the small reads and writes.")
@click.option("--large-gib", default=1.0, show_default=True, help="Size of the large file, in GiB.")
@click.option("--memory-gib", default=4.0, show_default=True, help="Size of the file for the memory figure, in GiB.")
@click.option("--files", default=100_000, show_default=True, help="Files in the large namespace.")
@click.option("--s3-keys", default=10_000, show_default=True, help="Keys in the bucket that S3 lists a page of.")
@click.option("--s3-gib", default=0.25, show_default=True, help="Size of what goes up eight at a time, in GiB.")
@click.option(
    "--only",
    default="",
    callback=_known,
    help=f"Measure only figures whose name has this in it: {', '.join(PARTS)}.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(
    seconds: float,
    clients: int,
    large_gib: float,
    memory_gib: float,
    files: int,
    s3_keys: int,
    s3_gib: float,
    only: str,
    out: Path,
) -> None:
    """Measure Lockstep on this machine. Ratios within one run are what counts; single figures are noisy."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    results: list[Figure] = []
    bare = BareServer(folder / "bare")
    cluster = BenchmarkCluster(folder / "cluster")
    try:

        def small() -> list[Figure]:
            found = []
            for measure in (figures.small_reads, figures.small_writes):
                found.append(measure(cluster, bare.route_rate(clients, seconds), clients, seconds))
            return found

        parts: dict[str, Callable[[], Iterable[Figure]]] = {
            "small": small,
            "locks": lambda: [figures.locks(cluster, bare.route_rate(clients, seconds), seconds)],
            "large": lambda: figures.large_file(cluster, bare, folder, int(large_gib * GIB)),
            "memory": lambda: [figures.memory(cluster, folder, int(memory_gib * GIB))],
            "memory at a time": lambda: [figures.parallel_uploads(cluster, int(s3_gib * GIB))],
            "s3 doors": lambda: s3.doors(cluster, seconds),
            "s3 listing": lambda: [s3.listing(cluster, s3_keys)],
            "s3 memory": lambda: [s3.multipart(cluster, int(s3_gib * GIB))],
            "start": lambda: [figures.warm_start(cluster)],
            "scaling": lambda: scaling.measure(folder / "scaling", files),
        }
        for name in PARTS:
            if only in name:
                click.echo(f"measuring {name} …", err=True)
                for figure in parts[name]():
                    results.append(figure)
                    click.echo(f"  {figure.name}: {figure.value:.3g} {figure.unit} ({figure.detail})", err=True)
    finally:
        cluster.stop()
        bare.stop()
        shutil.rmtree(folder, ignore_errors=True)
    Console(width=160).print(_table(results))
    out.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    record = {
        "at": stamp,
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "figures": [{**figure._asdict(), "reached": figure.reached} for figure in results],
    }
    (out / f"{stamp}.json").write_text(json.dumps(record, indent=2) + "\n")
    _plot(results, out / f"{stamp}.png")
    click.echo(f"written: {out / stamp}.json and .png")
    if not all(figure.reached for figure in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
