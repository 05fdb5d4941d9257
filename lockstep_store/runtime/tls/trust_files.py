"""The trusted authorities on disk, as a proxy names them to people's clients."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from lockstep_store.runtime.tls.authorities import TrustedAuthorities, load_links
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.authorities import TrustNews


class TrustFiles:
    """Reads `ca.pem` and `ca-links.pem` of a certs folder again when they have changed. Thread-safe."""

    def __init__(self, certs_dir: Path) -> None:
        self._certs_dir = certs_dir
        self._guard = threading.Lock()
        self._stamp = (0, 0)
        self._ids = ""

    @property
    def ids(self) -> str:
        """The ids of the authorities, separated by spaces. It costs a look at the file's time."""
        with suppress(OSError, SetupError):  # while the file is replaced, what was read before counts
            ca_file = self._certs_dir / "ca.pem"
            facts = ca_file.stat()
            stamp = (facts.st_mtime_ns, facts.st_ino)
            if stamp != self._stamp:
                with self._guard:
                    self._ids, self._stamp = " ".join(TrustedAuthorities.load(ca_file).ids), stamp
        return self._ids

    def __call__(self) -> TrustNews:
        """What people's clients must trust."""
        return TrustNews((self._certs_dir / "ca.pem").read_text("ascii"), load_links(self._certs_dir))
