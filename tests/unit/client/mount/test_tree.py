"""Names and attributes: fetched once, and true after every change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockstep_store.client.mount import tree as tree_module
from lockstep_store.client.mount.tree import Tree, can_show
from lockstep_store.wire.errors import AlreadyExists, NotFound
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import ListReply
from lockstep_store.wire.messages.journal import Change
from tests.unit.client.mount.mount_rig import MountRig


def test_a_folder_is_listed_once_for_all_its_names(rig: MountRig) -> None:
    """`ls -l` and the look-ups of each file cost one request together; so does asking again, for nothing new."""
    for name in ("plans/a.txt", "plans/b.txt", "plans/deep/er/c.txt"):
        rig.server.core.save(name, b"12345")
    rig.asked()
    assert rig.names("plans") == ["a.txt", "b.txt", "deep"]
    found = rig.tree.lookup("plans/a.txt")
    assert found.file is not None
    assert found.file.size == 5
    assert rig.tree.lookup("plans/deep").is_folder
    with pytest.raises(NotFound):
        rig.tree.lookup("plans/missing.txt")
    assert rig.names("plans") == ["a.txt", "b.txt", "deep"]
    assert rig.asked() == [("GET", "/api/v1/files/files")]


def test_a_change_elsewhere_is_seen(rig: MountRig) -> None:
    """A new file, a new content and a deletion each cost the look-ups of their own name."""
    rig.server.core.save("plans/a.txt", b"1")
    rig.server.core.save("plans/b.txt", b"1")
    rig.names("plans")
    rig.server.core.save("plans/a.txt", b"22")
    rig.server.core.save("plans/new.txt", b"333")
    rig.api.delete("plans/b.txt")
    rig.follow()
    rig.asked()
    assert rig.names("plans") == ["a.txt", "new.txt"]
    changed = rig.tree.lookup("plans/a.txt")
    assert changed.file is not None
    assert changed.file.size == 2
    assert len(rig.asked()) <= 4
    assert rig.names("plans") == ["a.txt", "new.txt"]
    assert rig.asked() == []


def test_folders_come_and_go_with_their_files(rig: MountRig) -> None:
    """A folder appears in the listing above with its first file, and vanishes with its last one."""
    rig.server.core.save("top.txt", b"")
    assert rig.names() == ["top.txt"]
    rig.server.core.save("new/deep/f", b"")
    rig.follow()
    assert rig.names() == ["new", "top.txt"]
    assert rig.names("new") == ["deep"]
    rig.api.delete("new/deep/f")
    rig.follow()
    assert rig.names() == ["top.txt"]
    for gone in ("new", "new/deep", "new/deep/f"):
        with pytest.raises(NotFound):
            rig.tree.lookup(gone)
    with pytest.raises(NotFound):
        rig.tree.list("new/deep")


def test_what_changes_while_a_folder_is_listed_is_not_missed(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing may be of before or after the change: the name is looked up again."""
    rig.server.core.save("a", b"1")
    plain: Callable[..., ListReply] = rig.api.list_page

    def listed_then_changed(*args: str, **kwargs: str) -> ListReply:
        monkeypatch.undo()
        reply = plain(*args, **kwargs)
        rig.server.core.save("a", b"22")
        rig.server.core.save("b", b"")
        rig.follow()
        return reply

    monkeypatch.setattr(rig.api, "list_page", listed_then_changed)
    assert rig.names() == ["a", "b"]
    found = rig.tree.lookup("a")
    assert found.file is not None
    assert found.file.size == 2


def test_what_changes_while_a_name_is_looked_up_is_not_missed(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.server.core.save("a", b"1")
    rig.names()
    rig.server.core.save("a", b"22")
    rig.follow()
    plain: Callable[..., ListReply] = rig.api.list_page

    def looked_then_changed(*args: str, **kwargs: str) -> ListReply:
        monkeypatch.undo()
        reply = plain(*args, **kwargs)
        rig.server.core.save("a", b"333")
        rig.follow()
        return reply

    monkeypatch.setattr(rig.api, "list_page", looked_then_changed)
    first, second = rig.tree.lookup("a").file, rig.tree.lookup("a").file
    assert first is not None
    assert first.size == 2
    assert second is not None
    assert second.size == 3


def test_nothing_kept_is_used_while_changes_may_be_missing(rig: MountRig) -> None:
    """Without news of the journal every answer is asked for; when it is back, the tree begins anew."""
    rig.server.core.save("a", b"1")
    rig.names()
    rig.server.core.save("a", b"22")  # the feed does not hear of it
    rig.clock.advance(9.0)
    found = rig.tree.lookup("a")
    assert found.file is not None
    assert found.file.size == 2
    rig.server.core.save("b", b"")
    assert rig.names() == ["a", "b"]


def test_rights_are_asked_again_after_a_minute(rig: MountRig) -> None:
    """A change of rights is not in the journal, so nothing is kept for longer."""
    rig.server.core.save("a", b"1")
    rig.names()
    rig.asked()
    rig.clock.advance(61.0)
    rig.server.core.save("unrelated/x", b"")
    rig.follow()
    rig.names()
    assert ("GET", "/api/v1/files/files") in rig.asked()


def test_one_name_of_a_huge_folder_is_looked_up_by_itself(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page is enough to begin with; `ls` fetches the rest."""
    for number in range(5):
        rig.server.core.save(f"many/{number}", b"")
    plain = rig.list_page

    def small_pages(prefix: str, *, delimiter: str = "", limit: int = MAX_LISTING, cursor: str = "") -> ListReply:
        return plain(prefix, delimiter=delimiter, limit=min(limit, 2), cursor=cursor)

    tree = Tree(small_pages, is_fresh=rig.feed.is_fresh, monotonic=rig.clock.monotonic)
    tree.lookup("many/4")
    with pytest.raises(NotFound):
        tree.lookup("many/5")
    rig.asked()
    tree.lookup("many/4")
    with pytest.raises(NotFound):
        tree.lookup("many/5")
    assert rig.asked() == []
    assert len(tree.list("many")) == 5


def test_many_changes_are_listed_rather_than_looked_up(rig: MountRig) -> None:
    for number in range(40):
        rig.server.core.save(f"f{number:02}", b"")
    rig.names()
    for number in range(40):
        rig.server.core.save(f"f{number:02}", b"x")
    rig.follow()
    rig.asked()
    assert {entry.file.size for _, entry in rig.tree.list("") if entry.file} == {1}
    assert len(rig.asked()) == 1


def test_the_least_used_folders_are_dropped(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what was dropped is fetched again."""
    monkeypatch.setattr(tree_module, "MAX_NAMES", 4)
    for name in ("a/1", "a/2", "b/1", "b/2"):
        rig.server.core.save(name, b"")
    rig.names("a")
    rig.names("b")
    rig.asked()
    assert rig.names("b") == ["1", "2"]
    assert rig.asked() == []
    assert rig.names("a") == ["1", "2"]
    assert len(rig.asked()) == 1


def test_a_folder_with_very_many_changes_is_forgotten(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that change while nobody looks do not pile up."""
    monkeypatch.setattr(tree_module, "MAX_UNSURE", 2)
    rig.server.core.save("a", b"")
    rig.names()
    for number in range(3):
        rig.server.core.save(f"new{number}", b"")
    rig.follow()
    assert rig.names() == ["a", "new0", "new1", "new2"]


def test_keys_that_no_folder_can_show_are_left_out(rig: MountRig) -> None:
    """S3 clients can use them. A folder hides a file of the same name."""
    for key in ("a//b", "/x", "./y", "plain", "both", "both/inside", "n" * 300, "made/"):
        rig.server.core.save(key, b"")
    assert rig.names() == ["a", "both", "made", "plain"]
    assert rig.names("a") == []
    assert rig.names("made") == []
    assert rig.tree.lookup("both").is_folder
    for hidden in ("a/", "..", "n" * 300):
        with pytest.raises(NotFound):
            rig.tree.lookup(hidden)
    assert not can_show("..")
    assert can_show("...")


def test_only_what_is_below_the_prefix_is_shown(rig: MountRig) -> None:
    rig.server.core.save("plans/a", b"")
    rig.server.core.save("other/b", b"")
    tree = Tree(rig.list_page, "plans/", is_fresh=rig.feed.is_fresh, monotonic=rig.clock.monotonic)
    assert [name for name, _ in tree.list("")] == ["a"]
    assert tree.key("a") == "plans/a"


def test_a_new_folder_is_known_to_be_empty(rig: MountRig) -> None:
    """What others put into it while it is created, or afterwards, is found."""
    with rig.tree.new_folder("new"):
        rig.api.create_folder("new")
        rig.server.core.save("new/theirs", b"")
        rig.follow()
    rig.asked()
    with pytest.raises(NotFound):
        rig.tree.lookup("new/other")
    assert rig.asked() == []
    assert rig.names("new") == ["theirs"]
    rig.server.core.save("new/later", b"")
    rig.follow()
    assert rig.names("new") == ["later", "theirs"]


def test_a_folder_that_could_not_be_created_is_not_known(rig: MountRig) -> None:
    rig.server.core.save("d/theirs", b"")
    with pytest.raises(AlreadyExists), rig.tree.new_folder("d"):
        rig.api.create_folder("d")
    assert rig.names("d") == ["theirs"]


def test_a_name_that_is_gone_stays_gone_when_the_journal_says_so(rig: MountRig) -> None:
    """Without a request; but one that came back in between is looked up."""
    rig.server.core.save("a", b"1")
    rig.server.core.save("b", b"1")
    rig.names()
    for name in ("a", "b"):
        rig.tree.note(name, None, rig.api.delete(name).cursor)
    rig.server.core.save("b", b"22")
    rig.follow()
    rig.asked()
    with pytest.raises(NotFound):
        rig.tree.lookup("a")
    assert rig.asked() == []
    assert rig.names() == ["b"]


def test_a_name_that_a_removal_uncovers_is_found(rig: MountRig) -> None:
    """Removing a delete marker for good brings the version before it back."""
    rig.server.core.save("a", b"1")
    rig.names()
    rig.tree.note("a", None)
    rig.tree.apply(Change(rig.server.core.cursor + 1, "remove", "files", "a", "marker", 0.0))
    assert rig.names() == ["a"]
