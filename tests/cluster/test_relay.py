"""The relay loses what it is told to lose, in that direction only: otherwise the tests with it would prove nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.cluster.relay import OUTSIDE, Relay

CALLER, SERVER = "client_proxy-1", "file_server-1"


class Line:
    """One connection through a relay: what either end sends, and what the other has heard."""

    def __init__(self, relay: Relay, caller: socket.socket, server: socket.socket) -> None:
        self.relay, self.caller, self.server = relay, caller, server

    def heard(self, at: socket.socket, seconds: float) -> bytes:
        """The next bytes at one end; none when nothing comes in time."""
        at.settimeout(seconds)
        try:
            return at.recv(100)
        except TimeoutError:
            return b""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay for which this very process is the caller."""
    with Relay(lambda: {CALLER: os.getpid()}) as relay:
        yield relay


@pytest.fixture
def line(relay: Relay, listener: socket.socket) -> Iterator[Line]:
    port = relay.listen(SERVER, *listener.getsockname())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        server, _ = listener.accept()
        with server:
            line = Line(relay, caller, server)
            caller.sendall(b"hello")
            assert line.heard(server, 10) == b"hello"
            yield line


def test_a_cut_loses_one_direction_until_it_is_healed(line: Line) -> None:
    """What the caller says waits, what it is told arrives; afterwards everything arrives, late and in order."""
    line.relay.cut(CALLER, SERVER)
    line.caller.sendall(b"one ")
    line.server.sendall(b"back")
    assert line.heard(line.caller, 10) == b"back"
    assert line.heard(line.server, 0.2) == b""
    line.caller.sendall(b"two")
    line.relay.heal("late")
    heard = line.heard(line.server, 10)
    while heard != b"one two":
        heard += line.heard(line.server, 10)
    assert line.relay.held_back == 1


def test_the_other_direction_can_be_cut_too(line: Line) -> None:
    """Cuts are of ordered pairs: the answer is lost, the question is not."""
    line.relay.cut(SERVER, CALLER)
    line.caller.sendall(b"question")
    assert line.heard(line.server, 10) == b"question"
    line.server.sendall(b"answer")
    assert line.heard(line.caller, 0.2) == b""
    line.relay.heal("late")
    assert line.heard(line.caller, 10) == b"answer"


def test_what_was_lost_for_ever_ends_the_connection_with_an_error(line: Line) -> None:
    """After such a healing nobody takes the connection for whole: both ends are reset."""
    line.relay.cut(CALLER, SERVER)
    line.caller.sendall(b"lost")
    line.relay.heal("never")
    for end in (line.server, line.caller):
        with pytest.raises(ConnectionResetError):
            line.heard(end, 10)


def test_new_connections_hang_or_are_refused_while_cut(relay: Relay, listener: socket.socket) -> None:
    """A silent cut takes connections and gives nothing; with `refuse` they are reset at once."""
    port = relay.listen(SERVER, *listener.getsockname())
    relay.cut(CALLER, SERVER)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(b"anyone there?")
        server, _ = listener.accept()
        with server:
            assert Line(relay, caller, server).heard(server, 0.2) == b""
    relay.cut(CALLER, SERVER, refuse=True)
    with (
        pytest.raises(ConnectionResetError),  # which may already meet the caller while it connects
        socket.create_connection(("127.0.0.1", port), timeout=10) as caller,
    ):
        Line(relay, caller, caller).heard(caller, 10)


def test_a_caller_that_is_no_program_is_outside(listener: socket.socket) -> None:
    """Cuts between programs leave everyone else's connections alone."""
    with Relay(dict) as relay:
        port = relay.listen(SERVER, *listener.getsockname())
        relay.cut(CALLER, SERVER)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            server, _ = listener.accept()
            with server:
                caller.sendall(b"hello")
                assert Line(relay, caller, server).heard(server, 10) == b"hello"
        wait = threading.Event()
        while (OUTSIDE, SERVER) not in relay.carried:
            wait.wait(0.01)
        assert relay.carried[OUTSIDE, SERVER] == 5
