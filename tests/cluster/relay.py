"""A TCP relay that stands between the programs of a test cluster and can lose what one of them says to another.

It listens once for every program that others call, and finds out at each connection which program is calling, by the
process that owns the other end. So every ordered pair of programs can be cut by itself: what `a` says to `b` stays
here (and comes late, or never, as on a real network), while what `b` says to `a` still arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, TypeVar

BLOCK_BYTES = 64 * 1024
OUTSIDE = "outside"
"""The name of a caller that is none of the cluster's programs, such as the test itself."""

Healing = Literal["late", "never"]
"""What becomes of connections that lost something: their bytes arrive late, or they are reset."""

T = TypeVar("T")
Pair = tuple[str, str]


class Relay:
    """Programs are known by names like "file_server-1". `processes()` gives the process id of each, as it is now.

    Thread-safe. Use it as a context manager; every connection is reset at its end.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut: set[Pair] = set()
        self._refused: set[Pair] = set()
        self._changed = asyncio.Event()
        self.carried: dict[Pair, int] = {}
        """Bytes that reached the other side, by ordered pair."""
        self.held_back = 0
        """Times that bytes had to wait because of a cut."""

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self, name: str, host: str, port: int) -> int:
        """Stand in front of the program `name`, which listens on `host`:`port`; the port to call it by."""

        async def start() -> int:
            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = self._loop.create_task(self._serve(name, host, port, reader, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

            server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=BLOCK_BYTES)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self._run(start())

    def cut(self, sender: str, receiver: str, *, refuse: bool = False) -> None:
        """Lose what `sender` says to `receiver` from now on, on connections of either, new ones included.

        With `refuse`, connections that `sender` makes to `receiver` are reset at once instead of hanging.
        """

        async def change() -> None:
            self._cut.add((sender, receiver))
            if refuse:
                self._refused.add((sender, receiver))

        self._run(change())

    def heal(self, healing: Healing = "late") -> None:
        """Lose nothing any more."""

        async def change() -> None:
            if healing == "never":
                for link in [link for link in self._links if link.pair in self._cut or link.pair[::-1] in self._cut]:
                    link.reset()
            self._cut.clear()
            self._refused.clear()
            self._changed.set()
            self._changed = asyncio.Event()

        self._run(change())

    # ------------------------------------------------------------ inside the loop

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(30)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, name: str, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        caller = caller_of(writer.get_extra_info("socket"), self._processes())
        link = _Link((caller, name), writer)
        if (caller, name) in self._refused:
            link.reset()
            return
        self._links.add(link)
        try:
            target_reader, target = await asyncio.open_connection(host, port, limit=BLOCK_BYTES)
            link.writers.append(target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(caller, name, reader, target))
                pumps.create_task(self._pump(name, caller, target_reader, writer))
        except* OSError:
            pass  # one side is gone, so the other learns it below
        finally:
            link.reset()
            self._links.discard(link)

    async def _pump(
        self, sender: str, receiver: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            data = await reader.read(BLOCK_BYTES)
            if (sender, receiver) in self._cut:
                self.held_back += 1
                while (sender, receiver) in self._cut:
                    await self._changed.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            self.carried[sender, receiver] = self.carried.get((sender, receiver), 0) + len(data)
            await writer.drain()


class _Link:
    """One relayed connection: who called whom, and both its sockets."""

    def __init__(self, pair: Pair, writer: asyncio.StreamWriter) -> None:
        self.pair = pair
        self.writers = [writer]

    def reset(self) -> None:
        """End it as a network does that lost track of it: nobody is told that all is well."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def caller_of(connection: socket.socket, processes: Mapping[str, int]) -> str:
    """Which of `processes` has the other end of `connection`, a TCP connection within this machine."""
    own_port, other_port = connection.getsockname()[1], connection.getpeername()[1]
    inode = _inode(other_port, own_port)
    if inode:
        wanted = f"socket:[{inode}]"
        for name, pid in processes.items():
            with contextlib.suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if str(descriptor.readlink()) == wanted:
                            return name
    return OUTSIDE


def _inode(local_port: int, remote_port: int) -> str:
    """The inode of the IPv4 socket with these ports, from the kernel's table."""
    local, remote = f":{local_port:04X}", f":{remote_port:04X}"
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(local) and fields[2].endswith(remote):
            return fields[9]
    return ""
