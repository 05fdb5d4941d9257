"""Single sign-on and AssumeRoleWithWebIdentity with a real provider, from the command line to botocore."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import time
import webbrowser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import botocore.session
import pytest
import requests
from botocore.config import Config

from lockstep_store.client.browser_answer import BrowserAnswer
from lockstep_store.client.client import connect
from lockstep_store.client.menu import run_menu
from lockstep_store.client.single_sign_on import SignOnChoice, log_in
from lockstep_store.runtime.http.request_head import RAW_HEADERS, RAW_PATH
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.wire.errors import NotLoggedIn
from tests.contract.openid.real_provider import CLIENT, CONFIDENTIAL, SECRET, Browser, RealProvider
from tests.fakes.rest import RestServer
from tests.fakes.wsgi import raw_headers
from tests.s3.query.callers import ALL, account, policy
from tests.s3.rig import S3Rig
from tests.unit.client.cli.command_shell import Shell
from tests.waiting import wait_until


class Lab:
    """A cluster, its proxy over HTTPS with both doors, the provider, and an administrator's shell."""

    def __init__(self, folder: Path, certs: Path) -> None:
        self.folder = folder
        self.rig = S3Rig(folder / "cluster", certs, file_servers=2)
        self.clock = self.rig.cluster.clock
        self.clock.step_wall(time.time() - self.clock.wall())
        self.server = RestServer(ensure_identity(certs, "client_proxy", "1"), self._both_doors)
        self.provider = RealProvider(folder / "provider", ensure_identity(certs, "client_proxy", "2"))
        self.providers = self.rig.cluster.directory.identity_providers
        credentials = json.loads(self.rig.cluster.settings.credentials_file.read_bytes())
        self.admin = self.shell("admin")
        self.admin.login(credentials["username"], credentials["password"])

    def _both_doors(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The doors, with what the program's own runner adds to a request."""
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        if "CONTENT_TYPE" in environ:
            headers["content-type"] = environ["CONTENT_TYPE"]
        added = {RAW_PATH: environ["REQUEST_URI"].partition("?")[0].encode(), RAW_HEADERS: raw_headers(headers)}
        return self.rig.doors({**environ, **added}, start_response)

    def shell(self, name: str) -> Shell:
        return Shell(self.server, self.folder / "shells" / name)

    def set_provider(self, *words: str | Path, client: str = CLIENT) -> None:
        """Configure the provider with the command, and wait until its keys are known."""
        words = ("--client-id", client, "--provider-ca", self.provider.ca_file, *words)
        self.admin.run("sso", "set", "lab", self.provider.issuer, *words)
        self.fetch()

    def fetch(self) -> None:
        """Let the directory ask the provider, as its job does."""
        self.providers.step()
        wait_until(lambda: self.info()["keys"] or self.info()["problem"], what="the provider's keys")
        assert self.info()["problem"] == ""

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.json("sso", "list")["providers"][0]
        return found

    def close(self) -> None:
        self.provider.close()
        self.server.close()
        self.rig.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    certs = tmp_path_factory.getbasetemp() / "openid-certs"
    lab = Lab(tmp_path_factory.mktemp("openid"), certs)
    yield lab
    lab.close()


@pytest.fixture
def browser(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A browser that programs here can open; what was opened."""
    opened: list[str] = []
    threads: list[threading.Thread] = []

    def visit(url: str) -> None:
        browser = Browser(lab.provider)
        try:
            browser.open(url)
        finally:
            browser.close()

    def show(url: str, *_: Any) -> bool:
        opened.append(url)
        threads.append(threading.Thread(target=visit, args=(url,)))
        threads[-1].start()
        return True

    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(webbrowser, "open", show)
    yield opened
    for thread in threads:
        thread.join()


def test_a_person_logs_in_with_a_browser(lab: Lab, browser: list[str]) -> None:
    """The command opens it, and the account is made with the name that the provider knows; a second log-in finds it."""
    lab.set_provider("--create-accounts")
    lab.provider.person("person-1", preferred_username="ann", name="Ann")
    shell = lab.shell("ann")
    shown = shell.run("login", "--sso")
    assert "new account created; logged in as ann" in shown.stdout
    assert browser[0].startswith(f"{lab.provider.issuer}/auth?")
    assert shell.json("whoami")["name"] == "ann"
    lab.provider.person("person-1", preferred_username="ann-married")
    assert shell.json("login", "--sso") | {"expires_at": 0} == {
        "account": "ann",
        "url": lab.server.url,
        "admin": False,
        "created": False,
        "expires_at": 0,
    }
    listed = lab.admin.json("sso", "links")["identities"]
    assert [(one["account"], one["subject"]) for one in listed] == [("ann", "person-1")]
    lab.provider.person("person-2", preferred_username="ann")
    refused = lab.shell("thief").run("login", "--sso", code=6)
    assert "there is an account 'ann' already" in refused.stderr


def test_the_menu_logs_in_with_an_empty_line(lab: Lab, browser: list[str]) -> None:
    """In place of a user name; without a provider an empty line stays a question."""
    lab.set_provider("--create-accounts")
    lab.provider.person("person-10", preferred_username="mia")
    said = menu(lab, "", "quit")
    assert "User name (Enter alone: log in at lab): " in said
    assert "Welcome, mia. Your account was created." in said
    lab.provider.person("person-10", refuses=True)
    assert "Not logged in: lab did not log you in: not today" in menu(lab, "", "mallory", "a secret word", "quit")
    lab.admin.run("sso", "remove", "lab")
    assert "User name (a new name creates an account): " in menu(lab, "", "mallory", "a secret word", "quit")


def menu(lab: Lab, *lines: str) -> str:
    """What the menu says to somebody who types these lines."""
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{line}\n" for line in lines).encode())
    os.close(writing)
    output = io.StringIO()
    with os.fdopen(reading) as source:
        run_menu(lab.server.url, lab.server.ca_file, lab.folder / "menu", source, output)
    return output.getvalue()


def test_a_person_who_refuses_is_not_logged_in(lab: Lab, browser: list[str]) -> None:
    """The provider's reason is shown."""
    lab.set_provider("--create-accounts")
    lab.provider.person("person-3", refuses=True)
    assert "not today" in lab.shell("no").run("login", "--sso", code=4).stderr


def test_a_confidential_client_proves_itself(lab: Lab, browser: list[str]) -> None:
    """With its secret from a file; a wrong secret is the administrator's to mend."""
    file = lab.folder / "secret"
    file.write_text(f"{SECRET}\n")
    lab.set_provider("--create-accounts", "--client-secret-file", file, client=CONFIDENTIAL)
    assert lab.info()["confidential"]
    lab.provider.person("person-4", preferred_username="dora")
    assert "logged in as dora" in lab.shell("dora").run("login", "--sso").stdout
    file.write_text("wrong")
    lab.set_provider("--client-secret-file", file, client=CONFIDENTIAL)
    assert "administrator must" in lab.shell("dora").run("login", "--sso", code=6).stderr


def test_groups_decide_who_may_log_in_and_as_what(lab: Lab, browser: list[str]) -> None:
    """With a further scope, whose claims the provider answers only when it is asked for them."""
    rules = ("--require", "groups=staff", "--administrator", "groups=ops", "--scope", "groups")
    lab.set_provider("--create-accounts", *rules)
    lab.provider.person("person-5", preferred_username="olga", groups=["staff", "ops"])
    assert "olga, administrator" in lab.shell("olga").run("login", "--sso").stdout
    lab.provider.person("person-6", preferred_username="eve", groups=["guests"])
    assert "'groups'" in lab.shell("eve").run("login", "--sso", code=4).stderr
    lab.provider.person("person-5", preferred_username="olga", groups=["staff"])
    assert "logged in as olga at" in lab.shell("olga").run("login", "--sso").stdout


def test_an_administrator_links_an_account(lab: Lab, browser: list[str]) -> None:
    """Whose subject the audit names; afterwards its password works as before."""
    lab.set_provider()
    shell = lab.shell("bob")
    shell.login("bob", "a secret word")
    lab.provider.person("person-7", preferred_username="robert")
    assert "no account here" in shell.run("login", "--sso", code=4).stderr
    assert "person-7" in lab.admin.run("audit").stdout
    lab.admin.run("sso", "link", "bob", "person-7", "--provider", "lab")
    assert "logged in as bob" in shell.run("login", "--sso").stdout
    shell.login("bob", "a secret word")
    lab.admin.run("sso", "unlink", lab.provider.issuer, "person-7")
    shell.run("whoami", code=4)


def test_a_device_without_a_browser_logs_in(lab: Lab) -> None:
    """With the code that the provider's page asks for."""
    lab.set_provider("--create-accounts")
    lab.provider.person("person-8", preferred_username="grace")
    said: list[str] = []
    browser = Browser(lab.provider)

    def say(text: str) -> None:
        said.append(text)
        if "type the code" in text:
            words = text.split()
            address = next(word for word in words if word.startswith("https://"))
            page = browser.type_code(address, words[-1])
            assert "Sign-in Success" in page, page

    def sleep(seconds: float) -> None:
        lab.rig.cluster.pass_time(seconds)  # the directory asks the provider as often as it allows
        time.sleep(0.05)

    with connect(lab.server.url, ca=lab.server.ca_file) as api:
        reply = log_in(api, SignOnChoice(method="device"), say, sleep)
        assert (reply.account, reply.created) == ("grace", True)
        assert api.me().name == "grace"
    browser.close()


def test_rotated_keys_are_found(lab: Lab, browser: list[str]) -> None:
    """A log-in waits for them; a token that the old key signed is worth nothing any more."""
    lab.set_provider("--create-accounts")
    old = id_token(lab, "person-9")
    known = lab.providers.named("lab")
    assert known.verify(old, (CLIENT,))["sub"] == "person-9"
    lab.provider.restart("second")
    lab.rig.cluster.pass_time(31)
    lab.provider.person("person-9", preferred_username="nina")
    assert "logged in as nina" in lab.shell("nina").run("login", "--sso").stdout
    with pytest.raises(NotLoggedIn):
        known.verify(old, (CLIENT,))


def test_an_untrusted_certificate_is_the_problem(lab: Lab) -> None:
    """Without the CA file nothing is asked of the provider."""
    lab.admin.run("sso", "set", "lab", lab.provider.issuer, "--client-id", CLIENT)
    lab.providers.step()
    wait_until(lambda: lab.info()["problem"], what="the problem")
    assert "certificate is not trusted" in lab.info()["problem"]
    assert "certificate is not trusted" in lab.shell("x").run("login", "--sso", "--no-browser", code=6).stderr


def test_botocore_takes_a_role_with_a_token_file(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own credential provider, unchanged: a token file, a role and the endpoint are all it is given."""
    lab.set_provider()
    owner = account(lab.rig, "owner")
    host = lab.provider.issuer.removeprefix("https://")
    trusted = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::owner:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": CLIENT, f"{host}:sub": "robot-1"}},
    }
    owner.iam.create_role(RoleName="job", AssumeRolePolicyDocument=policy(trusted))
    owner.iam.put_role_policy(RoleName="job", PolicyName="all", PolicyDocument=policy(ALL))
    owner.s3.create_bucket(Bucket="owned")
    token = tmp_path / "token"
    token.write_text(id_token(lab, "robot-1"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::owner:role/job")
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "nightly")
    monkeypatch.setenv("AWS_ENDPOINT_URL", lab.server.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(lab.server.ca_file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session = boto3.Session(botocore_session=botocore.session.Session())
    credentials = session.get_credentials()
    assert credentials.method == "assume-role-with-web-identity"
    s3 = session.client("s3", config=Config(s3={"addressing_style": "path"}))
    s3.put_object(Bucket="owned", Key="report", Body=b"written by a job")
    assert s3.get_object(Bucket="owned", Key="report")["Body"].read() == b"written by a job"
    assert session.client("sts").get_caller_identity()["Arn"] == "arn:aws:sts::owner:assumed-role/job/nightly"
    token.write_text(id_token(lab, "robot-2"))
    other = boto3.Session(botocore_session=botocore.session.Session())
    with pytest.raises(Exception, match="AccessDenied"):
        other.client("s3").list_buckets()


def id_token(lab: Lab, subject: str) -> str:
    """A token as a program gets one: by the code flow, with the verifier of its own."""
    lab.provider.person(subject, preferred_username=subject)
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    browser = Browser(lab.provider)
    with BrowserAnswer() as answer:
        url = (
            f"{lab.provider.issuer}/auth?client_id={CLIENT}&response_type=code&scope=openid&state=s&nonce=n"
            f"&redirect_uri={answer.address}&code_challenge={challenge}&code_challenge_method=S256"
        )
        answer.expect(url)
        browser.open(url)
        code = parse_qs(answer.wait(5))["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": CLIENT,
            "redirect_uri": answer.address,
            "code_verifier": verifier,
        }
        reply = requests.post(f"{lab.provider.issuer}/token", data=form, verify=str(lab.provider.ca_file), timeout=10)
    browser.close()
    found: str = reply.json()["id_token"]
    return found
