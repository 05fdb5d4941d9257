#!/usr/bin/env bash
# Python 3.11 and 3.12 leave a socket open when the peer resets the connection before TLS begins.
#
# SSLContext.wrap_socket takes the caller's socket over, finds that the peer has reset the connection, and raises
# ConnectionResetError. The caller's socket object is empty by then, and the new one was never returned, so nobody can
# close it: it stays open until the garbage collector finds it, with a ResourceWarning. Python 3.13 closes it.
# A failed handshake is not concerned: there, every version closes the socket.
# For our users: nothing to do. Lockstep's checks of starting programs keep no connection open while they prepare TLS
# (local_cluster/health.py), because a program that ends meanwhile resets it.
# Seen with Python 3.11.7 and 3.12.1 (left open) and 3.13.0 (closed). It needs no package, only those interpreters.
set -eu
tried=0
for minor in 11 12 13; do
    python=""
    for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"3.$minor".*/bin/python; do
        "$candidate" -c 'import ssl' >/dev/null 2>&1 && python=$candidate && break
    done
    [ -n "$python" ] || continue
    tried=$((tried + 1))
    "$python" - "$minor" <<'PY'
import gc, socket, ssl, struct, sys, warnings

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    server.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ssl.create_default_context().wrap_socket(client, server_hostname="localhost")
            sys.exit("the connection was not reset")
        except ConnectionResetError:
            pass
        assert client.fileno() == -1, "the caller still has its socket"
        gc.collect()
left_open = any("unclosed <ssl.SSLSocket" in str(one.message) for one in caught)
print(f"Python {sys.version.split()[0]}: the socket was {'left open' if left_open else 'closed'}")
sys.exit(left_open != (sys.argv[1] != "13"))
PY
done
[ "$tried" -gt 0 ] || { echo "none of Python 3.11, 3.12 and 3.13 is on this machine"; exit 1; }
