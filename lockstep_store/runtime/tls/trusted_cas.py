"""TLS to servers outside the cluster, whose certificates the machine's CAs or an administrator's CA file vouch for."""

from __future__ import annotations

import ssl

from lockstep_store.wire.errors import BadRequest


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Return a context that trusts the system's CAs and those in `ca_pem` (PEM). BadRequest if it has none."""
    context = ssl.create_default_context()
    if ca_pem:
        try:
            # Certificates are ASCII, but a bundle's comments between them need not be.
            context.load_verify_locations(cadata=ca_pem.encode("ascii", "ignore").decode())
        except (ssl.SSLError, ValueError) as error:
            raise BadRequest("the CA file contains no readable PEM certificate") from error
    return context
