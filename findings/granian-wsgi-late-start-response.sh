#!/usr/bin/env bash
# Granian's WSGI interface answers 200 without headers when an application calls start_response late.
#
# PEP 3333 lets an application call start_response as late as the first iteration of its answer, so a plain
# generator function is a valid application. waitress runs it as written. Granian 2.8.9 has taken status and headers
# before it iterates: the client sees 200 and none of the headers, whatever the application said.
# For our users: a WSGI library built on generators (WsgiDAV is one) must be wrapped so that its first item is taken
# before the application returns.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install granian==2.8.9 waitress==3.0.2
cat > "$work/late.py" <<'PY'
def app(environ, start_response):
    start_response("404 Not Found", [("X-From", "the application"), ("Content-Length", "4")])
    yield b"gone"
PY
cd "$work"
ports=$(python3 - <<'PY'
import socket
socks = [socket.socket() for _ in range(2)]
for sock in socks:
    sock.bind(("127.0.0.1", 0))
print(*(sock.getsockname()[1] for sock in socks))
PY
)
set -- $ports
"$work/venv/bin/granian" --interface wsgi --port "$1" --no-ws late:app >granian.log 2>&1 &
"$work/venv/bin/waitress-serve" --listen "127.0.0.1:$2" late:app >waitress.log 2>&1 &
python3 - "$1" "$2" <<'PY'
import http.client, sys, time

def ask(port):
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.status, answer.getheader("X-From"), answer.read()
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the server did not start")

granian, waitress = ask(sys.argv[1]), ask(sys.argv[2])
print("granian 2.8.9: ", granian)
print("waitress 3.0.2:", waitress)
assert waitress == (404, "the application", b"gone"), waitress
assert granian == (200, None, b"gone"), f"changed: {granian}"
PY
echo "seen: granian answers 200 without the application's headers, waitress 404 with them"
