#!/usr/bin/env bash
# Granian closes idle TLS connections without the TLS close_notify alert.
#
# After 30 idle seconds (its header read timeout) it drops the connection: the client sees the end of the TCP stream,
# where RFC 8446, section 6.1, wants a close_notify first. An HTTP client loses nothing, because no reply was under way,
# and one reply is never mistaken for whole: every reply declares its length. Strict clients (OpenSSL 3 without
# SSL_OP_IGNORE_UNEXPECTED_EOF) report "unexpected eof while reading" when they read from such a connection.
# For our users: retry on a new connection, as HTTP clients do by themselves.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install granian==2.8.9
cd "$work"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>openssl.log
cat > app.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PY
port=$(python3 -c 'import socket; sock = socket.socket(); sock.bind(("127.0.0.1", 0)); print(sock.getsockname()[1])')
"$work/venv/bin/granian" --interface wsgi --port "$port" --ssl-certificate cert.pem --ssl-keyfile key.pem app:app >log 2>&1 &
"$work/venv/bin/python" - "$port" <<'PY'
import socket, ssl, sys, time

context = ssl.create_default_context(cafile="cert.pem")
context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
for _ in range(300):
    try:
        plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
else:
    sys.exit("the server did not start")
with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as connection:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.1 200"), "no reply"
    connection.settimeout(60)
    try:
        end = connection.recv(4096)
        how = "close_notify" if end == b"" else f"{end!r}"
    except ssl.SSLEOFError:
        how = "the end of the stream without close_notify"
print("an idle connection ends with:", how)
assert how.startswith("the end of the stream"), "changed"
PY
echo "seen: Granian 2.8.9 sends no close_notify"
