"""A proxy's settings: command-line options, or `LOCKSTEP_PROXY_…` variables. Only this module reads them."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from client_proxy.defaults import DISK_BYTES, MEMORY_BYTES
from client_proxy.rate_limits.rules import DEFAULTS, IN_MEMORY, RateRule, parse_rules
from lockstep_store.client.local_storage import DEFAULT_FOLDER, FOLDER_VARIABLE
from lockstep_store.runtime.addresses import Network
from lockstep_store.runtime.log_output import LogSettings, log_options, log_settings
from lockstep_store.runtime.options import DEFAULT_THREADS, Size, directory_urls, is_loopback

PREFIX = "LOCKSTEP_PROXY_"
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Settings:
    """The options' help describes each. Paths are as given; `data_dir` and `menu` have their final values."""

    id: str
    host: str
    port: int
    data_dir: Path
    certs_dir: Path
    directory_url: str
    cache_bytes: int
    memory_bytes: int
    names: tuple[str, ...]
    s3_domain: str
    s3_list_shared: bool
    api_origins: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    hsts_seconds: int | None
    threads: int
    rate_limits: tuple[RateRule, ...]
    rate_limit_storage: str = field(repr=False)
    """May contain a password."""
    trusted_proxies: tuple[Network, ...]
    proxy_protocol_port: int | None
    read_leases: bool
    trace_paths: bool
    console: Path | None
    menu: bool
    local_storage: Path
    log: LogSettings

    @property
    def listeners(self) -> int:
        """How many people may listen to events at a time. They occupy threads of their own, beside `threads`."""
        return self.threads // 4

    @property
    def remote(self) -> bool:
        """Whether people on other machines can reach this proxy, also through a load balancer on this one."""
        return not is_loopback(self.host) or bool(self.trusted_proxies)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the proxy."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"https://[{host}]:{self.port}" if ":" in host else f"https://{host}:{self.port}"


class _Network(click.ParamType[Network]):
    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        try:
            return ipaddress.ip_network(value)
        except ValueError:
            self.fail(f"{value!r} is not an address or network, such as 10.0.0.7 or 10.0.0.0/8", param, ctx)


class _Origin(click.ParamType[str]):
    """As browsers send it."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        origin = str(value).lower()
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            self.fail(
                f"{value!r} is not an origin: give the scheme, the host and, unless it is the usual one, the port, "
                "such as https://app.example.com, or *",
                param,
                ctx,
            )
        return origin


def _option(*names: str, **details: Any) -> Callable[[Any], Any]:
    variable = PREFIX + names[0].removeprefix("--").split("/")[0].replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, show_default=True, **details)


_OPTIONS = (
    _option("--id", default="1", help="Id of this proxy, in the names of its data folder and certificate."),
    _option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for every network."),
    _option("--port", default=5000, type=click.IntRange(1, 65535), help="Port to listen on."),
    _option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="Folder for the cache.  [default: .cluster/client_proxy-ID]",
    ),
    _option(
        "--certs",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("certs"),
        help="Folder with the cluster's certificates.",
    ),
    _option(
        "--directory",
        default="https://127.0.0.1:5050",
        callback=directory_urls,
        help="URL of the directory server; with standbys, the URLs of all, separated by commas.",
    ),
    _option(
        "--cache-bytes",
        type=Size(),
        default=f"{DISK_BYTES // 1024**3}GiB",
        help="Maximum size of the cache on disk.",
    ),
    _option(
        "--memory-bytes",
        type=Size(),
        default=f"{MEMORY_BYTES // 1024**2}MiB",
        help="Maximum size of the small files kept in memory.",
    ),
    _option(
        "--name",
        multiple=True,
        help="Another host name or address of this proxy, for its certificate; may be repeated.",
    ),
    _option(
        "--s3-domain",
        default="",
        help="Domain whose subdomains are S3 buckets (bucket.DOMAIN); needs a certificate for *.DOMAIN.",
    ),
    _option(
        "--s3-list-shared/--no-s3-list-shared",
        default=False,
        help="In S3's ListBuckets, also list other people's buckets that the account may use.",
    ),
    _option(
        "--api-origin",
        "api_origins",
        type=_Origin(),
        multiple=True,
        metavar="ORIGIN",
        help="Origin whose web pages may call the API, such as https://app.example.com, or * for all; may be "
        "repeated.  [default: none]",
    ),
    _option(
        "--tls-cert",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        default=None,
        help="Your own certificate chain (PEM), used instead of the cluster's.",
    ),
    _option(
        "--tls-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        default=None,
        help="The private key (PEM) of --tls-cert.",
    ),
    _option(
        "--hsts-seconds",
        default=None,
        type=click.IntRange(0, 10 * 365 * 24 * 3600),
        help="How long a browser uses only HTTPS for this host after each visit; 0: no header.  [default: a year if "
        "--tls-cert is neither the cluster's nor self-signed, otherwise 0]",
    ),
    _option(
        "--threads",
        default=DEFAULT_THREADS,
        type=click.IntRange(4, 4096),
        help="Requests served at the same time.",
    ),
    _option(
        "--rate-limit",
        multiple=True,
        metavar="CLASS=COUNT/TIME/BY",
        help="How many requests of a class (login, read, write, list, admin, share) an address, account, key or bucket "
        "may make, such as write=50/second/account, or CLASS=off; may be repeated.  "
        f"[default: {', '.join(DEFAULTS.values())}]",
    ),
    _option(
        "--rate-limit-storage",
        default=IN_MEMORY,
        metavar="URI",
        help="Where requests are counted: memory, or redis:// or memcached:// for several proxies together.",
    ),
    _option(
        "--trusted-proxy",
        type=_Network(),
        multiple=True,
        metavar="NETWORK",
        help="Address or network of a reverse proxy whose X-Forwarded-For names the client, or of a load balancer that "
        "uses --proxy-protocol-port; may be repeated.",
    ),
    _option(
        "--proxy-protocol-port",
        type=click.IntRange(1, 65535),
        default=None,
        help="Another port, for load balancers named with --trusted-proxy that speak the PROXY protocol.  "
        "[default: none]",
    ),
    _option(
        "--read-leases/--no-read-leases",
        default=True,
        help="Answer hot reads without asking the directory, which announces every change first.",
    ),
    _option(
        "--trace-paths/--no-trace-paths",
        default=False,
        help="In OpenTelemetry traces, show the addresses of requests, which have the names of files in them.",
    ),
    _option(
        "--console",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        metavar="DIR",
        help="Folder with the built web console, which browsers get at / and /console; it may be filled later.  "
        "[default: no console]",
    ),
    _option("--menu/--no-menu", default=None, help="Open the numbered menu.  [default: on a terminal]"),
    click.option(
        "--local-storage",
        envvar=FOLDER_VARIABLE,
        show_envvar=True,
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_FOLDER,
        help="The menu's folder on this machine, for uploads and downloads.",
    ),
)


def proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command with every option. Pass its arguments to `from_options`."""
    command = log_options(PREFIX)(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def from_options(
    *,
    id: str,
    host: str,
    port: int,
    data: Path | None,
    certs: Path,
    directory: str,
    cache_bytes: int,
    memory_bytes: int,
    name: tuple[str, ...],
    s3_domain: str,
    s3_list_shared: bool,
    api_origins: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    hsts_seconds: int | None,
    threads: int,
    rate_limit: tuple[str, ...],
    rate_limit_storage: str,
    trusted_proxy: tuple[Network, ...],
    proxy_protocol_port: int | None,
    read_leases: bool,
    trace_paths: bool,
    console: Path | None,
    menu: bool | None,
    local_storage: Path,
    **of_log: Any,
) -> Settings:
    """The settings from the options. click.UsageError when they contradict each other."""
    _check_certificate(tls_cert, tls_key, menu)
    _check_addresses(s3_domain, port, proxy_protocol_port, trusted_proxy)
    return Settings(
        id=id,
        host=host,
        port=port,
        data_dir=data if data is not None else Path(".cluster") / f"client_proxy-{id}",
        certs_dir=certs,
        directory_url=directory,
        cache_bytes=cache_bytes,
        memory_bytes=memory_bytes,
        names=(*name, *((s3_domain, f"*.{s3_domain}") if s3_domain else ())),
        s3_domain=s3_domain.lower(),
        s3_list_shared=s3_list_shared,
        api_origins=api_origins,
        tls_cert=tls_cert,
        tls_key=tls_key,
        hsts_seconds=hsts_seconds,
        threads=threads,
        rate_limits=_rules(rate_limit),
        rate_limit_storage=rate_limit_storage,
        trusted_proxies=trusted_proxy,
        proxy_protocol_port=proxy_protocol_port,
        read_leases=read_leases,
        trace_paths=trace_paths,
        console=console,
        menu=_has_terminal() and tls_cert is None if menu is None else menu,
        local_storage=local_storage,
        log=log_settings(of_log),
    )


def _check_certificate(tls_cert: Path | None, tls_key: Path | None, menu: bool | None) -> None:
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both or neither")
    if menu and tls_cert is not None:
        raise click.UsageError("--menu uses the cluster's own certificate: leave out --tls-cert, or add --no-menu")


def _check_addresses(s3_domain: str, port: int, proxy_protocol_port: int | None, trusted: tuple[Network, ...]) -> None:
    if s3_domain and "." not in s3_domain:
        raise click.UsageError(
            f"--s3-domain needs a domain with a dot in it, such as s3.example.org, not {s3_domain!r}"
        )
    if proxy_protocol_port is not None and not trusted:
        raise click.UsageError("--proxy-protocol-port trusts nobody without --trusted-proxy: name the load balancers")
    if proxy_protocol_port == port:
        raise click.UsageError("--proxy-protocol-port must be another port than --port")


def _rules(given: tuple[str, ...]) -> tuple[RateRule, ...]:
    try:
        return parse_rules(given)
    except ValueError as error:
        raise click.UsageError(f"--rate-limit: {error}") from error


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
