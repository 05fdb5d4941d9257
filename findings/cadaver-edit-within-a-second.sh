#!/usr/bin/env bash
# cadaver's `edit` drops a change that is saved in the same second as the download.
#
# It compares the whole seconds of the file's modification time before and after the editor, not the content. If they are
# equal it says "No changes were made", uploads nothing, releases the lock and ends with 0. People who edit by hand rarely
# meet it; a script as EDITOR does.
# For our users: docs/clients.md says so; `put` sends whatever there is.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
# Debian 12 has these versions.
apt-get -q download cadaver=0.24+dfsg-1 libneon27-gnutls=0.32.5-1 >apt.log 2>&1 || { cat apt.log; exit 1; }
for package in ./*.deb; do dpkg -x "$package" tools; done
python3 -m venv venv
venv/bin/pip -q install wsgidav==4.4.0 cheroot==11.1.2
mkdir root home
cat > editor.sh <<'SH'
#!/bin/sh
before=$(stat -c %Y "$1")
printf 'changed\n' > "$1"
echo $(($(stat -c %Y "$1") - before)) > "$WORK/seconds"
SH
chmod +x editor.sh
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/wsgidav --host 127.0.0.1 --port "$port" --root root --auth anonymous --server cheroot >dav.log 2>&1 &
WORK=$work PORT=$port python3 - <<'PY'
import os, pathlib, socket, subprocess, sys, time

work, port = pathlib.Path(os.environ["WORK"]), int(os.environ["PORT"])
for _ in range(300):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
else:
    sys.exit("the server did not start")

environment = os.environ | {
    "HOME": str(work / "home"),
    "EDITOR": str(work / "editor.sh"),
    "TERM": "dumb",
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": str(next((work / "tools/usr/lib").glob("*-linux-gnu*"))),
}
for attempt in range(20):
    (work / "root/plan.txt").write_text("the plan\n")
    ended = subprocess.run(
        [str(work / "tools/usr/bin/cadaver"), f"http://127.0.0.1:{port}/"],
        input="edit plan.txt\nquit\n", env=environment, capture_output=True, text=True, timeout=60,
    )
    if (work / "seconds").read_text().strip() == "0":  # else the second ended in between
        break
else:
    sys.exit("no edit was within a second")
print("\n".join(line for line in ended.stdout.splitlines() if "changes" in line.lower()))
stored = (work / "root/plan.txt").read_text()
print("exit code", ended.returncode, "and the server has", repr(stored))
assert "No changes were made" in ended.stdout and ended.returncode == 0 and stored == "the plan\n", "changed"
PY
echo "seen: cadaver 0.24 (neon 0.32.5): an edit within the second of the download is dropped, exit code 0"
