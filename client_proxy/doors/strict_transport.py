"""Strict-Transport-Security (RFC 6797): after one visit, browsers never use plain HTTP for this host again.

Only with an operator's own certificate: once a browser has the header, it lets nobody click through a warning about an
untrusted certificate, such as the cluster's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509

from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, is_signed_by
from lockstep_store.wire.errors import SetupError

YEAR_SECONDS = 365 * 24 * 3600


class StrictTransport:
    """A WSGI application in front of all doors: its replies require HTTPS for the next `seconds`."""

    def __init__(self, inner: Wsgi, seconds: int) -> None:
        self._inner = inner
        self._header = ("Strict-Transport-Security", f"max-age={seconds}")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, self._header], *rest)

        return self._inner(environ, start)


def is_public(cert_file: Path, ca_file: Path) -> bool:
    """Whether its issuer is neither one of the cluster's authorities in `ca_file` nor the certificate itself.

    SetupError when a file has no certificate.
    """
    authorities = TrustedAuthorities.load(ca_file)
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot read the certificate in {cert_file} ({error})") from error
    return authorities.issuer_of(certificate) is None and not is_signed_by(certificate, certificate)
