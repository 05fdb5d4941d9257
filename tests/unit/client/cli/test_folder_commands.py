"""Commands about folders, against a whole cluster: mkdir, mv and rm -r of folders, and changes that take longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.client.client import Client
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.wire.errors import AlreadyExists, Locked, NotFound
from lockstep_store.wire.messages.folders import FOLDER_TYPE
from tests.unit.client.cli.command_shell import Shell
from tests.unit.client.real_people import RealPeople, real_people
from tests.unit.people import client
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    with real_people(tmp_path_factory.mktemp("folders"), tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def shell(people: RealPeople, tmp_path: Path) -> Iterator[Shell]:
    """The administrator's shell, and an empty bucket `files`."""
    shell = Shell(people.server, tmp_path)
    shell.login(people.admin, people.admin_password)
    yield shell
    shell.run("rm", "-r", "files:")


@pytest.fixture
def api(people: RealPeople) -> Iterator[Client]:
    with client(people.server, people.admin, people.admin_password) as api:
        yield api


@pytest.fixture
def few_at_once(people: RealPeople, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of more than three files take a job, which runs."""
    directory = people.cluster.directory
    monkeypatch.setattr(directory.folders, "_at_once", 3)
    job = BackgroundJob("folders", directory.folders.job.step)
    monkeypatch.setattr(directory.folders, "wake", job.wake)
    job.start()
    yield
    job.stop()


def fill(shell: Shell, *names: str) -> None:
    for name in names:
        shell.run("put", "-", name, input=name)


def ls(shell: Shell) -> list[str]:
    return shell.run("ls").stdout.split()


def test_an_empty_folder_stays(shell: Shell) -> None:
    """mkdir makes it once, -p as often as one likes; it outlives its last file, and a file's name is refused."""
    assert "created docs/" in shell.run("mkdir", "docs").stdout
    assert "already" in shell.run("mkdir", "docs", code=6).stderr
    assert "exists: docs/" in shell.run("mkdir", "-p", "docs/").stdout
    fill(shell, "docs/a", "notes")
    shell.run("rm", "docs/a")
    assert ls(shell) == ["docs/", "notes"]
    assert shell.json("ls", "--folders")["prefixes"] == ["docs/"]
    assert "there is a file 'notes'" in shell.run("mkdir", "notes", code=6).stderr
    assert "docs-2/" in shell.run("mkdir", "docs-2", "docs-3").stdout


def test_a_folder_of_files_can_be_made_to_stay(shell: Shell, api: Client) -> None:
    """A folder that a file was written into is no new one, and with exist_ok gets an object of its own."""
    fill(shell, "docs/a")
    with pytest.raises(AlreadyExists):
        api.create_folder("docs")
    assert not api.create_folder("docs", exist_ok=True).created
    own = api.stat("docs/")
    assert (own.size, own.content_type) == (0, FOLDER_TYPE)


def test_get_makes_empty_folders(shell: Shell, tmp_path: Path) -> None:
    """The folder itself and those below; a file in the place of one is left alone and named."""
    shell.run("mkdir", "docs", "docs/empty", "docs/sub/deep")
    fill(shell, "docs/a")
    shell.run("get", "-r", "docs", tmp_path / "copy")
    assert (tmp_path / "copy" / "a").read_text() == "docs/a"
    assert (tmp_path / "copy" / "empty").is_dir()
    assert (tmp_path / "copy" / "sub" / "deep").is_dir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "empty").write_text("mine")
    assert "empty" in shell.run("get", "-r", "docs", tmp_path / "other", code=8).stderr
    assert (tmp_path / "other" / "empty").read_text() == "mine"


def test_mv_renames_a_folder(shell: Shell) -> None:
    """To another name, or into another folder; a file of the same name is moved as before."""
    fill(shell, "docs/a", "docs/sub/b", "notes")
    shell.run("mkdir", "docs/empty")
    assert shell.run("mv", "docs", "papers").stdout.strip() == "moved docs/ to papers/ (3 files)"
    assert ls(shell) == ["notes", "papers/a", "papers/empty/", "papers/sub/b"]
    shell.run("mv", "papers/", "archive/")
    assert ls(shell) == ["archive/papers/a", "archive/papers/empty/", "archive/papers/sub/b", "notes"]
    shell.run("mv", "notes", "archive/")
    assert "archive/notes" in ls(shell)
    shell.run("mv", "missing", "there", code=3)
    shell.run("mv", "missing/", "there", code=3)
    assert "--merge is for folders" in shell.run("mv", "--merge", "archive/notes", "b", code=2).stderr


def test_mv_refuses_a_folder_that_is_there_unless_merged(shell: Shell) -> None:
    """--merge joins the two, if no file has the same name."""
    fill(shell, "a/1", "b/2")
    assert "already" in shell.run("mv", "a/", "b", code=6).stderr
    shell.run("mv", "--merge", "a/", "b")
    assert ls(shell) == ["b/1", "b/2"]
    fill(shell, "a/1")
    assert "b/1 exists already" in shell.run("mv", "--merge", "a/", "b", code=6).stderr


def test_rm_removes_a_folder(shell: Shell) -> None:
    """With everything in it, at once; a locked file keeps all of it."""
    fill(shell, "a/1", "a/2", "ab")
    shell.run("rm", "a", code=3)
    lock = shell.json("lock", "a/2")
    refused = shell.run("rm", "-r", "a", code=5).stderr
    assert "'a/2'" in refused
    assert "locked by" in refused
    assert ls(shell) == ["a/1", "a/2", "ab"]
    shell.run("unlock", "a/2")
    assert lock
    assert shell.json("rm", "-r", "a")[0]["files"] == 2
    assert ls(shell) == ["ab"]
    shell.run("rm", "-r", "a", code=3)


@pytest.mark.usefixtures("few_at_once")
def test_a_large_folder_is_moved_by_a_job(shell: Shell) -> None:
    """The command waits for the end, names what stays, and `folders retry` takes care of it."""
    fill(shell, *(f"a/{n}" for n in range(6)))
    shell.run("lock", "a/3")
    moved = shell.run("mv", "a/", "b", code=1)
    assert "6 files: this goes on in the cluster" in moved.stderr
    assert "a/3: " in moved.stderr
    assert "incomplete: moved 5 files of a/ to b/, 1 could not be moved" in moved.stderr
    assert ls(shell) == ["a/3", *(f"b/{n}" for n in (0, 1, 2, 4, 5))]
    listed = [one for one in shell.json("folders", "list") if one["state"] == "incomplete"]
    assert [one["failed"] for one in listed] == [1]
    id = listed[0]["id"]
    assert "locked" in shell.run("folders", "show", id).stdout
    shell.run("unlock", "a/3")
    assert "moved a/ to b/ (6 files)" in shell.run("folders", "retry", id).stdout
    assert ls(shell) == [f"b/{n}" for n in range(6)]
    assert shell.run("folders", "stop", id).stdout.startswith("moved")
    shell.run("folders", "show", "no-such-change", code=3)
    assert shell.json("rm", "-r", "b")[0]["files"] == 6


@pytest.mark.usefixtures("few_at_once")
def test_a_program_need_not_wait(shell: Shell, api: Client) -> None:
    """on_progress=None returns the change as it begins; its id finds it again."""
    fill(shell, *(f"a/{n}" for n in range(5)))
    begun = api.move_folder("a", "b", on_progress=None)
    assert (begun.state, begun.total) == ("running", 5)
    wait_until(lambda: api.folder_change(begun.id).state == "done", what="the end of the move")
    assert begun.id in [change.id for change in api.folder_changes()]


def test_the_client_says_what_is_wrong(shell: Shell, api: Client, people: RealPeople) -> None:
    """A missing folder, and a lock with its holder's name."""
    with pytest.raises(NotFound):
        api.delete_folder("missing")
    fill(shell, "a/1")
    with client(people.server, "ben", "correct horse") as ben, ben.lock("a/1"), pytest.raises(Locked) as refusal:
        api.move_folder("a", "b")
    assert refusal.value.facts["holder"] == "ben"
