"""What people read about the storage keys."""

from __future__ import annotations

from lockstep_store.client.text.storage_keys import old_storage_key_lines, storage_keys_text
from lockstep_store.wire.messages.storage_keys import KeyHolder, StorageKeyInfo

HOLDERS = [KeyHolder("directory server", 1), KeyHolder("file server 1", 1200), KeyHolder("file server 2", 0)]
CURRENT = StorageKeyInfo("7bc3adc1", current=True, holders=HOLDERS[:1])


def test_everything_that_needs_a_key_is_named() -> None:
    """However many programs there are, none is cut off."""
    old = StorageKeyInfo("f254711e", current=False, holders=HOLDERS)
    text = storage_keys_text([CURRENT, old], width=60)
    assert "7bc3adc1: needed by directory server: 1 secret" in text
    needed = "directory server: 1 secret; file server 1: 1,200 chunks; file server 2: a write under way"
    assert f"f254711e: still needed by {needed}" in text
    assert old_storage_key_lines([CURRENT, old]) == [f"old storage key f254711e: still needed by {needed}"]


def test_an_unneeded_key_says_how_it_goes_and_what_goes_with_it() -> None:
    """The command, and the backups that need the key."""
    old = StorageKeyInfo("f254711e", current=False, backups_before=1.0)
    text = storage_keys_text([CURRENT, old])
    assert "nothing needs it; lockstep storage-keys retire f254711e deletes it" in text
    assert "backups made before 1970" in text


def test_a_missing_key_says_what_to_restore() -> None:
    """A file server needs a key that the directory does not have."""
    lost = StorageKeyInfo("f254711e", current=False, holders=HOLDERS[1:2], unknown=True)
    text = storage_keys_text([CURRENT, lost])
    assert "MISSING" in text
    assert "restore certs/storage-keys.json" in text
