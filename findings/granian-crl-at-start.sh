#!/usr/bin/env bash
# Granian reads its list of revoked certificates (`--ssl-crl`) only when it starts to listen.
#
# A running server accepts new connections of a client whose certificate was added to the file since. After a restart it
# refuses that client, with the TLS alert certificate_revoked. In TLS 1.3 the client's handshake succeeds even then; the
# alert comes with its first read.
# For our users: none. Programs replace their listener when the list changes, and check requests against it themselves.
set -eu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install granian==2.8.9 cryptography==50.0.2
cd "$work"
cat > app.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
    return [b"ok"]
PY
cat > check.py <<'PY'
import datetime, ipaddress, os, socket, ssl, subprocess, sys, time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def make(text, serial):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(name("authority"), name(text), key.public_key(), serial, now - day, now + day)
    builder = builder.add_extension(x509.BasicConstraints(text == "authority", None), True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    made = builder.sign(key if text == "authority" else authority, hashes.SHA256())
    with open(f"{text}.pem", "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(f"{text}.key", "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    return key


def revoke(*serials):
    builder = x509.CertificateRevocationListBuilder(name("authority"), now - day, now + day)
    builder = builder.add_extension(x509.CRLNumber(len(serials)), False)
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - day).build())
    with open("new.pem", "wb") as file:
        file.write(builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    os.replace("new.pem", "crl.pem")


def ask(who):
    context = ssl.create_default_context(cafile="authority.pem")
    context.load_cert_chain(f"{who}.pem", f"{who}.key")
    for _ in range(300):
        try:
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    else:
        sys.exit("the server did not start")
    try:
        with context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return "200" if b" 200 " in connection.recv(4096) else "nothing"
    except ssl.SSLError as error:
        return str(error.reason)


def start():
    command = ["venv/bin/granian", "--interface", "wsgi", "--port", str(port), "--ssl-certificate", "server.pem",
               "--ssl-keyfile", "server.key", "--ssl-ca", "authority.pem", "--ssl-client-verify", "--ssl-crl", "crl.pem",
               "app:app"]
    return subprocess.Popen(command, stdout=open("log", "ab"), stderr=subprocess.STDOUT)


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
authority = make("authority", 1)
for number, who in enumerate(("server", "first", "second"), 2):
    make(who, number)
seen = {}
revoke(3)
server = start()
try:
    seen["at the start"] = ask("first"), ask("second")
    revoke(3, 4)
    time.sleep(5)
    seen["5 s after the second was revoked, too"] = ask("first"), ask("second")
    server.terminate()
    server.wait(30)
    server = start()
    seen["after a restart"] = ask("first"), ask("second")
finally:
    server.terminate()
    server.wait(30)
for when, answers in seen.items():
    print(f"{when}: the first client got {answers[0]}, the second {answers[1]}")
before, later, restarted = seen.values()
revoked = "SSLV3_ALERT_CERTIFICATE_REVOKED"
assert before == later == (revoked, "200"), f"changed: {seen}"
assert restarted == (revoked, revoked), f"changed: {seen}"
PY
"$work/venv/bin/python" check.py
echo "seen: Granian 2.8.9 reads --ssl-crl only when it starts to listen"
