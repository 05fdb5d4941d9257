"""The recorded messages: read, checked against today's declarations, and added to."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from lockstep_store import wire
from lockstep_store.wire.codec import Call, decoder, encode
from tests.contract.wire_corpus import examples

FOLDER = Path(__file__).parent

Kind = type[msgspec.Struct]
Forms = dict[str, list[Any]]
Recorded = dict[str, Forms]
"""File (without .json): name of a message: the forms that it was recorded in, as JSON values.

A message of a call is named by the call's path, so that classes may be renamed; any other by its class.
"""


def _modules() -> Iterator[Any]:
    for module in pkgutil.walk_packages(wire.__path__, f"{wire.__name__}."):
        yield importlib.import_module(module.name)


def declared() -> dict[str, dict[str, Kind]]:
    """File: name: class, of every message of a call, and of every other struct of `lockstep_store.wire`.

    Those that are only parts of others are recorded there; so are generic ones, which have no form of their own.
    """
    modules = list(_modules())
    calls = [value for module in modules for value in vars(module).values() if isinstance(value, Call)]
    kinds = {
        kind.__name__: kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
        if kind.__struct_fields__ and not getattr(kind, "__parameters__", ())
    }
    return {
        "requests": {call.path: call.request for call in calls},
        "replies": {call.path: call.reply for call in calls},
        "others": kinds,
    }


def _needed() -> dict[str, dict[str, Kind]]:
    """What is declared, without the structs that a call's messages are or contain."""
    found = declared()
    of_calls = {kind for file in ("requests", "replies") for kind in found[file].values()}
    inside = {
        struct.cls
        for kind in of_calls
        for struct, _ in examples.structs_in(inspect.type_info(kind), examples.full(kind))
    }
    return found | {"others": {name: kind for name, kind in found["others"].items() if kind not in inside}}


def load(folder: Path = FOLDER) -> Recorded:
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}


def with_today(recorded: Recorded) -> Recorded:
    """`recorded`, with today's forms of everything that is declared added to it; nothing is removed or changed."""
    result = copy.deepcopy(recorded)
    for file, kinds in _needed().items():
        for name, kind in kinds.items():
            forms = result.setdefault(file, {}).setdefault(name, [])
            for form in (examples.minimal(kind), examples.full(kind)):
                if form not in forms:
                    forms.append(form)
    return result


def no_longer_declared(recorded: Recorded) -> list[str]:
    """Recorded messages that no call and no class declares now."""
    known = declared()
    return [f"{file}: {name}" for file, forms in recorded.items() for name in forms if name not in known[file]]


def save(recorded: Recorded, folder: Path = FOLDER) -> None:
    """Return one line for each form."""
    for file, entries in recorded.items():
        lines = [
            f"{json.dumps(name)}: [\n  " + ",\n  ".join(json.dumps(form, sort_keys=True) for form in forms) + "\n ]"
            for name, forms in sorted(entries.items())
        ]
        (folder / f"{file}.json").write_text("{\n " + ",\n ".join(lines) + "\n}\n", "utf-8")


def faults(kind: Kind, form: Any) -> list[str]:
    """Why a program with today's `kind` would misread the message `form` of an older or a newer program."""
    try:
        decoded = decoder(kind).decode(encode(form))
    except msgspec.DecodeError as error:
        return [f"{kind.__name__} refuses {form}: {error}"]
    return [
        *_lost(form, json.loads(encode(decoded)), kind.__name__),
        *_refused(kind, _of_a_newer_version(kind, form), "a member that it does not know"),
        *(fault for older in _of_older_versions(kind, form) for fault in _refused(kind, older, "fewer members")),
    ]


def _lost(form: Any, read: Any, place: str) -> Iterator[str]:
    """Members whose recorded value was not taken over: renamed, removed or changed."""
    if isinstance(form, dict) and isinstance(read, dict):
        for name, value in form.items():
            if name in read:
                yield from _lost(value, read[name], f"{place}.{name}")
            elif value:  # values like the default are left out
                yield f"{place}.{name} is ignored"
    elif isinstance(form, list) and isinstance(read, list) and len(form) == len(read):
        for one, other in zip(form, read, strict=True):
            yield from _lost(one, other, f"{place}[]")
    elif form != read:
        yield f"{place} is read as {read!r}, not {form!r}"


def _refused(kind: Kind, form: Any, why: str) -> Iterator[str]:
    try:
        decoder(kind).decode(encode(form))
    except msgspec.DecodeError as error:
        yield f"{kind.__name__} refuses {why}: {error}"


def _of_a_newer_version(kind: Kind, form: Any) -> Any:
    newer = copy.deepcopy(form)
    for _, value in list(examples.structs_in(inspect.type_info(kind), newer)):
        value["member_of_a_newer_version"] = {"of": ["any", "shape"]}
    return newer


def _of_older_versions(kind: Kind, form: Any) -> Iterator[Any]:
    """`form` without one of the members that may be left out, wherever it has one."""
    type = inspect.type_info(kind)
    for index, (struct, value) in enumerate(examples.structs_in(type, form)):
        for field in struct.fields:
            if not field.required and field.encode_name in value:
                older = copy.deepcopy(form)
                _, place = list(examples.structs_in(type, older))[index]
                del place[field.encode_name]
                yield older
