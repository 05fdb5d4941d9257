"""Records of programs, and a progress display that only remembers."""

from __future__ import annotations

from local_cluster.records import (
    RunRecord,
)


class Silent:
    """A progress display that only remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def healthy(self, name: str) -> None:
        self.names.append(name)

    def sick(self, name: str, fault: str) -> None:
        self.names.append(f"{name}: {fault}")

    def tick(self, faults: dict[str, str]) -> None:
        pass


def record_of(pid: int, mark: str, id: str) -> RunRecord:
    return RunRecord("file_server", id, "https://127.0.0.1:1", pid, "/nowhere", "/nowhere.log", mark=mark)
