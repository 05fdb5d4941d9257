from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from client_proxy import bootstrap
from client_proxy.bootstrap import Proxy, build, serve_with_menu
from client_proxy.health import HealthCheck
from client_proxy.settings import Settings, from_options, proxy_options
from lockstep_store.runtime.tls.contexts import handshake_info
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity, renew
from lockstep_store.wire.errors import PeerUnreachable, SetupError
from tests.fakes.lasting_ports import lasting_ports
from tests.fakes.network import DIRECTORY_URL
from tests.fakes.proxy_rig import proxy_rig
from tests.waiting import wait_until


def settings_of(*arguments: str, env: dict[str, str] | None = None) -> Settings:
    """The settings that a command line and environment give; raises what click would tell a person."""
    seen: list[Settings] = []

    @click.command()
    @proxy_options
    def command(**options: Any) -> None:
        seen.append(from_options(**options))

    result = CliRunner().invoke(command, arguments, env=env, standalone_mode=False)
    if result.exception:
        raise result.exception
    return seen[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ensure_authority(tmp_path / "certs")
    return tmp_path


@pytest.fixture
def proxies(folder: Path) -> Iterator[list[Proxy]]:
    made: list[Proxy] = []
    yield made
    for proxy in made:
        proxy.close()


def start(folder: Path, *more: str) -> Proxy:
    return build(settings_of("--data", str(folder / "data"), "--certs", str(folder / "certs"), *more))


def test_options_and_variables_say_the_same_things() -> None:
    """Every setting can come from the command line or from its variable, and the command line wins."""
    env = {"LOCKSTEP_PROXY_PORT": "6000", "LOCKSTEP_PROXY_CACHE_BYTES": "1.5GiB", "LOCKSTEP_PROXY_ID": "7"}
    with pytest.raises(click.BadParameter, match="not a size"):
        settings_of(env=env)
    settings = settings_of("--port", "6001", env=env | {"LOCKSTEP_PROXY_CACHE_BYTES": "3 GiB"})
    assert (settings.port, settings.cache_bytes, settings.id) == (6001, 3 * 1024**3, "7")
    assert settings.data_dir == Path(".cluster/client_proxy-7")
    assert not settings.menu


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("10k", 10_000), ("2MB", 2_000_000), ("1TiB", 1 << 40)]
)
def test_sizes_are_understood_with_their_units(text: str, size: int) -> None:
    """Decimal and binary units mean what they say."""
    assert settings_of("--cache-bytes", text).cache_bytes == size


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1", "::1", "proxy.example"])
def test_the_url_is_one_that_a_client_here_can_use(host: str) -> None:
    """An address that means every network is not one that can be called."""
    url = settings_of("--host", host).url
    assert (
        url
        == {
            "0.0.0.0": "https://127.0.0.1:5000",
            "::": "https://[::1]:5000",
            "127.0.0.1": "https://127.0.0.1:5000",
            "::1": "https://[::1]:5000",
            "proxy.example": "https://proxy.example:5000",
        }[host]
    )


def test_settings_that_do_not_fit_together_are_refused(folder: Path) -> None:
    """Half a certificate, a menu that could not trust its own proxy, a port for balancers whom nobody named."""
    file = str(folder / "certs" / "ca.pem")
    for arguments in (
        ["--tls-cert", file],
        ["--directory", "http://127.0.0.1:5050"],
        ["--menu", "--tls-cert", file, "--tls-key", file],
        ["--proxy-protocol-port", "5443"],
        ["--proxy-protocol-port", "5443", "--trusted-proxy", "10.0.0.7", "--port", "5443"],
    ):
        with pytest.raises(click.UsageError):
            settings_of(*arguments)


def test_a_certificate_without_its_key_stops_the_start(folder: Path) -> None:
    """A pair that cannot serve is found at start, in one sentence."""
    file = str(folder / "certs" / "ca.pem")
    with pytest.raises(SetupError, match="cannot be used together"):
        start(folder, "--tls-cert", file, "--tls-key", file)


def test_two_proxies_never_share_a_data_folder(folder: Path, proxies: list[Proxy]) -> None:
    """The second is told so; once the first has stopped, the folder is free."""
    proxies.append(start(folder))
    with pytest.raises(SetupError, match=rf"another client proxy \(process {os.getpid()}\) is using"):
        start(folder, "--id", "2")
    proxies.pop().close()
    proxies.append(start(folder, "--id", "2"))


def test_broken_cache_keys_cost_the_cache_and_not_the_start(folder: Path, proxies: list[Proxy]) -> None:
    """The cache is disposable, so a proxy whose cache keys are damaged starts with an empty one."""
    (folder / "data").mkdir()
    (folder / "data" / "cache-keys.json").write_text("{")
    proxies.append(start(folder))
    assert (folder / "data" / "cache-keys.json").read_text() != "{"


def test_a_proxy_without_its_directory_is_not_healthy(tmp_path: Path) -> None:
    """Health says what is missing, and recovers by itself within a second."""
    with proxy_rig(tmp_path) as rig:
        check = HealthCheck("1", rig.network, DIRECTORY_URL, rig.cache, monotonic=rig.clock.monotonic)
        assert check().healthy
        rig.directory.down = True
        rig.clock.advance(1.5)
        assert check().problems == ["the directory server is unreachable: refused the connection"]
        rig.directory.down = False
        assert not check().healthy  # remembered for a moment, so that monitors do not hammer the directory
        rig.clock.advance(0.25)
        health = check()
        assert health.healthy
        assert health.facts["cache_writable"] is True


def test_a_proxy_with_a_menu_shows_a_renewed_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may leave the menu open for months; the certificate is renewed meanwhile, and must be shown too."""
    monkeypatch.setattr(bootstrap, "CERTIFICATE_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(bootstrap, "setup_logging", lambda *_: None)
    monkeypatch.setattr(bootstrap.log, "handlers", [])  # pytest has its own there once a test has set up the log
    monkeypatch.setattr(bootstrap.signal, "signal", lambda *_: None)
    port = lasting_ports(1)[0]
    certs = folder / "certs"
    options = ("--data", str(folder / "data"), "--certs", str(certs), "--port", str(port), "--menu")

    def menu(url: str, ca_file: Path) -> int:
        def shown() -> str:
            return handshake_info("127.0.0.1", port, ca_file, timeout_seconds=60).certificate.fingerprint

        def is_new() -> bool:
            try:
                return shown() != first
            except PeerUnreachable:  # the old listener closes connections that have sent nothing yet
                return False

        first = shown()
        renew(ensure_identity(certs, "client_proxy", "1"))
        wait_until(is_new, what="the new certificate")
        return 5

    assert serve_with_menu(settings_of(*options), menu) == 5


def test_a_proxy_shows_its_rate_limits_and_counts_log_ins(folder: Path, proxies: list[Proxy]) -> None:
    """The rules in force are in its health; a start refuses rules and networks that cannot be meant."""
    given = ("--rate-limit", "write=50/second/account", "--trusted-proxy", "10.0.0.0/8")
    proxies.append(start(folder, *given))
    facts = proxies[0].app.test_client().get("/api/v1/health").get_json()["facts"]
    assert facts["rate_limits"] == ["login=100/minute/address", "share=600/minute/address", "write=50/second/account"]
    assert facts["rate_limited"] >= 0
    assert type(proxies[0].wsgi).__name__ == "ForwardedAddress"
    with pytest.raises(click.UsageError, match="is no rate limit"):
        settings_of("--rate-limit", "write=lots")
    with pytest.raises(click.BadParameter, match="not an address or network"):
        settings_of("--trusted-proxy", "balancer.example.org")


@pytest.mark.parametrize("origin", ["https://app.example.com", "http://127.0.0.1:8080", "https://[::1]:3000", "*"])
def test_origins_are_as_browsers_send_them(origin: str) -> None:
    """None by default; several may be given."""
    assert settings_of().api_origins == ()
    assert settings_of("--api-origin", origin.upper(), "--api-origin", "https://b.example").api_origins == (
        origin,
        "https://b.example",
    )


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "https://", "null", "ftp://a", "https://*.b"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """No browser would send it, so nothing would be allowed."""
    with pytest.raises(click.UsageError, match="is not an origin"):
        settings_of("--api-origin", origin)


def test_rules_can_come_from_one_variable() -> None:
    """A variable has the rules separated by spaces; a storage's password is in no representation of the settings."""
    env = {
        "LOCKSTEP_PROXY_RATE_LIMIT": "login=off share=off write=50/second/account",
        "LOCKSTEP_PROXY_RATE_LIMIT_STORAGE": "redis://:secret@cache.example.org",
        "LOCKSTEP_PROXY_TRUSTED_PROXY": "10.0.0.7 2001:db8::/32",
    }
    settings = settings_of(env=env)
    assert [str(rule) for rule in settings.rate_limits] == ["write=50/second/account"]
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.7/32", "2001:db8::/32"]
    assert "secret" not in repr(settings)


def test_a_proxy_behind_a_balancer_serves_other_machines() -> None:
    """Although it listens on loopback only: whoever the balancer lets in must not be taken for somebody here."""
    assert not settings_of().remote
    assert settings_of("--host", "0.0.0.0").remote
    behind = settings_of("--trusted-proxy", "127.0.0.1", "--proxy-protocol-port", "5443")
    assert (behind.remote, behind.proxy_protocol_port) == (True, 5443)


def test_without_rules_and_trusted_proxies_nothing_is_in_front_of_the_doors(folder: Path, proxies: list[Proxy]) -> None:
    """A proxy that limits nothing has no counts, and its requests pass one gate as before."""
    proxies.append(start(folder, "--rate-limit", "login=off", "--rate-limit", "share=off"))
    assert type(proxies[0].wsgi).__name__ == "AdmissionGate"
    facts = proxies[0].app.test_client().get("/api/v1/health").get_json()["facts"]
    assert facts["rate_limits"] == []
    assert "rate_limited" not in facts
