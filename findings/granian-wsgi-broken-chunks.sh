#!/usr/bin/env bash
# Granian's WSGI interface shows a chunked body with broken framing as a body that ends, and folds header names.
#
# `wsgi.input.read()` returns what came before the bad chunk header, then nothing, without an error: a body that was cut
# looks whole, and one that is broken from its first byte looks like none. A request's `x_key` and `x-key` headers
# arrive under the one name HTTP_X_KEY, so that a name with an underscore passes for its twin with a hyphen.
# For our users: none any more. Proxies serve people over ASGI, which shows both. Programs send lengths.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install granian==2.8.9
cat > "$work/echo.py" <<'PY'
import json

def wsgi(environ, start_response):
    blocks = []
    try:
        while block := environ["wsgi.input"].read(65536):
            blocks.append(block)
        ended = "ended"
    except Exception as error:
        ended = repr(error)
    seen = [b"".join(blocks).decode(), ended, sorted(key for key in environ if key.startswith("HTTP_X_"))]
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
PY
cd "$work"
port=$(python3 -c 'import socket; sock = socket.socket(); sock.bind(("127.0.0.1", 0)); print(sock.getsockname()[1])')
"$work/venv/bin/granian" --interface wsgi --port "$port" --no-ws echo:wsgi >wsgi.log 2>&1 &
python3 - "$port" <<'PY'
import json, socket, sys, time

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nx_key: 1\r\n\r\n"
BODIES = {
    "whole": b'e\r\n{"stop": true}\r\n0\r\n\r\n',
    "broken after a chunk": b'e\r\n{"stop": true}\r\nzz\r\n',
    "broken from the start": b'zz\r\n{"stop": true}\r\n0\r\n\r\n',
}

def ask(body):
    for _ in range(300):
        try:
            with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as sock:
                sock.sendall(HEAD + body)
                answer = sock.recv(65536).decode()
                return json.loads(answer[answer.index("["):answer.rindex("]") + 1])
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the server did not start")

seen = {name: ask(body) for name, body in BODIES.items()}
for name, (body, ended, keys) in seen.items():
    print(f"{name}: read {body!r}, {ended}, {keys}")
whole, stop = ['{"stop": true}', "ended", ["HTTP_X_KEY"]], ["", "ended", ["HTTP_X_KEY"]]
assert list(seen.values()) == [whole, whole, stop], f"changed: {seen}"
PY
echo "seen: granian 2.8.9, WSGI: a broken chunked body ends without an error, and x_key is HTTP_X_KEY"
