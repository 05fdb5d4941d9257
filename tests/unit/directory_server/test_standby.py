"""A directory server that stands by: what it answers, and when it stops waiting."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.store import InUse, MetadataStore
from directory_server.serving import _showing_life, serve
from directory_server.settings import Settings
from directory_server.standby import Standby
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import SetupError, StandingBy
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.buckets import BUCKETS
from tests.unit.runtime.http.test_service import free_port
from tests.waiting import wait_until

ACTIVE = "https://first.example:5050"


class Turns:
    """It is this one's turn after so many looks; `during` is called in each."""

    def __init__(self, looks: int) -> None:
        self.active, self.problem = ACTIVE, ""
        self.looks = looks
        self.during: Any = lambda: None
        self.closed = False

    def is_my_turn(self) -> bool:
        self.looks -= 1
        self.during()
        return self.looks <= 0

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def asked(waiting: Standby, path: str, status: list[str] | None = None) -> dict[str, Any]:
    """What a standby answers, whose status is added to `status`."""
    told = status if status is not None else []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
    answer: dict[str, Any] = json.loads(b"".join(waiting.wsgi(environ, lambda line, _: told.append(line))))
    return answer


def test_it_refuses_every_call_and_takes_over_at_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another standby is faster the first time, and PostgreSQL fails the second time."""
    monkeypatch.setattr("directory_server.standby.LOOK_SECONDS", 0.01)
    ensure_authority(tmp_path)
    settings = Settings(id="2", port=free_port(), certs=tmp_path)
    turns = Turns(2)
    waiting = Standby(settings, ensure_identity(tmp_path, "directory_server", "2"), turns)
    client = PeerClient(ensure_identity(tmp_path, "client_proxy", "1"), directory=settings.url)
    health: list[dict[str, Any]] = []

    def during() -> None:
        with pytest.raises(StandingBy, match=f"this directory server stands by; {ACTIVE} is active"):
            client.call(settings.url, BUCKETS, CredentialRequest("key"))
        health.append(asked(waiting, "/health"))

    turns.during = during
    stores: list[MetadataStore] = []

    def take() -> MetadataStore:
        if turns.looks == 0:
            raise InUse("another one was faster")
        if turns.looks == -1:
            raise SetupError("PostgreSQL is being stopped")
        stores.append(SqliteStore(tmp_path / "metadata.db"))
        return stores[-1]

    store = waiting.wait(take)
    client.close()
    assert stores == [store]
    store.close()
    assert turns.closed
    assert turns.looks == -2
    assert [one.get("problems", []) for one in health] == [[], [], [], ["PostgreSQL is being stopped"]]
    assert health[0]["healthy"]
    assert (health[0]["id"], health[0]["facts"]) == ("2", {"standing_by": True, "active": ACTIVE})


def test_one_that_could_not_take_over_is_not_healthy(tmp_path: Path) -> None:
    ensure_authority(tmp_path)
    turns = Turns(1)
    turns.active, turns.problem = "", "PostgreSQL cannot be reached"
    waiting = Standby(Settings(certs=tmp_path), ensure_identity(tmp_path, "directory_server", "1"), turns)
    status: list[str] = []
    assert asked(waiting, "/health", status)["problems"] == ["PostgreSQL cannot be reached"]
    assert status == ["503 -"]
    assert "which one is active is not known" in asked(waiting, "/v1/x")["detail"]


def test_one_that_is_being_built_shows_that_it_works() -> None:
    """To those who stand by: building reads much of the metadata."""

    class Store:
        checks = 0

        def check_some(self) -> float:
            self.checks += 1
            return 0.001

    store = Store()
    with _showing_life(cast("MetadataStore", store)):
        wait_until(lambda: store.checks > 1, what="two checks")


def test_one_without_the_clusters_keys_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make an authority of its own, and split the cluster."""

    def in_use(*_: object, **__: object) -> MetadataStore:
        raise InUse("another directory server uses this database")

    monkeypatch.setattr("directory_server.serving.open_metadata", in_use)
    settings = Settings(data=tmp_path / "data", certs=tmp_path / "certs")
    with pytest.raises(SetupError, match="copy the folder of its --certs"):
        serve(settings)
    assert not (tmp_path / "certs" / "authority").exists()
