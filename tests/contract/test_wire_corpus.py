"""Every later version reads every recorded message."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from tests.contract.wire_corpus import __main__ as command
from tests.contract.wire_corpus import corpus

RECORDED = corpus.load()
DECLARED = corpus.declared()


def _entries() -> list[Any]:
    return [
        pytest.param(file, name, forms, id=f"{file}:{name}")
        for file, entries in RECORDED.items()
        for name, forms in entries.items()
    ]


@pytest.mark.parametrize(("file", "name", "forms"), _entries())
def test_every_recorded_message_is_still_read(file: str, name: str, forms: list[Any]) -> None:
    """As it was sent, with members of a newer version in every object, and without each one that may be left out."""
    kind = DECLARED[file].get(name)
    assert kind is not None, f"{name} was sent by earlier versions and is no longer declared"
    assert [fault for form in forms for fault in corpus.faults(kind, form)] == []


def test_todays_messages_are_recorded() -> None:
    """A new message or member is in the corpus before a version that sends it is out."""
    assert corpus.with_today(RECORDED) == RECORDED, "record it: python -m tests.contract.wire_corpus"


class _Part(msgspec.Struct, omit_defaults=True):
    name: str
    note: str = ""


class _Recorded(msgspec.Struct, omit_defaults=True):
    size: int
    parts: list[_Part] = []
    limit: Annotated[int, Meta(ge=1, le=9)] = 5


class _NewOptionalMember(_Recorded, omit_defaults=True):
    colour: str = ""


class _NewRequiredMember(msgspec.Struct, kw_only=True):
    size: int
    colour: str
    parts: list[_Part] = []
    limit: int = 5


class _RenamedMember(msgspec.Struct, omit_defaults=True):
    size: int
    pieces: list[_Part] = []
    limit: int = 5


class _PartWithoutNote(msgspec.Struct, omit_defaults=True):
    name: str


class _MemberOfAPartIsGone(msgspec.Struct, omit_defaults=True):
    size: int
    parts: list[_PartWithoutNote] = []
    limit: int = 5


class _OtherType(msgspec.Struct, omit_defaults=True):
    size: str
    parts: list[_Part] = []
    limit: int = 5


class _TighterBound(msgspec.Struct, omit_defaults=True):
    size: int
    parts: list[_Part] = []
    limit: Annotated[int, Meta(ge=2)] = 5


class _Strict(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    size: int
    parts: list[_Part] = []
    limit: int = 5


def _faults(kind: type[msgspec.Struct]) -> list[str]:
    forms = [corpus.examples.minimal(_Recorded), corpus.examples.full(_Recorded)]
    return [fault for form in forms for fault in corpus.faults(kind, form)]


def test_a_new_optional_member_breaks_nothing() -> None:
    """An added member with a default is compatible."""
    assert _faults(_Recorded) == []
    assert _faults(_NewOptionalMember) == []


@pytest.mark.parametrize(
    "kind", [_NewRequiredMember, _RenamedMember, _MemberOfAPartIsGone, _OtherType, _TighterBound, _Strict]
)
def test_a_change_that_breaks_an_old_message_is_found(kind: type[msgspec.Struct]) -> None:
    """Also one that decodes well and silently ignores what an older program says."""
    assert _faults(kind) != []


def test_recording_keeps_old_forms_beside_new_ones(tmp_path: Path) -> None:
    """The form of a message before it got a member is what an older program goes on sending."""
    recorded = copy.deepcopy(RECORDED)
    name = next(iter(recorded["requests"]))
    older = {"sent": "by a version long ago"}
    recorded["requests"][name] = [older]
    corpus.save(corpus.with_today(recorded), tmp_path)
    assert corpus.load(tmp_path)["requests"][name][0] == older
    assert len(corpus.load(tmp_path)["requests"][name]) > 1


def test_recording_refuses_to_drop_what_is_no_longer_declared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the message, ends with a failure and writes nothing."""
    written: list[object] = []
    recorded = copy.deepcopy(RECORDED)
    recorded["requests"]["/a/call/of/old"] = [{}]
    monkeypatch.setattr(command, "load", lambda: recorded)
    monkeypatch.setattr(command, "save", written.append)
    assert command.main() == 1
    assert "/a/call/of/old" in capsys.readouterr().err
    assert written == []
