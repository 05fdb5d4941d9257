"""`./run_tests.sh bench`: runs all measurements, prints a table, and writes JSON and a plot."""

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

from benchmarks import abuse, engines, listings, measurements, s3, scaling, searches
from benchmarks.cluster import BenchmarkCluster
from benchmarks.limits import GIB, BareServer
from benchmarks.measurements import Measurement
from benchmarks.mounts import compare as mounts


def _table(results: list[Measurement]) -> Table:
    table = Table(title="Lockstep, compared with the limits of this machine in this run")
    for column in ("measurement", "result", "goal", "", "detail"):
        table.add_column(column)
    for result in results:
        sign = "≥" if result.better == "more" else "≤"
        table.add_row(
            result.name,
            f"{result.value:.3g} {result.unit}",
            f"{sign} {result.goal:g}",
            "ok" if result.reached else "MISSED",
            result.detail,
        )
    return table


def _plot(results: list[Measurement], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(figsize=(9, 0.5 * len(results) + 1.5), layout="constrained")
    margins = [
        result.value / result.goal if result.better == "more" else result.goal / max(result.value, 1e-9)
        for result in results
    ]
    axes.barh([result.name for result in results], margins, color=["#2a7" if f.reached else "#c43" for f in results])
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
    "abuse",
    "scaling",
    "listings",
    "searches",
    "engines",
    "mount",
)


def _known(_: click.Context, option: click.Parameter, value: str) -> str:
    """Reject text that no name contains: a run that measures nothing would look like a success."""
    if not any(value in name for name in PARTS):
        raise click.BadParameter(f"no name contains {value!r}: choose from {', '.join(PARTS)}", param=option)
    return value


@click.command()
@click.option("--seconds", default=6.0, show_default=True, help="Duration of each measured rate.")
@click.option("--clients", default=32, show_default=True, help="Clients of the small reads and writes.")
@click.option("--large-gib", default=1.0, show_default=True, help="Size of the large file, in GiB.")
@click.option(
    "--memory-gib", default=4.0, show_default=True, help="Size of the file that memory is measured with, in GiB."
)
@click.option("--files", default=100_000, show_default=True, help="Files in the large namespace.")
@click.option("--listed-keys", default=1_000_000, show_default=True, help="Keys in the bucket that listings page.")
@click.option("--searched-files", default=1_000_000, show_default=True, help="Files among which searches look.")
@click.option("--postgres", default="", help="Address of an empty PostgreSQL database, which `engines` needs.")
@click.option("--s3-keys", default=10_000, show_default=True, help="Keys in the bucket that S3 lists.")
@click.option("--mount-rounds", default=2, show_default=True, help="How often each mounted folder is measured.")
@click.option("--s3-gib", default=0.25, show_default=True, help="Total size of the parallel uploads, in GiB.")
@click.option(
    "--only",
    default="",
    callback=_known,
    help=f"Run only measurements whose name contains this: {', '.join(PARTS)}.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(
    seconds: float,
    clients: int,
    large_gib: float,
    memory_gib: float,
    files: int,
    listed_keys: int,
    searched_files: int,
    postgres: str,
    s3_keys: int,
    mount_rounds: int,
    s3_gib: float,
    only: str,
    out: Path,
) -> None:
    """Measure Lockstep on this machine. Compare ratios within one run; absolute values are noisy."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    results: list[Measurement] = []
    bare = BareServer(folder / "bare")
    cluster = BenchmarkCluster(folder / "cluster")
    try:

        def small() -> list[Measurement]:
            found = []
            for measure in (measurements.small_reads, measurements.small_writes):
                found.append(measure(cluster, bare.route_rate(clients, seconds), clients, seconds))
            return found

        parts: dict[str, Callable[[], Iterable[Measurement]]] = {
            "small": small,
            "locks": lambda: [measurements.locks(cluster, bare.route_rate(clients, seconds), seconds)],
            "large": lambda: measurements.large_file(cluster, bare, folder, int(large_gib * GIB)),
            "memory": lambda: [measurements.memory(cluster, folder, int(memory_gib * GIB))],
            "memory at a time": lambda: [measurements.parallel_uploads(cluster, int(s3_gib * GIB))],
            "s3 doors": lambda: s3.doors(cluster, seconds),
            "s3 listing": lambda: [s3.listing(cluster, s3_keys)],
            "s3 memory": lambda: [s3.multipart(cluster, int(s3_gib * GIB))],
            "start": lambda: [measurements.warm_start(cluster)],
            "abuse": lambda: abuse.measure(folder / "abuse"),
            "scaling": lambda: scaling.measure(folder / "scaling", files),
            "listings": lambda: listings.measure(folder / "listings", listed_keys),
            "searches": lambda: searches.measure(folder / "searches", searched_files),
            "engines": lambda: engines.measure(folder / "engines", postgres),
            "mount": lambda: mounts.measure(cluster, folder / "mount", mount_rounds),
        }
        for name in PARTS:
            if only in name:
                click.echo(f"measuring {name} …", err=True)
                for result in parts[name]():
                    results.append(result)
                    click.echo(f"  {result.name}: {result.value:.3g} {result.unit} ({result.detail})", err=True)
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
        "figures": [{**result._asdict(), "reached": result.reached} for result in results],
    }
    (out / f"{stamp}.json").write_text(json.dumps(record, indent=2) + "\n")
    _plot(results, out / f"{stamp}.png")
    click.echo(f"written: {out / stamp}.json and .png")
    if not all(result.reached for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
