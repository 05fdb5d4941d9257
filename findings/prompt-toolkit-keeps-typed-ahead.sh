#!/usr/bin/env bash
# prompt_toolkit 3.0.53 takes lines that were typed ahead off the terminal, and only its own next prompt gets them.
#
# Somebody pastes a user name and a password, or types both at once. PromptSession.prompt returns the first line. The
# second one was read with it and lies in prompt_toolkit's own store: whatever else reads the terminal next, such as
# getpass or input, finds nothing and waits. prompt_toolkit.input.typeahead.get_typeahead hands the keys over.
# For our users: a name and a password that are pasted together log them in. The menu takes the keys back after each
# line (lockstep_store/client/menu/line_editor.py) and reads passwords from them.
# Seen with prompt_toolkit 3.0.53 under Python 3.11.7.
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install prompt_toolkit==3.0.53
"$work/venv/bin/python" - <<'PY'
import os, pty, select, sys

from prompt_toolkit import PromptSession, __version__
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.output import DummyOutput

ours, theirs = pty.openpty()
os.write(ours, b"ann\nsecond line\n")
with os.fdopen(theirs) as terminal:
    keyboard = create_input(terminal)
    first = PromptSession(input=keyboard, output=DummyOutput()).prompt("name: ")
    left_on_terminal = select.select([terminal], [], [], 1.0)[0]
    kept = "".join(key.data for key in get_typeahead(keyboard))
print(f"prompt_toolkit {__version__}: returned {first!r}, left on the terminal: {bool(left_on_terminal)}, kept: {kept!r}")
sys.exit((first, left_on_terminal, kept.replace("\r", "\n")) != ("ann", [], "second line\n"))
PY
