"""The `lockstep` command for those who follow changes and for those who run the cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lockstep_store.client.text import cluster, formatting
from lockstep_store.client.watcher import Watcher
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.join_token import JoinToken
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import Conflict, NotLoggedIn, Overloaded, PeerUnreachable
from lockstep_store.wire.messages.cluster import EnrolReply, EnrolRequest, FileServerInfo, LostFile, RepairInfo
from lockstep_store.wire.messages.journal import Change, ChangesReply
from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.unit.client.cli.command_shell import Shell

LOST = LostFile("files", "a/b", "v1", chunk_digest(b"x"), 1536, True, True, ["1", "2"], "v0")
AWAY = LostFile("files", "c", "v2", chunk_digest(b"y"), 3, False, False, ["3"])


@pytest.fixture
def admin(new_shell: Callable[[str], Shell], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("lockstep_store.client.cli.servers.LOOK_AGAIN_SECONDS", 0.01)
    shell = new_shell("admin")
    shell.login(ADMIN, ADMIN_PASSWORD)
    return shell


# ---------------------------------------------------------------- watch


def test_watch_prints_what_there_is_and_ends(shell: Shell) -> None:
    """`--once` prints one line a change, in order, with file, version, author and size; --cursor goes on from there."""
    core = shell.server.core
    core.save("notes/a", b"one", "ann")
    core.save("b", b"x" * 2048, "bob")
    lines = shell.run("watch", "--once").stdout.splitlines()
    assert len(lines) == 2
    assert "write    notes/a  version v000001, by ann, 3 B" in lines[0]
    assert "b  version v000002, by bob, 2.0 KiB" in lines[1]
    assert shell.run("watch", "--no-follow", "--cursor", "1").stdout.splitlines() == lines[1:]
    assert shell.run("watch", "files/notes/", "--once").stdout.splitlines() == lines[:1]
    assert shell.run("watch", "files:notes/", "--once").stdout.splitlines() == lines[:1]
    assert shell.run("watch", "files", "--once", "--cursor", "2").stdout == ""


def test_watch_in_json_is_one_object_a_line(shell: Shell) -> None:
    """Each line of --json is a whole change, so a script can read it as it comes."""
    shell.server.core.save("a\nb", b"one")
    (line,) = shell.run("watch", "--once", "--json").stdout.splitlines()
    change = json.loads(line)
    assert (change["cursor"], change["kind"], change["path"], change["size"]) == (1, "write", "a\nb", 3)
    assert change["digest"] == str(chunk_digest(b"one"))


def test_watch_refuses_what_cannot_be(shell: Shell) -> None:
    """A bad bucket is 2, a cursor that was never given out 6: at once, not in a loop."""
    shell.run("watch", "No", "--once", code=2)
    shell.run("watch", "--cursor", "-1", code=2)
    assert "no change 9" in shell.run("watch", "--cursor", "9", code=6).stderr
    assert "no change 9" in shell.run("watch", "--cursor", "9", "--once", code=6).stderr


def test_watch_follows_until_ctrl_c(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints what is committed while it runs; Ctrl-C ends with 130 and says where to go on."""
    core = shell.server.core
    core.save("before", b"one")
    asked = threading.Event()
    real = Watcher._ask

    def ask(self: Watcher, wait_seconds: int) -> ChangesReply:
        if self.cursor == 2:
            raise KeyboardInterrupt
        asked.set()
        return real(self, wait_seconds)

    monkeypatch.setattr(Watcher, "_ask", ask)

    def save() -> None:
        asked.wait(60)
        core.save("during", b"two")

    saving = threading.Thread(target=save)
    saving.start()
    result = shell.run("watch", code=130)
    saving.join(60)
    assert [line.split()[3] for line in result.stdout.splitlines()] == ["during"]
    assert "--cursor 2" in result.stderr


class Unsteady:
    """A journal of `last` changes whose proxy fails as told: `failures` are raised, one an ask, before answers."""

    def __init__(self, last: int, failures: dict[int, list[Exception]]) -> None:
        self.last, self.failures = last, failures

    def changes(self, cursor: int | None = None, bucket: str | None = None, *, wait_seconds: int = 0) -> ChangesReply:
        begin = self.last if cursor is None else cursor
        if self.failures.get(begin):
            raise self.failures[begin].pop(0)
        page = [Change(n, "write", "files", f"{n}", "v", 0.0) for n in range(begin + 1, min(begin + 3, self.last + 1))]
        return ChangesReply(page, page[-1].cursor if page else begin)


def test_watching_outlives_what_is_away() -> None:
    """Lost answers and refusals that can be waited for cost nothing: each change once; the pauses grow."""
    pauses: list[float] = []
    told: list[str] = []
    failures: dict[int, list[Exception]] = {
        2: [PeerUnreachable("cut"), PeerUnreachable("cut"), Overloaded("busy")],
        4: [PeerUnreachable("gone")],
    }
    watcher = Watcher(Unsteady(6, failures), cursor=0, on_trouble=told.append, sleep=pauses.append)
    following = watcher.follow()
    assert [next(following).cursor for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert pauses == [0.2, 0.4, 0.8, 0.2]
    assert told == ["cut", "", "gone", ""]
    assert list(Watcher(Unsteady(0, {}), cursor=None).until_now()) == []


@pytest.mark.parametrize("refusal", [NotLoggedIn("log in"), Conflict("unknown cursor")])
def test_watching_ends_with_what_waiting_cannot_mend(refusal: Exception) -> None:
    """A log-in that ended, or a cursor that no longer exists, is said instead of being asked for ever."""
    following = Watcher(Unsteady(4, {2: [refusal]}), cursor=0, sleep=lambda _: None).follow()
    assert [next(following).cursor for _ in range(2)] == [1, 2]
    with pytest.raises(type(refusal)):
        next(following)


def test_the_first_question_is_not_waited_for() -> None:
    """Nobody there when watching begins is an answer at once: the address may be wrong."""
    with pytest.raises(PeerUnreachable):
        next(Watcher(Unsteady(4, {0: [PeerUnreachable("nobody")]}), cursor=0).follow())
    with pytest.raises(PeerUnreachable):
        next(Watcher(Unsteady(4, {4: [PeerUnreachable("nobody")]}), cursor=None).follow())


def test_a_change_stands_safely_on_one_line() -> None:
    """Control characters in names are spelled out, and a removal has no facts of a version that is gone."""
    removed = Change(9, "remove", "diary", "a\x1b[31m", "v9", 0.0)
    line = formatting.change_line(removed)
    assert line.endswith("remove   diary:a\\x1b[31m  version v9")


# ---------------------------------------------------------------- servers


def test_servers_are_listed_for_everyone_and_changed_by_administrators(shell: Shell, admin: Shell) -> None:
    """`servers` alone lists; the rest is refused with 4 to others, with 3 for a server that is not there."""
    shell.server.core.add_server("2")
    for words in (("servers",), ("servers", "list")):
        assert shell.run(*words).stdout.count("\n") == 3
    assert [one["id"] for one in shell.json("servers")["file_servers"]] == ["1", "2"]
    for words in (
        ("servers", "drain", "2"),
        ("servers", "remove", "2"),
        ("servers", "balance"),
        ("servers", "add", "--host", "new.example"),
        ("repair",),
    ):
        shell.run(*words, code=4)
    admin.run("servers", "drain", "77", code=3)


def test_a_server_is_drained_and_then_removed(admin: Shell) -> None:
    """drain --wait tells the progress and ends when it is drained; before that, removing is refused with 6."""
    admin.server.core.add_server("2", blobs=3)
    assert "holds 3 blobs" in admin.run("servers", "drain", "2").stdout
    assert "too few copies" in admin.run("servers", "remove", "2", code=6).stderr
    result = admin.run("servers", "drain", "2", "--wait")
    assert "2 copies to move" in result.stderr
    assert "lockstep servers remove 2" in result.stdout
    assert "drained" in admin.run("servers").stdout
    assert "can be removed" in admin.run("status").stdout
    assert "was removed" in admin.run("servers", "remove", "2").stdout
    assert len(admin.json("servers")["file_servers"]) == 1


def test_a_drain_can_be_stopped(admin: Shell) -> None:
    """--stop lets the server stay, and one who waits for that drain is told that it was stopped."""
    core = admin.server.core
    core.add_server("2", blobs=3)
    admin.run("servers", "drain", "2", "--stop", "--wait", code=2)
    assert "no longer draining" in admin.run("servers", "drain", "2", "--stop").stdout
    core.step = lambda: setattr(core.servers[1], "state", "up")  # type: ignore[method-assign]
    assert "was stopped" in admin.run("servers", "drain", "2", "--wait", code=6).stderr
    core.step = lambda: core.servers.pop()  # type: ignore[method-assign,assignment,return-value]
    admin.run("servers", "drain", "2", "--wait", code=3)


def test_forcing_needs_a_yes(admin: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked --force wants --yes; on a terminal it asks, and anything but yes changes nothing."""
    core = admin.server.core
    core.add_server("2")
    assert "--yes" in admin.run("servers", "remove", "2", "--force", code=2).stderr
    monkeypatch.setattr("lockstep_store.client.cli.servers._can_ask", lambda: True)
    assert "lose all files" in admin.run("servers", "remove", "2", "--force", input="n\n", code=130).output
    assert len(core.servers) == 2
    admin.run("servers", "remove", "2", "--force", input="y\n")
    core.add_server("2")
    assert admin.json("servers", "remove", "2", "--force", "--yes") == {"removed": "2", "force": True}
    assert len(core.servers) == 1


def test_balance_runs_and_can_be_stopped(admin: Shell) -> None:
    """balance begins, --wait tells how much is left until it is done, --stop ends it where it is."""
    repair = admin.server.core.repair
    assert "are balanced" in admin.run("servers", "balance").stdout
    repair.to_balance = 3
    assert "3 copies to move" in admin.run("servers", "balance").stdout
    assert "balancing: 2 copies still to move" in admin.run("status").stdout
    result = admin.run("servers", "balance", "--wait")
    assert "1 copy to move" in result.stderr
    assert "are balanced" in result.stdout
    repair.to_balance = 3
    assert admin.run("servers", "balance", "--stop").stdout == "stopped\n"
    admin.run("servers", "balance", "--stop", "--wait", code=2)


def test_adding_a_server_prints_two_commands(admin: Shell, tmp_path: Path) -> None:
    """The two commands are exact: the first joins with a token that works, the second starts with that id and zone."""
    where = ("--host", "room2.example", "--advertise", "https://proxy.example:5000")
    result = admin.run("servers", "add", "--zone", "room 2", *where)
    join, start = result.stdout.splitlines()
    token = join.split()[2]
    invitation = JoinToken.decode(token)
    assert (invitation.url, invitation.id, invitation.hosts) == ("https://proxy.example:5000", "2", ("room2.example",))
    assert join == f"lockstep join {token}"
    assert start == (
        "lockstep serve file-server --id 2 --host 0.0.0.0 --port 5060 --directory https://dir.example:5050 "
        "--advertise https://room2.example:5060 --zone 'room 2'"
    )
    assert "valid once" in result.stderr
    assert "from this machine" not in result.stderr
    data = admin.json("servers", "add", "--id", "x", "--host", "new.example")
    assert JoinToken.decode(data["token"]).id == "x"
    assert "--advertise https://new.example:5060" in data["commands"][1]
    assert "from this machine" in admin.run("servers", "add", "--host", "new.example").stderr


def test_join_warns_of_a_directory_that_only_its_own_machine_reaches(admin: Shell, tmp_path: Path) -> None:
    """A loopback address of the directory server is said when joining, where it can still be mended."""
    core, certs = admin.server.core, admin.server.ca_file.parent
    authority = CertificateAuthority.load(certs)
    where = ["https://127.0.0.1:5050"]

    def enrol(request: EnrolRequest) -> EnrolReply:
        signed = authority.sign_request(request.csr_pem, request.role, request.id, ["127.0.0.1"])
        keys = (certs / "storage-keys.json").read_text()
        return EnrolReply(authority.ca_pem, signed, authority.peer_token(request.role, request.id), keys, where[0])

    core.enrol_reply = enrol
    for id, warned in (("8", True), ("9", False)):
        token = admin.json("invite")["token"]
        result = admin.run("join", token, "--id", id, "--certs", tmp_path / id)
        assert ("on that machine only" in result.stderr) is warned
        where[0] = "https://directory.example:5050"


# ---------------------------------------------------------------- repair


def test_repair_names_what_is_lost(admin: Shell) -> None:
    """The report ends with 0 when nothing is lost, 7 when servers are away, 9 when every copy is damaged."""
    core = admin.server.core
    result = admin.run("repair")
    assert result.stdout.splitlines() == ["repair is finished", "every file has its copies"]
    core.lost = [AWAY]
    assert "file server 3 is away" in admin.run("repair", code=7).stdout
    core.lost = [LOST, AWAY]
    text = admin.run("repair", code=9).stdout
    assert "2 versions cannot be read now:" in text
    assert "a/b" in text
    assert "last good version v0" in " ".join(text.split())
    assert "no other version can be read" in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
    data = json.loads(admin.run("repair", "--json", code=9).stdout)
    assert [one["path"] for one in data["lost"]] == ["a/b", "c"]


def test_a_long_report_is_read_in_pages(admin: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lost version is named, however many pages they take."""
    core = admin.server.core
    core.lost = [LostFile("files", f"{n:04}/x", "v", chunk_digest(b"x"), 1, True, False, []) for n in range(1500)]
    data = json.loads(admin.run("repair", "--json", code=7).stdout)
    assert [one["path"] for one in data["lost"]] == [f"{n:04}/x" for n in range(1500)]


def test_repair_waits_until_it_is_finished(admin: Shell) -> None:
    """--wait shows how many blobs have too few copies until the report is final."""
    core = admin.server.core
    core.finished_after = 2
    core.repair = RepairInfo(4, 0, 1, 0)
    assert "repair is still at work" in admin.run("repair").stdout
    core.finished_after = 2
    result = admin.run("repair", "--wait")
    assert "4 blobs with too few copies, 1 being copied" in result.stderr
    assert "repair is finished" in result.stdout


def test_status_is_in_plain_words_on_80_columns() -> None:
    """Drains, drained servers, balance, surplus, what is lost and what is unknown yet are each a sentence."""
    servers = [
        FileServerInfo(f"server-{n}", "", "draining", "zone", 1, 1, 1, 1, "disk full", 1.0, drained=n == 2)
        for n in (1, 2)
    ]
    repair = RepairInfo(
        3, 2, 1, 9, to_move=5, surplus=1, dropped_since_start=4, balancing=True, to_balance=7, walking=True
    )
    lines = [*cluster.drain_lines(servers, repair), *cluster.repair_lines(repair)]
    text = "\n".join(lines)
    for words in (
        "draining server-1: 5 copies still to move",
        "drained: server-2 can be removed",
        "ATTENTION: 2 file contents without a live copy",
        "3 blobs with too few copies, 1 being copied now",
        "1 surplus copy will be dropped",
        "balancing: 7 copies still to move",
        "9 copies made, 4 dropped",
        "may rise",
    ):
        assert words in text
    assert "every file has its copies" not in text
    assert cluster.repair_lines(RepairInfo(0, 0, 0, 0)) == ["every file has its copies"]
    away = cluster.repair_lines(RepairInfo(0, 0, 0, 0, silent=["2"]))
    assert away == [
        "every file has its copies, counting those on file server 2, which is silent: "
        "replacements follow if it stays silent"
    ]
