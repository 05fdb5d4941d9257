"""Ends with 0 if the program of this container is healthy, otherwise with 1 and the reason: the image's HEALTHCHECK.

The argument is the program, as after `lockstep serve`; without one, it is read from the container's first process.
With `alive` as a second one, any answer is enough: a program that only waits for another one needs no restart.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path

ASK_SECONDS = 4.0
PROGRAMS = {
    "directory": ("LOCKSTEP_DIRECTORY_", "directory_server", "5050"),
    "file-server": ("LOCKSTEP_FILE_SERVER_", "file_server", "5060"),
    "proxy": ("LOCKSTEP_PROXY_", "client_proxy", "5000"),
}


def main(arguments: list[str]) -> int:
    role = arguments[0] if arguments else _first_process()
    if role not in PROGRAMS:
        print(f"no program to ask: {role!r} is none of {', '.join(PROGRAMS)}")
        return 1
    prefix, program, port = PROGRAMS[role]
    try:
        context = _context(prefix, program)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", int(os.environ.get(f"{prefix}PORT", port)), timeout=ASK_SECONDS, context=context
        )
        connection.request("GET", "/health")
        reply = connection.getresponse()
        body = reply.read(100_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"the {role} does not answer: {error}")
        return 1
    print(body)
    return 0 if reply.status == 200 or arguments[1:] == ["alive"] else 1


def _context(prefix: str, program: str) -> ssl.SSLContext:
    """TLS to the program, under its own certificate: the directory and file servers answer nobody without one."""
    own = os.environ.get(f"{prefix}TLS_CERT")
    if own:
        context = ssl.create_default_context(cafile=own)
        context.check_hostname = False  # nobody else listens there, and the certificate has the public name only
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context
    certs = Path(os.environ[f"{prefix}CERTS"])
    folder = certs / f"{program}-{os.environ.get(f'{prefix}ID', '1')}"
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _first_process() -> str:
    words = Path("/proc/1/cmdline").read_text().split("\0")
    return words[words.index("serve") + 1] if "serve" in words[:-1] else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
