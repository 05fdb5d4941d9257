"""What is not Python in the packages is in the wheel, too."""

from __future__ import annotations

import configparser
from pathlib import Path

from tests import ROOT

PACKAGES = ("lockstep_store", "directory_server", "file_server", "client_proxy", "local_cluster")


def test_every_file_of_the_packages_is_declared() -> None:
    """A page, a help text or a template that setup.cfg does not name would be missing on every installed machine."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    declared: set[Path] = set()
    for package, patterns in configuration["options.package_data"].items():
        folder = ROOT.joinpath(*package.split("."))
        for pattern in patterns.split(","):
            found = {path for path in folder.glob(pattern.strip()) if path.is_file()}
            assert found, f"{package}: nothing matches {pattern}"
            declared |= found
    others = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "py.typed"
    }
    assert others <= declared, sorted(str(path.relative_to(ROOT)) for path in others - declared)
    modules = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    outside = {path for path in modules if not (path.parent / "__init__.py").exists()}
    assert outside <= declared, sorted(str(path.relative_to(ROOT)) for path in outside - declared)
