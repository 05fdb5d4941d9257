"""How a person's client follows a rotation of the cluster's certificate authority.

Each reply of a proxy names the authorities. When they differ from those in the client's CA file, the client fetches
them and replaces the file. It accepts a new authority only if one in the file certified its key (a link), so a proxy
cannot make a client trust anybody else.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.x509.oid import NameOID

from lockstep_store.runtime.storage.durable_files import write_durably
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, adopted, parse_certificates, parse_links
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.authorities import TrustNews

_ORGANIZATION = "Lockstep"


def learn(ca_file: Path, news: TrustNews) -> bool:
    """Replace the authorities in `ca_file` by those that a proxy sent; returns whether they are new.

    SetupError when no authority in the file vouches for them, the file has other authorities too, or it cannot be
    written: then the file is as it was.
    """
    known = TrustedAuthorities.load(ca_file)
    try:
        sent, links = parse_certificates(news.ca_pem), parse_links(news.links_pem)
    except ValueError as error:
        raise SetupError(f"the proxy sent damaged certificate authorities ({error})") from error
    if has_other_authorities(ca_file):
        raise SetupError(f"{ca_file} also has certificate authorities that are not a cluster's: update it by hand")
    if not adopted(known.certificates, sent, links):
        raise SetupError(
            f"no authority in {ca_file} vouches for those that the proxy sent: get ca.pem from an administrator"
        )
    if set(known.certificates) == set(sent) or (ca_file.parent / "authority").is_dir():
        return False  # the directory's own file is the original
    if not os.access(ca_file, os.W_OK):
        raise SetupError(f"{ca_file} cannot be written: replace it with the cluster's current ca.pem")
    try:
        write_durably(ca_file.resolve(), news.ca_pem.encode("ascii"), mode=ca_file.stat().st_mode & 0o777)
    except OSError as error:
        raise SetupError(f"{ca_file} cannot be written ({error.strerror}): get the cluster's current ca.pem") from error
    return True


def has_other_authorities(ca_file: Path) -> bool:
    """Whether the file has authorities of others than Lockstep clusters, such as those of a reverse proxy."""
    authorities = TrustedAuthorities.load(ca_file)
    names = [one.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) for one in authorities.certificates]
    return not all(name and name[0].value == _ORGANIZATION for name in names)
