"""Makes what the surroundings need of the cluster: Prometheus's API key, a queue, and the target `rabbitmq`.

Safe to repeat: a key that is there stays, and so do the queue and the target.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import pika

from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.client import Client
from lockstep_store.wire.errors import Conflict

ACCOUNT = "prometheus"
QUEUE = "lockstep"


def client(credential: str = "") -> Client:
    return Client(ApiTransport(os.environ["LOCKSTEP_URL"], Path(os.environ["LOCKSTEP_CA"]), credential))


def make_key(admin: Client, file: Path) -> None:
    """Store an API key of a read-only account. Nobody knows the account's password afterwards."""
    if file.exists():
        return
    try:
        one_time = admin.create_user(ACCOUNT, "read-only").password
    except Conflict:
        one_time = admin.reset_password(ACCOUNT).password
    with client() as person:
        person.change_password(ACCOUNT, one_time, secrets.token_urlsafe(32))
        key = person.create_key(ACCOUNT).key
    partial = file.with_suffix(".partial")
    partial.write_text(key)
    partial.chmod(0o600)
    partial.replace(file)


def make_target(admin: Client, broker: str) -> None:
    """Declare the queue, and add the broker as a target, for its virtual host `/`."""
    with pika.BlockingConnection(pika.URLParameters(f"{broker}/%2F")) as connection:
        connection.channel().queue_declare(QUEUE, durable=True)
    admin.add_target("rabbitmq", f"{broker}/?routing_key={QUEUE}")


def main() -> None:
    api_key = json.loads(Path(os.environ["LOCKSTEP_ADMIN_CREDENTIALS"]).read_text())["api_key"]
    password = Path(os.environ["RABBITMQ_PASSWORD_FILE"]).read_text().strip()
    with client(api_key) as admin:
        make_key(admin, Path(os.environ["PROMETHEUS_FOLDER"]) / "api-key")
        make_target(admin, f"amqp://{os.environ['RABBITMQ_USER']}:{password}@{os.environ['RABBITMQ_ADDRESS']}")


if __name__ == "__main__":
    main()
