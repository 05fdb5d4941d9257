"""Second factors under attack: replay, guessing, what answers and their time tell, resets, and what a thief gets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from directory_server.people.guessing import CODE_FAILURES, CODE_REFILL_SECONDS, FREE_FAILURES, MAX_PAUSE_SECONDS
from directory_server.people.passwords import PasswordHash
from directory_server.people.totp import STEP_SECONDS
from tests.authenticator import Authenticator, make_secrets_known
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import Answer

PASSWORD, OTHER = "correct horse", "battery staple"


class Attacked:
    """A cluster in which Ann has a second factor and Ben has none."""

    def __init__(self, cluster: WholeCluster) -> None:
        self.cluster = cluster
        self.ann = cluster.log_in("ann")
        self.ben = cluster.log_in("ben")
        self.app, self.recovery = self.enrol("ann")

    def post(self, target: str, **body: Any) -> Answer:
        return self.cluster.ask_with({}, "POST", target, json.dumps(body).encode())

    def enrol(self, name: str, password: str = PASSWORD) -> tuple[Authenticator, list[str]]:
        made = self.post("/auth/mfa", username=name, password=password).json
        app = Authenticator(made["secret"], self.cluster.directory.clock.wall)
        confirmed = self.post("/auth/mfa/confirm", username=name, password=password, code=app.code())
        assert confirmed.status == 200, confirmed.body
        return app, confirmed.json["recovery_codes"]

    def log_in(self, name: str = "ann", password: str = PASSWORD, code: str = "") -> Answer:
        return self.post("/auth/login", username=name, password=password, create=False, code=code)

    def next(self) -> str:
        """The app's code of the next step, once it has come."""
        self.cluster.pass_time(STEP_SECONDS)
        return self.app.code()

    def status(self, headers: dict[str, str]) -> int:
        return self.cluster.ask_with(headers, "GET", "/auth/me").status


@pytest.fixture(autouse=True)
def known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    make_secrets_known(monkeypatch)


@pytest.fixture
def start(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., WholeCluster]]:
    """Starts the test's cluster; its certificates are shared unless the test changes what is with them."""
    shared = tmp_path_factory.getbasetemp() / "people-certs"
    with ExitStack() as running:

        def start(certs: Path = shared, **settings: Any) -> WholeCluster:
            return running.enter_context(WholeCluster(tmp_path / "data", certs, registration="open", **settings))

        yield start


@pytest.fixture
def attacked(start: Callable[..., WholeCluster]) -> Attacked:
    return Attacked(start())


def reason(answer: Answer) -> str:
    assert (answer.status, answer.json["code"]) == (401, "second_factor_needed"), answer.body
    return str(answer.json["reason"])


def test_the_password_alone_opens_nothing(attacked: Attacked) -> None:
    """No log-in, no other password, no other second factor, no new recovery codes, no end of the second factor."""
    body = {"username": "ann", "password": PASSWORD}
    assert reason(attacked.log_in()) == "missing"
    assert reason(attacked.post("/auth/password", **body, new_password=OTHER)) == "missing"
    assert attacked.post("/auth/mfa", **body).status == 409
    for target in ("/auth/mfa/disable", "/auth/mfa/recovery-codes"):
        assert reason(attacked.post(target, **body, code="")) == "missing"
        assert attacked.post(target, **body).status == 400
        assert reason(attacked.post(target, **body, code=attacked.app.wrong())) == "wrong"
    assert attacked.post("/auth/mfa/confirm", **body, code=attacked.next()).status == 409
    assert attacked.post("/auth/register", **body).status == 409
    assert attacked.log_in(code=attacked.app.code()).status == 200


def test_a_stolen_log_in_changes_no_second_factor(attacked: Attacked) -> None:
    """Neither a token nor an API key is enough to set one up, and so lock the owner out, or to get rid of one."""
    key = {"X-Api-Key": attacked.cluster.ask_with(attacked.ben, "POST", "/auth/keys", b'{"name": "k"}').json["key"]}
    for stolen in (attacked.ben, key):
        for target in ("/auth/mfa", "/auth/mfa/confirm", "/auth/mfa/disable", "/auth/mfa/recovery-codes"):
            body = json.dumps({"username": "ben", "password": "a guess", "code": "123456"}).encode()
            if target == "/auth/mfa":
                body = json.dumps({"username": "ben", "password": "a guess"}).encode()
            answer = attacked.cluster.ask_with(stolen, "POST", target, body)
            assert answer.json["code"] in ("not_logged_in", "too_many_requests")
        assert attacked.cluster.ask_with(stolen, "DELETE", "/users/ben/mfa").status == 403
        assert not attacked.cluster.ask_with(stolen, "GET", "/auth/mfa").json["enabled"]


def test_a_seen_code_is_worth_nothing(attacked: Attacked) -> None:
    """At no address that takes one, and not after a restart of the directory."""
    code = attacked.next()
    assert attacked.log_in(code=code).status == 200
    body = {"username": "ann", "password": PASSWORD, "code": code}
    assert reason(attacked.log_in(code=code)) == "used"
    assert reason(attacked.post("/auth/password", **body, new_password=OTHER)) == "used"
    for target in ("/auth/mfa/disable", "/auth/mfa/recovery-codes"):
        assert reason(attacked.post(target, **body)) == "used"


def test_a_seen_code_is_worth_nothing_after_a_restart(start: Callable[..., WholeCluster]) -> None:
    """The last step is durable before the answer."""
    attacked = Attacked(start())
    code = attacked.next()
    assert attacked.log_in(code=code).status == 200
    attacked.cluster.stop_directory()
    attacked.cluster.start_directory()
    attacked.cluster.pass_time(1)
    assert reason(attacked.log_in(code=code)) == "used"


def test_guessing_codes_is_held(attacked: Attacked) -> None:
    """With the right password: a few from one address, a few more from all, whatever the password resets."""
    answers = []
    for _ in range(FREE_FAILURES + 5):
        answers.append(attacked.log_in(code=attacked.app.wrong()).status)
        attacked.log_in()
    assert answers == [401] * FREE_FAILURES + [429] * 5
    rounds = 40
    tried = FREE_FAILURES
    for _ in range(rounds):
        attacked.cluster.pass_time(MAX_PAUSE_SECONDS + 1)
        tried += attacked.log_in(code=attacked.app.wrong()).status == 401
    most = CODE_FAILURES + 1 + rounds * (MAX_PAUSE_SECONDS + 1) / CODE_REFILL_SECONDS
    assert CODE_FAILURES <= tried <= most < FREE_FAILURES + rounds
    refused = attacked.log_in(code=attacked.app.code())
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= CODE_REFILL_SECONDS
    assert attacked.log_in(code=attacked.recovery[0]).status == 200


def without_time(answer: Answer) -> tuple[int, dict[str, Any], list[str]]:
    body = {name: value for name, value in answer.json.items() if name != "request_id"}
    return answer.status, body, sorted(name for name in answer.headers if name != "X-Request-Id")


def test_a_wrong_password_tells_nothing(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts with and without a second factor, and names of nobody, are answered alike after the same work.

    The work is one comparison of hashes; everything beside it takes microseconds. Where people make accounts
    themselves, they can find out anyway which names are free, and are told.
    """
    free = attacked.log_in("nobody", "a wrong guess")
    assert (free.status, free.json["no_account"]) == (401, True)
    monkeypatch.setattr(attacked.cluster.directory.log_ins, "_is_open", lambda remote: False)
    compared: list[str] = []
    matches = PasswordHash.matches

    def counted(stored: PasswordHash, password: str) -> bool:
        compared.append(password)
        return matches(stored, password)

    monkeypatch.setattr(PasswordHash, "matches", counted)
    for code in ("", attacked.app.code(), attacked.recovery[0], "junk"):
        answers = []
        for name in ("ann", "ben", "nobody"):
            compared.clear()
            answers.append(without_time(attacked.log_in(name, "a wrong guess", code)))
            assert compared == ["a wrong guess"]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][1]["code"] == "not_logged_in"
        attacked.cluster.pass_time(700)
    assert attacked.log_in(code=attacked.recovery[0]).status == 200, "a wrong password uses up no code"


def test_a_code_more_than_needed_tells_nothing(attacked: Attacked) -> None:
    """Who has no second factor logs in with any code or none: it is not looked at."""
    assert [attacked.log_in("ben", code=code).status for code in ("", "123456", "junk")] == [200] * 3


def test_resets_are_two(attacked: Attacked) -> None:
    """A one-time password does not replace the second factor; its reset does not replace the password."""
    one_time = attacked.cluster.ask("POST", "/users/ann/reset").json["password"]
    body = {"username": "ann", "password": one_time, "new_password": OTHER}
    refused = attacked.log_in(password=one_time, code=attacked.next())
    assert (refused.json["code"], refused.json["must_change"]) == ("not_logged_in", True)
    assert reason(attacked.post("/auth/password", **body)) == "missing"
    assert reason(attacked.post("/auth/password", **body, code=attacked.app.wrong())) == "wrong"
    changed = attacked.post("/auth/password", **body, code=attacked.app.code())
    headers = {"Authorization": f"Bearer {changed.json['token']}"}
    assert attacked.status(headers) == 200
    assert attacked.cluster.ask("DELETE", "/users/ann/mfa").status == 200
    assert attacked.status(headers) == 401
    assert attacked.log_in(password=PASSWORD).json["code"] == "not_logged_in"
    assert attacked.log_in(password=OTHER).status == 200


def test_a_disabled_account_stays_out_with_a_code(attacked: Attacked) -> None:
    """And a new account of a deleted one's name neither needs nor knows its codes."""
    attacked.cluster.ask("PATCH", "/users/ann", b'{"disabled": true}')
    refused = attacked.log_in(code=attacked.next())
    assert (refused.status, "disabled" in refused.json["detail"]) == (401, True)
    assert attacked.post("/auth/mfa", username="ann", password=PASSWORD).status == 401
    attacked.cluster.ask("DELETE", "/users/ann")
    assert attacked.post("/auth/register", username="ann", password=PASSWORD).json["token"]
    assert attacked.log_in().status == 200
    attacked.enrol("ann")
    assert reason(attacked.log_in(code=attacked.recovery[0])) == "wrong"


def test_who_must_have_one_only_sets_one_up(start: Callable[..., WholeCluster]) -> None:
    """No token comes from a log-in, a registration or a password change before; keys of before go on."""
    cluster = start(require_second_factor="everyone")
    body = json.dumps({"username": "ann", "password": PASSWORD}).encode()
    made = cluster.ask_with({}, "POST", "/auth/login", body)
    assert (made.status, made.json["created"], made.json["must_enrol"]) == (200, True, True)
    assert not made.json.get("token")
    refused = cluster.ask_with(
        {}, "POST", "/auth/login", json.dumps({"username": "ann", "password": PASSWORD}).encode()
    )
    assert reason(refused) == "enrol"
    changed = {"username": "ann", "password": PASSWORD, "new_password": OTHER}
    answer = cluster.ask_with({}, "POST", "/auth/password", json.dumps(changed).encode())
    assert (answer.status, answer.json.get("token", ""), answer.json["must_enrol"]) == (200, "", True)
    begun = {"username": "ann", "password": OTHER}
    secret = cluster.ask_with({}, "POST", "/auth/mfa", json.dumps(begun).encode()).json["secret"]
    code = Authenticator(secret, cluster.directory.clock.wall).code()
    confirmed = cluster.ask_with({}, "POST", "/auth/mfa/confirm", json.dumps(begun | {"code": code}).encode())
    headers = {"Authorization": f"Bearer {confirmed.json['login']['token']}"}
    assert cluster.ask_with(headers, "GET", "/auth/me").status == 200
    assert cluster.ask("GET", "/auth/me").status == 200, "the administrator's API key"
    assert cluster.ask_with(headers, "GET", "/auth/mfa").json["required"]


def test_events_are_recorded_without_secrets(attacked: Attacked) -> None:
    """Who enabled, failed, used a recovery code, disabled, and reset; no code, no secret."""
    attacked.log_in(code=attacked.app.wrong())
    attacked.log_in(code=attacked.recovery[0])
    body = {"username": "ann", "password": PASSWORD}
    renewed = attacked.post("/auth/mfa/recovery-codes", **body, code=attacked.recovery[1]).json["recovery_codes"]
    attacked.post("/auth/mfa/disable", **body, code=renewed[0])
    attacked.enrol("ann")
    attacked.cluster.ask("DELETE", "/users/ann/mfa")
    text = attacked.cluster.ask("GET", "/audit").body.decode()
    events = [(event["kind"], event["account"], event.get("detail", "")) for event in json.loads(text)["events"]]
    for expected in (
        ("second factor enabled", "ann", ""),
        ("log-in refused", "ann", "wrong code"),
        ("recovery code used", "ann", "9 left"),
        ("recovery codes made", "ann", ""),
        ("second factor disabled", "ann", ""),
        ("second factor reset", "admin", ""),
    ):
        assert expected in events
    assert not re.search("|".join((*attacked.recovery, *renewed, attacked.app.code())), text)


def test_what_is_stored_opens_no_door(start: Callable[..., WholeCluster], tmp_path: Path) -> None:
    """Neither the metadata's files nor a backup have a secret or a recovery code; a rotated storage key seals again."""
    attacked = Attacked(start(tmp_path / "certs"))
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any(file.name == "metadata.db" for file in files)
    stored = b"".join(file.read_bytes() for file in files) + attacked.cluster.ask("POST", "/cluster/backup").body
    secrets = [attacked.app.secret, *(code.replace("-", "").encode() for code in attacked.recovery)]
    assert [secret for secret in secrets if secret in stored] == []
    rotated = attacked.cluster.ask("POST", "/cluster/storage-keys/rotate").json["keys"]
    old = next(key["id"] for key in rotated if not key.get("current"))
    while attacked.cluster.directory.storage_keys.step() < 1:
        pass
    listed = {key["id"]: key for key in attacked.cluster.ask("GET", "/cluster/storage-keys").json["keys"]}
    assert [one["program"] for one in listed[old].get("holders", []) if one["program"] == "directory server"] == []
    assert attacked.log_in(code=attacked.next()).status == 200
