#!/usr/bin/env bash
# Granian's WSGI interface hides two things that S3 signatures are made of; its ASGI interface has both.
#
# A header value beyond ASCII (UTF-8, as S3 clients send user metadata) is an empty string in the WSGI environment, and
# `%2F` inside a path segment cannot be told from a slash: there is no raw path. The ASGI scope of the same server has
# the header's bytes and `raw_path`.
# For our users: none any more. Proxies serve people over ASGI, so that such signatures can be verified.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install granian==2.8.9
cat > "$work/echo.py" <<'PY'
import json

def wsgi(environ, start_response):
    body = json.dumps([environ["PATH_INFO"], environ.get("HTTP_X_AMZ_META_CITY"), environ.get("RAW_URI"),
                       environ.get("REQUEST_URI")]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    value = dict(scope["headers"])[b"x-amz-meta-city"]
    body = json.dumps([scope["path"], value.hex(), scope["raw_path"].decode()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
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
"$work/venv/bin/granian" --interface wsgi --port "$1" --no-ws echo:wsgi >wsgi.log 2>&1 &
"$work/venv/bin/granian" --interface asginl --port "$2" --no-ws echo:asgi >asgi.log 2>&1 &
python3 - "$1" "$2" <<'PY'
import json, socket, sys, time

REQUEST = b"GET /a%2Fb HTTP/1.1\r\nHost: x\r\nx-amz-meta-city: Z\xc3\xbcrich\r\nConnection: close\r\n\r\n"

def ask(port):
    for _ in range(300):
        try:
            with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as sock:
                sock.sendall(REQUEST)
                answer = b""
                while piece := sock.recv(65536):
                    answer += piece
                text = answer.decode()
                return json.loads(text[text.index("["):text.rindex("]") + 1])
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the server did not start")

wsgi, asgi = ask(sys.argv[1]), ask(sys.argv[2])
print("WSGI: path, header, RAW_URI, REQUEST_URI =", wsgi)
print("ASGI: path, header (hex), raw_path =", asgi)
assert wsgi == ["/a/b", "", None, None], f"changed: {wsgi}"
assert asgi == ["/a/b", "Zürich".encode().hex(), "/a%2Fb"], f"changed: {asgi}"
PY
echo "seen: granian 2.8.9, WSGI: an empty header and no raw path; ASGI: both"
