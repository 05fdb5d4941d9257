"""The plan of a local cluster: ports, folders, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_cluster.actions import folder_for
from local_cluster.plan import ClusterSettings, Folder, plan_programs
from tests import ROOT


def test_the_default_cluster_has_the_documented_ports() -> None:
    """Without options: proxies 5000 and 5010, directory 5050, file servers 5060, 5070, 5080."""
    assert ClusterSettings().ports() == [
        ("directory_server", "1", 5050),
        ("file_server", "1", 5060),
        ("file_server", "2", 5070),
        ("file_server", "3", 5080),
        ("client_proxy", "1", 5000),
        ("client_proxy", "2", 5010),
    ]


def test_no_two_programs_share_a_port_in_a_cluster_of_any_size() -> None:
    """Proxies beyond the fifth come after the last file server, so ports never collide."""
    for proxies in (1, 5, 6, 64):
        for file_servers in (1, 2, 64):
            ports = [
                port for _, _, port in ClusterSettings(proxies=proxies, file_servers=file_servers, copies=1).ports()
            ]
            assert len(set(ports)) == len(ports)
    sixth = ClusterSettings(proxies=6).ports()[-1]
    assert sixth == ("client_proxy", "6", 5090)


def test_the_base_port_shifts_every_port() -> None:
    """--base-port moves all ports by the same amount."""
    shift = [
        new - old
        for (*_, new), (*_, old) in zip(ClusterSettings(base_port=7123).ports(), ClusterSettings().ports(), strict=True)
    ]
    assert set(shift) == {2123}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ClusterSettings(file_servers=1), "--copies 1"),
        (ClusterSettings(base_port=65500), "65535"),
        (ClusterSettings(host="0.0.0.0"), "--advertise"),
        (ClusterSettings(advertise="https://first:5000"), "without https:// and port"),
        (ClusterSettings(host="-x"), "is not the name or address of a machine"),
    ],
)
def test_an_impossible_cluster_is_refused_with_what_to_do(settings: ClusterSettings, words: str) -> None:
    """More copies than file servers, or ports above the last one, are refused before anything happens."""
    assert words in settings.fault()


def test_every_program_gets_its_own_folder_and_log(folder: Folder) -> None:
    """No two programs write to the same place, and everything is inside the data folder."""
    plans = plan_programs(ClusterSettings(), folder)
    places = [plan.data_dir for plan in plans] + [plan.log_file for plan in plans]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(folder.data) for place in places)


def test_only_the_default_cluster_uses_the_checkouts_certificates(tmp_path: Path) -> None:
    """Another --data has its own trust in DIR/certs, so that clusters cannot be mistaken for one another."""
    assert folder_for(None) == Folder(ROOT / ".cluster", ROOT / "certs")
    assert folder_for(ROOT / ".cluster").certs_dir == ROOT / "certs"
    assert folder_for(tmp_path).certs_dir == tmp_path / "certs"


def test_json_logs_and_captured_output_reach_every_program(folder: Folder) -> None:
    """The format is part of the command; the file is not, so that the command by hand logs to the terminal."""
    for plan in plan_programs(ClusterSettings(log_format="json"), folder):
        assert plan.command[-2:] == ("--log-format", "json")
        assert str(plan.log_file) not in plan.command
        assert list(plan.environment.values()) == [str(plan.log_file)]
    assert not any("--log-format" in plan.command for plan in plan_programs(ClusterSettings(), folder))


@pytest.mark.parametrize(("name", "in_url"), [("first.example.org", "first.example.org"), ("fd00::1", "[fd00::1]")])
def test_every_program_is_told_the_name_for_other_machines(folder: Folder, name: str, in_url: str) -> None:
    """It listens on every network, its certificate has the name, and the others are sent to the name."""
    settings = ClusterSettings(host="0.0.0.0", advertise=name)
    assert settings.fault() == ""
    for plan in plan_programs(settings, folder):
        words = list(plan.command)
        assert words[words.index("--host") + 1] == "0.0.0.0"
        option = (
            ("--name", name) if plan.program == "client_proxy" else ("--advertise", f"https://{in_url}:{plan.port}")
        )
        assert words[words.index(option[0]) + 1] == option[1]
        assert plan.url == f"https://{in_url}:{plan.port}"
        if plan.program != "directory_server":
            assert words[words.index("--directory") + 1] == f"https://{in_url}:5050"


def test_only_the_directory_is_told_of_the_metadatas_database(folder: Folder) -> None:
    for plan in plan_programs(ClusterSettings(metadata="postgresql:///name"), folder):
        assert ("postgresql:///name" in plan.command) == (plan.program == "directory_server")
    assert not any("--metadata" in plan.command for plan in plan_programs(ClusterSettings(), folder))
