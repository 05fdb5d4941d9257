"""A class name stands for one thing in the whole tree, so that a search for it finds that thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests import ROOT

PACKAGES = ("lockstep_store", "client_proxy", "directory_server", "file_server", "local_cluster", "benchmarks")

SHARED = {
    "Settings": (
        "one for each program, with its options: only the program's own bootstrap and entry point read it",
        {"client_proxy/settings.py", "directory_server/settings.py", "file_server/settings.py"},
    ),
}
"""Names that several modules may use: the reason, and exactly these modules."""


def _public_classes(root: Path) -> dict[str, list[str]]:
    """Each public top-level class and the files that define it."""
    found = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.parse(file.read_bytes()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(root)))
    return found


def _ambiguous(classes: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: files
        for name, files in classes.items()
        if len(files) > 1 and (name not in SHARED or set(files) != SHARED[name][1])
    }


def test_a_class_name_stands_for_one_thing() -> None:
    """No two modules define public classes of the same name, apart from the exceptions, which all still exist."""
    classes = _public_classes(ROOT)
    assert _ambiguous(classes) == {}
    assert {name: set(classes[name]) for name in SHARED} == {name: files for name, (_, files) in SHARED.items()}


def test_a_second_class_of_a_name_is_found(tmp_path: Path) -> None:
    """Also one more of an excepted name, and in another program; a private class is its module's own business."""
    for file, text in {
        "file_server/store/shelf.py": "class Shelf: ...\nclass _Row: ...\n",
        "client_proxy/shelf.py": "class Shelf: ...\nclass _Row: ...\nclass Other: ...\n",
        **{file: "class Settings: ...\n" for file in SHARED["Settings"][1]},
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    shelves = ["client_proxy/shelf.py", "file_server/store/shelf.py"]
    assert _ambiguous(_public_classes(tmp_path)) == {"Shelf": shelves}
    (tmp_path / "local_cluster").mkdir()
    (tmp_path / "local_cluster" / "plan.py").write_text("class Settings: ...\n")
    assert sorted(_ambiguous(_public_classes(tmp_path))) == ["Settings", "Shelf"]
