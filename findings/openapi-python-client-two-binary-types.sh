#!/usr/bin/env bash
# openapi-python-client sends every binary body under the last content type that the operation declares.
#
# An operation whose body may be application/octet-stream or a vendor's own binary type (mapped to octet-stream with
# `content_type_overrides`, as the generator demands) gets one parameter of type `File` and two `if isinstance(body,
# File)` in a row. Both are true, so the second content type replaces the first: plain bytes are labelled as the
# vendor's format. Without the override the generator leaves that type out, with a warning, and the client is right.
# For our users: leave application/vnd.lockstep.chunk-stream out of `content_type_overrides`.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install openapi-python-client==0.29.1
cd "$work"
cat > openapi.json <<'JSON'
{"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
 "paths": {"/file": {"put": {"operationId": "put_file", "tags": ["files"],
  "parameters": [{"name": "X-Lock", "in": "header", "schema": {"type": "string"}}],
  "requestBody": {"required": true, "content": {
   "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
   "application/vnd.example.stream": {"schema": {"type": "string", "format": "binary"}}}},
  "responses": {"204": {"description": "done"}}}}}}
JSON
echo '{"content_type_overrides": {"application/vnd.example.stream": "application/octet-stream"}, "post_hooks": []}' >with.json
echo '{"post_hooks": []}' >without.json
for config in with without; do
    "$work/venv/bin/openapi-python-client" generate --meta none --path openapi.json --config "$config.json" \
        --output-path "client_$config" >"$config.log" 2>&1
done
"$work/venv/bin/python" - <<'PY'
from importlib import import_module
from io import BytesIO

seen = {}
for config in ("with", "without"):
    put = import_module(f"client_{config}.api.files.put_file")
    body = import_module(f"client_{config}.types").File(payload=BytesIO(b"plain bytes"))
    seen[config] = put._get_kwargs(body=body)["headers"]["Content-Type"]
print("Content-Type of plain bytes:", seen)
assert seen == {"with": "application/vnd.example.stream", "without": "application/octet-stream"}, f"changed: {seen}"
PY
grep -q "Unsupported content type application/vnd.example.stream" without.log
echo "seen: openapi-python-client 0.29.1 labels every binary body with the last declared binary type"
