"""The command `status`: what is wrong, how bad it is, and what to do."""

from __future__ import annotations

import time
from typing import NamedTuple

import click

from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.text import cluster as cluster_text
from lockstep_store.client.text.formatting import counted
from lockstep_store.client.text.problems import Level, StatusProblem, is_settled, level_of, problems_of
from lockstep_store.wire.errors import BadRequest, NotLoggedIn, Unavailable
from lockstep_store.wire.messages.cluster import ClusterReply, Health

LOOK_AGAIN_SECONDS = 1.0
EXIT_CODES: dict[Level, int] = {"healthy": 0, "degraded": 1, "at_risk": 2}


class _Look(NamedTuple):
    """What one look at the cluster showed. `cluster` is None without a log-in, or when the directory is away."""

    proxy: Health
    cluster: ClusterReply | None
    problems: list[StatusProblem]
    logged_in: bool

    @property
    def level(self) -> Level:
        return level_of(self.problems)

    @property
    def is_final(self) -> bool:
        """Healthy, and no scan is under way that could find more."""
        return self.level == "healthy" and (self.cluster is None or is_settled(self.cluster))


@click.command(cls=Command)
@click.option("--wait", "wanted", type=click.Choice(["healthy"]), help="Wait until the cluster is healthy.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --wait: wait at most this long; the exit code is the state at the end.",
)
@pass_app
def status(app: App, wanted: str | None, timeout: float | None) -> None:
    """Show the cluster's problems, servers, copies and pending work. Without a log-in, only the proxy's health.

    Exits with 0 if the cluster is healthy, with 1 if it is degraded, with 2 if data is at risk, and with 7 if no proxy
    answers.
    """
    if timeout is not None and wanted is None:
        raise BadRequest("--timeout limits the wait of --wait healthy: add it, or leave out --timeout")
    found = _look(app) if wanted is None else _wait(app, timeout)
    data = {"state": found.level, "problems": found.problems, "proxy": found.proxy, "cluster": found.cluster}
    app.show(_text(app, found), data)
    click.get_current_context().exit(EXIT_CODES[found.level])


def _look(app: App) -> _Look:
    api = app.api()
    health = api.health()
    cluster, refusal, logged_in = None, "", bool(api.transport.credential)
    if logged_in:
        try:
            cluster = api.status()
        except NotLoggedIn:
            logged_in = False
        except Unavailable as error:
            refusal = str(error)
    return _Look(health, cluster, problems_of(health, cluster, refusal), logged_in)


def _wait(app: App, timeout: float | None) -> _Look:
    """Look until the cluster is healthy, or the time is over. A proxy that is away is waited for."""
    deadline = None if timeout is None else time.monotonic() + timeout
    told = ""
    while True:
        is_over = deadline is not None and time.monotonic() >= deadline
        try:
            found = _look(app)
            if found.is_final or is_over:
                return found
            progress = _progress(found)
        except Unavailable as error:
            if is_over:
                raise
            progress = str(error)
        if progress != told:
            app.note(f"waiting: {progress}")
            told = progress
        time.sleep(LOOK_AGAIN_SECONDS)


def _progress(found: _Look) -> str:
    if not found.problems:
        return "the metadata is being scanned"
    others = f", and {counted(len(found.problems) - 1, 'other problem')}" if len(found.problems) > 1 else ""
    return f"{found.problems[0].subject} {found.problems[0].problem}{others}"


def _text(app: App, found: _Look) -> str:
    first = cluster_text.proxy_line(found.proxy, app.api().url)
    lines = [first, *cluster_text.rate_limit_lines(found.proxy.facts)]
    if found.cluster is not None:
        lines.append(cluster_text.cluster_text(found.cluster, problems=found.problems))
    else:
        lines.append(cluster_text.problems_text(found.problems))
        if not found.logged_in:
            lines.append("this is the proxy's health only: log in to see the rest (lockstep login)")
    return "\n".join(lines)
