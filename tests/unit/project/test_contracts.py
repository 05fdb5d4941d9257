"""The import contracts of setup.cfg hold, and each of them notices the import that it forbids.

A contract with a misspelt module or an exception too many passes for ever; so every one is shown a graph with one
forbidden import added, and has to be the one that fails.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import grimp
import pytest
from importlinter import Contract
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

from tests import ROOT

KINDS: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "independence": IndependenceContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}
CONFIGURATION = read_configuration(str(ROOT / "setup.cfg"))
OPTIONS = {options["id"]: options for options in CONFIGURATION["contracts_options"]}
PACKAGES = CONFIGURATION["session_options"]["root_packages"]

PLANTED = {
    "programs": [("file_server.api", "directory_server.api"), ("local_cluster.plan", "client_proxy.settings")],
    "shared": [
        ("lockstep_store.client.api", "client_proxy.file_store"),
        ("lockstep_store.runtime.http.api", "local_cluster.plan"),
    ],
    "house": [
        ("lockstep_store.wire.digest", "lockstep_store.runtime.clock"),
        ("lockstep_store.wire.codec", "lockstep_store.client.api"),
        ("lockstep_store.runtime.jobs", "lockstep_store.client.api"),
    ],
    "wire": [
        ("lockstep_store.wire.codec", module)
        for module in ("socket", "ssl", "threading", "time", "os", "http", "requests", "flask", "sqlite3")
    ],
    "packages": [
        ("file_server.store.local.chunk_store", "file_server.maintenance.scrubber"),
        ("client_proxy.core.blob_writer", "client_proxy.encryption.decrypted_files"),
        ("client_proxy.doors.s3.protocol.replies", "client_proxy.doors.s3.objects.tagging"),
    ],
    "doors": [
        ("client_proxy.doors.rest.files", "client_proxy.doors.s3.door"),
        ("client_proxy.doors.s3.door", "client_proxy.doors.rest.files"),
        ("client_proxy.doors.shares.door", "client_proxy.doors.rest.files"),
        ("client_proxy.doors.console.door", "client_proxy.doors.rest.reply"),
    ],
    "proxy_layers": [
        ("client_proxy.doors.s3.door", "client_proxy.settings"),
        ("client_proxy.file_store", "client_proxy.doors.rest.files"),
        ("client_proxy.core.cache", "client_proxy.settings"),
        ("client_proxy.core.blob_writer", "client_proxy.encryption.named_keys"),
        ("client_proxy.encryption.named_keys", "client_proxy.doors.s3.door"),
    ],
    "proxy_store": [("client_proxy.doors.rest.files", "client_proxy.file_store")],
    "client": [
        ("client_proxy.doors.rest.files", "lockstep_store.client.client"),
        ("file_server.bootstrap", "lockstep_store.client.api.files"),
    ],
    "engines": [
        ("file_server.writes.stream_write_handler", "file_server.store.local.staging"),
        ("file_server.maintenance.scrubber", "file_server.store.local.chunk_store"),
        ("file_server.api", "file_server.store.local.chunk_store"),
        ("file_server.store.chunk_store", "file_server.store.local.chunk_index"),
    ],
    "directory_layers": [
        ("directory_server.files.versions", "directory_server.features.object_lock"),
        ("directory_server.locks.lock_rules", "directory_server.files.versions"),
        ("directory_server.access.decisions", "directory_server.files.hooks"),
        ("directory_server.metadata.store", "directory_server.people.person"),
        ("directory_server.repair.planner", "directory_server.features.object_lock"),
        ("directory_server.features.object_lock", "directory_server.api.router"),
    ],
    "directory_features": [
        ("directory_server.features.uploads.steps", "directory_server.features.object_lock"),
        ("directory_server.features.lifecycle.job", "directory_server.features.uploads.calls"),
    ],
    "directory_engines": [
        ("directory_server.files.versions", "directory_server.metadata.engines.sqlite.store"),
        ("directory_server.maintenance.fsck", "directory_server.metadata.engines.sqlite.backup"),
        ("directory_server.metadata.statement", "directory_server.metadata.engines.sqlite.errors"),
    ],
}
"""Contract: imports (from, to) that break it."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import of the tree: also inside functions and under TYPE_CHECKING."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def _keeps(graph: grimp.ImportGraph, id: str) -> bool:
    options = dict(OPTIONS[id])
    kind = KINDS[options.pop("type")]
    contract = kind(options["name"], CONFIGURATION["session_options"], options)
    contract.validate()
    return contract.check(copy.deepcopy(graph), verbose=False).kept


def _with_import(graph: grimp.ImportGraph, importer: str, imported: str) -> grimp.ImportGraph:
    changed = copy.deepcopy(graph)
    assert importer in changed.modules, f"{importer} has moved: plant the import elsewhere"
    if imported not in changed.modules:
        assert "." not in imported, f"{imported} has moved: plant another import"
        changed.add_module(imported, is_squashed=True)
    changed.add_import(importer=importer, imported=imported)
    return changed


@pytest.mark.parametrize("id", OPTIONS)
def test_every_contract_holds_and_notices_what_it_forbids(graph: grimp.ImportGraph, id: str) -> None:
    """The contract is kept by the tree as it is, and broken by each import planted against it."""
    assert _keeps(graph, id)
    assert PLANTED.get(id), f"plant a violation of the contract {id!r}"
    for importer, imported in PLANTED[id]:
        assert not _keeps(_with_import(graph, importer, imported), id), f"{id} allows {importer} -> {imported}"


def _reachable(graph: grimp.ImportGraph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for module in graph.find_modules_directly_imported_by(waiting.pop()) - found:
            found.add(module)
            waiting.append(module)
    return found


def _cycles(graph: grimp.ImportGraph) -> Iterator[tuple[str, ...]]:
    """Each largest set of modules that all reach one another, sorted."""
    reachable = {module: _reachable(graph, module) for module in graph.modules if module.startswith(tuple(PACKAGES))}
    seen: set[str] = set()
    for module, others in sorted(reachable.items()):
        if module in others and module not in seen:
            cycle = {other for other in others if module in reachable.get(other, ())}
            seen |= cycle
            yield tuple(sorted(cycle))


def test_no_modules_import_each_other(graph: grimp.ImportGraph) -> None:
    """Of two modules that need each other neither can be read, tested or moved alone."""
    assert set(_cycles(graph)) == set()


def test_a_planted_cycle_is_found(graph: grimp.ImportGraph) -> None:
    """A detour over a third module counts, and only the modules of the cycle are named."""
    changed = _with_import(graph, "lockstep_store.wire.errors", "lockstep_store.wire.codec")
    found = set(_cycles(changed)) - set(_cycles(graph))
    assert found == {("lockstep_store.wire.codec", "lockstep_store.wire.digest", "lockstep_store.wire.errors")}
