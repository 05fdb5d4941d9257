"""`import lockstep_store`: light, without side effects, and everything it promises is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lockstep_store
from tests import ROOT


def _in_a_new_interpreter(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_the_package_loads_nothing_else() -> None:
    """The import costs nothing that is not used: no other module of ours, no HTTP library, no thread."""
    code = (
        "import sys, threading; before = set(sys.modules); import lockstep_store; "
        "new = set(sys.modules) - before; "
        "print(sorted(name for name in new if name.partition('.')[0] not in sys.stdlib_module_names)); "
        "print(threading.active_count())"
    )
    assert _in_a_new_interpreter(code) == "['lockstep_store']\n1\n"


def test_the_client_loads_no_server_and_no_command_line() -> None:
    """The library needs neither a program's code, nor Flask, nor what only a terminal needs."""
    code = (
        "import sys, lockstep_store; lockstep_store.connect; "
        "print(sorted(set(sys.modules) & {'flask', 'rich', 'granian', 'sqlalchemy', 'botocore', 'OpenSSL', "
        "'client_proxy', 'directory_server', 'file_server', 'local_cluster', 'lockstep_store.client.cli', "
        "'lockstep_store.client.menu', 'lockstep_store.client.text'}))"
    )
    assert _in_a_new_interpreter(code) == "[]\n"


@pytest.mark.parametrize("name", lockstep_store.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each promised name is a documented class or function of the name it is exported under."""
    value = getattr(lockstep_store, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(lockstep_store)


def test_an_unknown_name_is_an_ordinary_attribute_error() -> None:
    """Tools that probe for attributes get the answer that they understand."""
    with pytest.raises(AttributeError, match="nothing"):
        lockstep_store.nothing  # noqa: B018
