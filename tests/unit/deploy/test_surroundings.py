"""What compose.surroundings.yaml names exists: services, ports, files, folders, options and accounts."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from tests import ROOT

FOLDER = ROOT / "deploy" / "docker"
PORTS = {"directory": 5050, "file-server-1": 5060, "file-server-2": 5060, "proxy-1": 5000}


def _yaml(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


BASE, OVERLAY = _yaml("compose.yaml"), _yaml("compose.surroundings.yaml")
NEW = {name: one for name, one in OVERLAY["services"].items() if name not in BASE["services"]}


def _mounts(service: str) -> dict[str, str]:
    """What is mounted: the volume, file or folder, by its place in the container."""
    places = {}
    for one in OVERLAY["services"][service].get("volumes", ()):
        source, target = (one["source"], one["target"]) if isinstance(one, dict) else one.split(":")[:2]
        places[target] = source
    for one in OVERLAY["services"][service].get("secrets", ()):
        name, target = (one["source"], one["target"]) if isinstance(one, dict) else (one, f"/run/secrets/{one}")
        places[target] = name
    return places


@pytest.mark.parametrize("service", NEW)
def test_a_service_is_closed_and_pinned(service: str) -> None:
    """Like those of compose.yaml, and each foreign image is of one version."""
    one = NEW[service]
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert one["image"] == "lockstep-store:local" or re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", one["image"])
    for port in one.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("service", OVERLAY["services"])
def test_what_a_service_needs_exists(service: str) -> None:
    """Files and folders in the checkout, volumes, secrets and services in one of the two files."""
    volumes = {**BASE["volumes"], **OVERLAY["volumes"]}
    secrets = {**BASE["secrets"], **OVERLAY["secrets"]}
    for target, source in _mounts(service).items():
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
        else:
            assert source in (secrets if source in secrets else volumes), f"{source} at {target}"
    services = {**BASE["services"], **OVERLAY["services"]}
    for other, need in OVERLAY["services"][service].get("depends_on", {}).items():
        waits_for_end = need["condition"] == "service_completed_successfully"
        assert waits_for_end == (services[other].get("restart") == "no"), other


def test_the_steps_at_the_top_make_every_secret() -> None:
    """Someone who follows them misses none."""
    head = (FOLDER / "compose.surroundings.yaml").read_text().partition("x-closed")[0]
    made = set(re.findall(r"> secrets/([\w.]+)", head))
    (names,) = re.findall(r"for name in ([\w ]+); do", head)
    assert {Path(one["file"]).name for one in OVERLAY["secrets"].values()} == (made | set(names.split())) - {"$name"}
    settings = dict(re.findall(r"(default_\w+) = (\w+|%s)", head))
    assert settings.keys() == {"default_user", "default_pass"}
    assert settings["default_user"] == NEW["prepare"]["environment"]["RABBITMQ_USER"]


def test_the_directory_finds_its_database() -> None:
    """The address names the service, the account and the database that PostgreSQL makes, with the password's file."""
    address = conninfo_to_dict(OVERLAY["services"]["directory"]["environment"]["LOCKSTEP_DIRECTORY_METADATA"])
    made = NEW["postgres"]["environment"]
    assert (address["host"], address["user"], address["dbname"]) == (
        "postgres",
        made["POSTGRES_USER"],
        made["POSTGRES_DB"],
    )
    assert str(address["passfile"]) in _mounts("directory")
    assert made["POSTGRES_PASSWORD_FILE"] in _mounts("postgres")
    assert "--locale=C" in made["POSTGRES_INITDB_ARGS"].split()
    head = (FOLDER / "compose.surroundings.yaml").read_text().partition("x-closed")[0]
    assert f"postgres:5432:{made['POSTGRES_DB']}:{made['POSTGRES_USER']}:" in head


def test_prometheus_asks_every_program_with_what_is_mounted() -> None:
    """By its name and port, with the certificate of a file server whose folder it gets, under the boards' job names."""
    configuration = _yaml("surroundings/prometheus.yml")
    mounts = _mounts("prometheus")
    targets: list[str] = []
    for job in configuration["scrape_configs"]:
        assert job["job_name"].startswith("lockstep")
        targets += [target for one in job["static_configs"] for target in one["targets"]]
        files = [*job["tls_config"].values(), *job.get("authorization", {}).values()]
        for file in files:
            place = "/" + PurePosixPath(file).parts[1]
            assert place in mounts, file
    assert sorted(targets) == sorted(f"{name}:{port}" for name, port in PORTS.items())
    assert PORTS.keys() == {name for name, one in BASE["services"].items() if "entrypoint" not in one}
    server = BASE["services"]["file-server-2"]
    assert f"{mounts['/certs']}:/var/lib/lockstep/certs" in server["volumes"]
    own = f"/certs/file_server-{server['environment']['LOCKSTEP_FILE_SERVER_ID']}/cert.pem"
    assert configuration["scrape_configs"][1]["tls_config"]["cert_file"] == own
    (rules,) = configuration["rule_files"]
    assert mounts[f"/etc/prometheus/{rules}"] == "../prometheus/alerts.yml"
    (stored,) = (word for word in NEW["prometheus"]["command"] if word.startswith("--storage.tsdb.path="))
    assert stored.partition("=")[2].startswith("/prometheus/")


def test_grafana_has_the_boards_and_their_data() -> None:
    """The folder with the boards, and a source of the kind that they choose from, at Prometheus's address."""
    mounts = _mounts("grafana")
    (provider,) = _yaml("surroundings/boards.yml")["providers"]
    assert mounts[provider["options"]["path"]] == "../grafana"
    boards = [json.loads(file.read_text()) for file in (FOLDER / "../grafana").glob("*.json")]
    assert len(boards) == len({board["uid"] for board in boards}) >= 6
    (source,) = _yaml("surroundings/datasources.yml")["datasources"]
    address = urlsplit(source["url"])
    assert (address.hostname, address.port, source["isDefault"]) == ("prometheus", 9090, True)
    kinds = {one["query"] for board in boards for one in board["templating"]["list"] if one["type"] == "datasource"}
    assert kinds == {source["type"]}
