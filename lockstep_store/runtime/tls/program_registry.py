"""The authority's list of programs: who is a member, which names it was invited with, and which certificates it has.

It lies beside the authority's key, not in the metadata: a restored backup must not bring a removed program back. A
program's tokens and certificates belong to a generation, and end with it. The revocation list (X.509 CRL) is made from
this list.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from lockstep_store.runtime.storage.sealing import one_program_at_a_time, write_durably
from lockstep_store.wire.errors import Conflict, NotFound, PeerRefused, SetupError

T = TypeVar("T")


class IssuedCertificate(msgspec.Struct):
    """A certificate that was issued. `serial` is decimal text, because JSON numbers are not exact at that size."""

    serial: str
    generation: int
    expires_at: float
    """Seconds since 1970."""
    key: str = ""
    """BLAKE3 of the public key (DER), in hex; empty for a certificate of an earlier version."""


class Program(msgspec.Struct):
    """A program that was ever a member. It is one while `generation` is above `ended`."""

    role: str
    id: str
    generation: int = 1
    ended: int = 0
    hosts: list[str] = []
    """The names that it was invited with; its certificates have these and this machine's own, and no others."""
    certificates: list[IssuedCertificate] = []

    @property
    def is_member(self) -> bool:
        """Whether it may take part in the cluster."""
        return self.generation > self.ended

    @property
    def keys(self) -> set[str]:
        """The `key` of each certificate of its membership."""
        return {one.key for one in self.certificates if one.generation == self.generation}


class _File(msgspec.Struct):
    format: int = 1
    crl_number: int = 0
    programs: dict[str, Program] = {}


class ProgramRegistry:
    """The list in the authority's folder of the certs folder `folder`. Several programs may change it at once."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "authority" / "programs.json"
        self._lock = folder / ".programs.lock"
        self.crl_file = folder / "revoked.pem"

    def all(self) -> list[Program]:
        """Every program that was ever a member, by role and id."""
        return [program for _, program in sorted(self._load().programs.items())]

    def find(self, role: str, id: str) -> Program | None:
        return self._load().programs.get(f"{role}-{id}")

    def join(self, role: str, id: str, hosts: list[str]) -> Program:
        """Make a program a member, in a new generation. Conflict while a program of that role and id is one."""

        def work(content: _File) -> Program:
            _refuse_member(content, role, id)
            return _admit(content, role, id, hosts)

        return self._change(work)

    def refuse_member(self, role: str, id: str) -> None:
        """Raise Conflict if a program of that role and id is a member."""
        _refuse_member(self._load(), role, id)

    def start_here(self, role: str, id: str) -> Program:
        """Return the program for a start on the authority's own machine, which invites whatever is started there."""
        known = self.find(role, id)
        if known is not None and known.is_member:
            return known

        def work(content: _File) -> Program:
            known = content.programs.get(f"{role}-{id}")
            return known if known is not None and known.is_member else _admit(content, role, id, [])

        return self._change(work)

    def note_certificate(
        self, role: str, id: str, serial: int, expires: datetime, now: datetime, key: str, *, is_renewal: bool = False
    ) -> None:
        """Remember a certificate, durably, before it is given out. Those that have expired are forgotten.

        PeerRefused for a removed program, whose request may have come before its removal, and for a renewal with a key
        that no member had: whoever stole an authority's keys can make any program's token and certificate, and would
        stay beyond the authority's end.
        """

        def work(content: _File) -> None:
            program = content.programs.get(f"{role}-{id}")
            if program is not None and not program.is_member:
                raise PeerRefused(f"{role} {id} was removed from the cluster: it gets no certificate", removed=True)
            if is_renewal and (program is None or not program.keys & {key, ""}):
                raise PeerRefused(f"{role} {id} has no certificate for this key: invite it again")
            program = program or _admit(content, role, id, [])
            kept = [one for one in program.certificates if one.expires_at > now.timestamp()]
            issued = IssuedCertificate(str(serial), program.generation, expires.timestamp(), key)
            program.certificates = [*kept, issued]

        self._change(work)

    def end(self, role: str, id: str) -> int:
        """End a program's generation, durably; returns the number of the revocation list to make. Safe to repeat."""

        def work(content: _File) -> int:
            program = content.programs.get(f"{role}-{id}")
            if program is None:
                raise NotFound(f"there is no {role} with the id {id!r}")
            program.ended = program.generation
            content.crl_number += 1
            return content.crl_number

        return self._change(work)

    def count_list(self) -> None:
        """Give the next revocation list a higher number, because other authorities sign it. Durable on return."""

        def work(content: _File) -> None:
            content.crl_number += 1

        self._change(work)

    def revoked(self, now: datetime) -> tuple[int, list[int]]:
        """The revocation list's number, and the serials of ended generations whose certificates have not expired."""
        content = self._load()
        serials = [
            int(one.serial)
            for _, program in sorted(content.programs.items())
            for one in program.certificates
            if one.generation <= program.ended and one.expires_at > now.timestamp()
        ]
        return content.crl_number, serials

    def _load(self) -> _File:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except (OSError, msgspec.MsgspecError) as error:
            raise SetupError(f"the list of programs {self._file} cannot be read ({error}): restore it") from error

    def _change(self, work: Callable[[_File], T]) -> T:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with one_program_at_a_time(self._lock):
            content = self._load()
            result = work(content)
            write_durably(self._file, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            return result


def _admit(content: _File, role: str, id: str, hosts: list[str]) -> Program:
    known = content.programs.get(f"{role}-{id}")
    if known is None:
        program = Program(role, id, hosts=hosts)
    else:
        program = msgspec.structs.replace(known, generation=known.generation + 1, hosts=hosts)
    content.programs[f"{role}-{id}"] = program
    return program


def _refuse_member(content: _File, role: str, id: str) -> None:
    known = content.programs.get(f"{role}-{id}")
    if known is not None and known.is_member:
        raise Conflict(
            f"{role} {id} is a member of the cluster: choose another id, or remove that program first", member=True
        )
