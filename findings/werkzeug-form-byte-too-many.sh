#!/usr/bin/env bash
# Werkzeug's multipart decoder adds a byte to a file where a block of the body ends at one place in the last boundary.
#
# MultipartDecoder takes a body in blocks of any size. If a block ends after the first of the two dashes that end the
# form, it returns the file with a carriage return at its end that belongs to the boundary. At all other places, and
# in one block, the file is as it was sent.
# For our users: files that are sent in forms are stored byte for byte, wherever the network cuts the body
# (lockstep_store/runtime/http/form_body.py reads forms without this decoder).
# Seen with Werkzeug 3.1.9 under Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install werkzeug==3.1.9
"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from werkzeug.sansio.multipart import Data, Epilogue, MultipartDecoder, NeedData

FILE = b"first line\r\nsecond line"
HEAD = b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
BODY = HEAD + FILE + b"\r\n--bound--\r\n"


def decoded(*blocks):
    decoder, found = MultipartDecoder(b"bound"), b""
    for block in (*blocks, None):
        decoder.receive_data(block)
        while not isinstance(event := decoder.next_event(), NeedData):
            if isinstance(event, Data):
                found += event.data
            if isinstance(event, Epilogue):
                return found


whole = decoded(BODY)
wrong = {at: decoded(BODY[:at], BODY[at:]) for at in range(1, len(BODY))}
wrong = {at: found for at, found in wrong.items() if found != FILE}
print(f"werkzeug {version('werkzeug')}: in one block {whole!r}; in two:")
for at, found in wrong.items():
    print(f"  {BODY[:at][-12:]!r} then {BODY[at:]!r}: {found!r}")
expected = {len(BODY) - len(b"-\r\n"): FILE + b"\r"}
sys.exit(0 if (whole, wrong) == (FILE, expected) else f"changed: {whole!r}, {wrong}")
PY
echo "seen: a block that ends between the last two dashes gives the file a carriage return too many"
