"""The host names in certificates."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from cryptography import x509

from lockstep_store.wire.errors import BadRequest

MAX_HOSTS = 32

_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")


def host_names(hosts: Iterable[str] = ()) -> list[x509.GeneralName]:
    """Return `hosts` as certificate names: IP addresses and DNS names, which may begin with `*.`.

    Raises BadRequest for anything else.
    """
    distinct = list(dict.fromkeys(host.strip() for host in hosts))
    if len(distinct) > MAX_HOSTS:
        raise BadRequest(f"too many host names: {len(distinct)}, but a certificate may have at most {MAX_HOSTS}")
    return list(dict.fromkeys(_host_name(host) for host in distinct))


def local_hosts() -> list[str]:
    """Return the names under which programs on this machine can reach one another."""
    name = socket.gethostname()
    return ["localhost", "127.0.0.1", "::1", *([name] if _DNS_NAME.fullmatch(name) else [])]


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    name = host.removeprefix("*.")
    if not _DNS_NAME.fullmatch(name) or (name != host and "." not in name):  # no client takes a *.org
        raise BadRequest(f"{host[:80]!r} is not an IP address or host name: leave out scheme and port")
    return x509.DNSName(host.lower())
