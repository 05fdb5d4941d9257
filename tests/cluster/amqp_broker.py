"""A real AMQP broker in a folder of its own, with TLS and without, gone when the test is."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

# Not the command in the PATH, which insists on a user and folders of the whole machine.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 150.0
STOP_SECONDS = 60.0


class Broker:
    """RabbitMQ, started anew with an empty memory. `ca_file` vouches for its certificate."""

    def __init__(self, folder: Path) -> None:
        if not PROGRAM.exists():
            pytest.skip("rabbitmq-server is not installed (.ci/run installs it)")
        self._folder = folder
        ensure_authority(folder / "certs")
        identity = ensure_identity(folder / "certs", "client_proxy", "broker", ["127.0.0.1"])
        self.ca_file = identity.ca_file
        self.port, self.tls_port, node_port, self._epmd_port = lasting_ports(4)
        (folder / "plugins").write_text("[].")
        (folder / "broker.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {identity.ca_file}\n"
            f"ssl_options.certfile = {identity.cert_file}\n"
            f"ssl_options.keyfile = {identity.key_file}\n"
            "ssl_options.verify = verify_none\n"
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"lockstep-{node_port}@localhost",
            "RABBITMQ_DIST_PORT": str(node_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "broker.conf"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_START_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It takes messages on return."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self._answers, START_SECONDS, "the broker's answer")

    def stop(self) -> None:
        """End it and what it started. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # It leaves the daemon that knows its name; ours has a port of its own.
        kill = ["epmd", "-port", str(self._epmd_port), "-kill"]
        subprocess.run(kill, env=self._environment, capture_output=True, check=False, timeout=STOP_SECONDS)

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of the test's own."""
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "output").read_text("utf-8", "replace")[-2000:]
        try:
            with self.channel(), socket.create_connection(("127.0.0.1", self.tls_port), timeout=5.0):
                return True
        except (pika.exceptions.AMQPError, OSError):
            return False
