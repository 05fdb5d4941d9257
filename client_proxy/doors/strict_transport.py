"""Strict-Transport-Security (RFC 6797): browsers that were here once never use plain HTTP for this host again.

Only with a certificate that the operator brought: a browser that got the header shows no way past a certificate that it
does not trust, such as the cluster's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.wire.errors import SetupError

YEAR_SECONDS = 365 * 24 * 3600


class StrictTransport:
    """A WSGI application in front of all doors, whose replies ask for HTTPS during the next `seconds`."""

    def __init__(self, inner: Wsgi, seconds: int) -> None:
        self._inner = inner
        self._header = ("Strict-Transport-Security", f"max-age={seconds}")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, self._header], *rest)

        return self._inner(environ, start)


def is_public(cert_file: Path, ca_file: Path) -> bool:
    """Whether somebody else than the cluster's authority `ca_file`, or the certificate's own key, issued it.

    SetupError when a file has no certificate.
    """
    try:
        certificate, authority = (x509.load_pem_x509_certificate(file.read_bytes()) for file in (cert_file, ca_file))
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot read the certificate in {cert_file} or {ca_file} ({error})") from error
    return not any(_issued(issuer, certificate) for issuer in (authority, certificate))


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
